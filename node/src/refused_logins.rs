//! The logins that next hops refuse now, for the node's report: one that works since, or was changed, is not among them. No I/O.

use std::collections::BTreeMap;

use posthouse_channel::RefusedLogin;
use posthouse_config::ResourceName;
use tokio::sync::watch;

/// The logins, by relay rule; no more than there are rules.
#[derive(Debug, Default)]
pub struct RefusedLogins(watch::Sender<BTreeMap<ResourceName, Refused>>);

#[derive(Debug, PartialEq, Eq)]
struct Refused {
    code: u16,
    reason: String,
}

impl RefusedLogins {
    /// A next hop refused the login of this rule; `reason` is in words of ours.
    pub fn refused(&self, rule: &ResourceName, code: u16, reason: &str) {
        let refused = Refused { code, reason: reason.to_owned() };
        self.0.send_if_modified(|known| {
            let is_new = known.get(rule) != Some(&refused);
            if is_new {
                known.insert(rule.clone(), refused);
            }
            is_new
        });
    }

    /// A next hop took the login of this rule.
    pub fn works(&self, rule: &ResourceName) {
        if self.0.borrow().contains_key(rule) {
            self.0.send_if_modified(|known| known.remove(rule).is_some());
        }
    }

    /// Forgets the rules of which this is not so: what was refused of them is in force no more.
    pub fn keep(&self, is_in_force: impl Fn(&ResourceName) -> bool) {
        self.0.send_if_modified(|known| {
            let before = known.len();
            known.retain(|rule, _| is_in_force(rule));
            known.len() != before
        });
    }

    /// Changes with what there is to report.
    #[must_use]
    pub fn watch(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    /// What there is to report.
    #[must_use]
    pub fn list(&self) -> Vec<RefusedLogin> {
        let known = self.0.borrow();
        let all = known.iter().map(|(rule, Refused { code, reason })| RefusedLogin {
            resource: format!("RelayRule {rule}"),
            code: *code,
            reason: reason.clone(),
        });
        all.collect()
    }
}

/// Tells of changes.
#[derive(Debug)]
pub struct Changes(watch::Receiver<BTreeMap<ResourceName, Refused>>);

impl Changes {
    /// Waits for the next one; for ever where there will be none.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_reported_until_it_works_or_is_another() {
        let (logins, [a, b]) =
            (RefusedLogins::default(), ["mail/a", "mail/b"].map(|name| name.parse().unwrap()));
        let mut told = logins.watch();
        let mut has_changed = || {
            let changed = told.0.has_changed().unwrap();
            told.0.mark_unchanged();
            changed
        };
        logins.refused(&a, 535, "mx:587 refuses it");
        assert!(has_changed());
        logins.refused(&a, 535, "mx:587 refuses it");
        assert!(!has_changed());
        logins.refused(&b, 535, "mx:587 refuses it");
        let resources: Vec<_> = logins.list().into_iter().map(|login| login.resource).collect();
        assert_eq!(resources, ["RelayRule mail/a", "RelayRule mail/b"]);
        logins.works(&a);
        logins.keep(|rule| *rule != b);
        assert!(has_changed() && logins.list().is_empty());
        logins.works(&a);
        assert!(!has_changed());
    }
}
