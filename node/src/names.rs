//! Whom the node asks for names: the resolver of the gateway's setting, made the first time it is needed, kept over snapshots with what it remembers, and
//! made anew where the system's name servers are asked and its `resolv.conf` has changed. I/O.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use posthouse_dns::{Dnssec, Resolver, Settings, TrustAnchor};

use crate::events;

/// What the system says of its name servers.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// What the system says of names.
const HOSTS: &str = "/etc/hosts";

/// How often it is looked whether the system has other name servers, or has some at last.
const LOOK: Duration = Duration::from_secs(10);

/// Nobody can be asked for names: why, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no names can be looked up: {0}")]
pub struct NobodyToAsk(Arc<str>);

/// Whom the node asks for names.
pub struct Names {
    setting: Option<posthouse_config::Resolver>,
    made: Mutex<Option<Made>>,
}

struct Made {
    resolver: Result<Resolver, NobodyToAsk>,
    /// When `resolv.conf` had last changed.
    stamp: Option<SystemTime>,
    looked: Instant,
}

impl Names {
    /// By a gateway's setting: without one, whom the system asks.
    #[must_use]
    pub fn new(setting: Option<posthouse_config::Resolver>) -> Self {
        Self { setting, made: Mutex::default() }
    }

    /// Those of a setting: the ones before, with what they remember, where it is still the same.
    #[must_use]
    pub fn of(setting: Option<&posthouse_config::Resolver>, before: Option<&Arc<Self>>) -> Arc<Self> {
        let kept = before.filter(|before| before.setting.as_ref() == setting);
        kept.cloned().unwrap_or_else(|| Arc::new(Self::new(setting.cloned())))
    }

    /// Who answers now.
    pub fn resolver(&self) -> Result<Resolver, NobodyToAsk> {
        // It is whole at every moment, whoever panicked.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(made) = &mut *made {
            if now.duration_since(made.looked) < LOOK {
                return made.resolver.clone();
            }
            made.looked = now;
            let is_as_before = !self.asks_system() || stamp() == made.stamp;
            if is_as_before && made.resolver.is_ok() {
                return made.resolver.clone();
            }
        }
        let stamp = stamp();
        let resolver = self.make();
        if let Err(error) = &resolver
            && made.as_ref().is_none_or(|made| made.resolver.as_ref().err() != Some(error))
        {
            events::NobodyToAsk { error }.emit();
        }
        *made = Some(Made { resolver: resolver.clone(), stamp, looked: now });
        resolver
    }

    fn make(&self) -> Result<Resolver, NobodyToAsk> {
        let setting = self.setting.clone().unwrap_or_default();
        let posthouse_config::Resolver { nameservers, dnssec } = setting;
        let settings = Settings {
            nameservers: nameservers.into_vec(),
            // Who names name servers means them, whatever the system knows.
            hosts: self.asks_system().then(|| PathBuf::from(HOSTS)),
            dnssec: if dnssec { Dnssec::Validate(TrustAnchor::Iana) } else { Dnssec::Disabled },
            cluster: Resolver::cluster_of_system(),
            ..Settings::default()
        };
        Resolver::new(&settings).map_err(|error| NobodyToAsk(error.to_string().into()))
    }

    fn asks_system(&self) -> bool {
        self.setting.as_ref().is_none_or(|setting| setting.nameservers.is_empty())
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("setting", &self.setting).finish_non_exhaustive()
    }
}

fn stamp() -> Option<SystemTime> {
    fs::metadata(Path::new(RESOLV_CONF)).and_then(|found| found.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolver_stays_while_the_setting_is_the_same() {
        let setting = posthouse_config::Resolver {
            nameservers: ["192.0.2.53:53".parse().unwrap()].into(),
            dnssec: false,
        };
        let first = Names::of(Some(&setting), None);
        assert!(Arc::ptr_eq(&first, &Names::of(Some(&setting), Some(&first))));
        assert!(!Arc::ptr_eq(&first, &Names::of(None, Some(&first))));
        let validating = posthouse_config::Resolver { dnssec: true, ..setting };
        assert!(!Arc::ptr_eq(&first, &Names::of(Some(&validating), Some(&first))));
        assert!(first.resolver().is_ok());
    }
}
