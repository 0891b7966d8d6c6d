//! What the store must be: its settings against what the promise of 250 needs. The judgement is pure; `settings` asks the server.

use std::collections::HashMap;

use redis::Value;

use super::{Declared, Settings, link::Link};
use crate::{Finding, StoreError};

/// The settings that are asked for.
const ASKED: [&str; 5] =
    ["appendonly", "appendfsync", "maxmemory-policy", "maxmemory", "no-appendfsync-on-rewrite"];

/// Asks and judges.
pub(super) async fn check(link: &Link, settings: &Settings) -> Result<Vec<Finding>, StoreError> {
    let found = match &settings.declared {
        Some(declared) => Some(declared_settings(declared)),
        None => asked_settings(link).await?,
    };
    let Some(found) = found else {
        return Ok(vec![Finding {
            refuse: false,
            message: "the store does not tell its settings (CONFIG is forbidden): declare its durability and eviction policy".to_owned(),
        }]);
    };
    let replicas = connected_replicas(link).await?;
    Ok(judge(&found, replicas, settings.confirm_replicas))
}

fn declared_settings(declared: &Declared) -> HashMap<String, String> {
    let Declared { appendonly, appendfsync, maxmemory_policy, maxmemory, no_appendfsync_on_rewrite } =
        declared;
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let values = [
        yes_no(*appendonly),
        appendfsync.clone(),
        maxmemory_policy.clone(),
        maxmemory.to_string(),
        yes_no(*no_appendfsync_on_rewrite),
    ];
    ASKED.iter().map(|name| (*name).to_owned()).zip(values).collect()
}

/// `None`: the server does not tell.
async fn asked_settings(link: &Link) -> Result<Option<HashMap<String, String>>, StoreError> {
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg(&ASKED[..]);
    let (_, mut connection) = link.connection().await?;
    match connection.send_packed_command(&ask).await {
        Ok(Value::ServerError(_)) => Ok(None),
        Ok(value) => Ok(redis::from_redis_value(value).ok()),
        Err(error) if error.code().is_some() => Ok(None),
        Err(_) => {
            // Let the link find out what became of the connection.
            link.send(&redis::cmd("PING")).await.map(|_| None)
        }
    }
}

async fn connected_replicas(link: &Link) -> Result<u32, StoreError> {
    let mut ask = redis::cmd("INFO");
    ask.arg("replication");
    let text: String = redis::from_redis_value(link.send(&ask).await?).unwrap_or_default();
    Ok(field(&text, "connected_slaves").and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// A field of what INFO answers.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Says what is wrong with these settings.
fn judge(found: &HashMap<String, String>, replicas: u32, wanted: u32) -> Vec<Finding> {
    let is = |name: &str, value: &str| found.get(name).is_some_and(|found| found == value);
    let value = |name: &str| found.get(name).map_or("unknown", String::as_str);
    let mut findings = Vec::new();
    let mut say = |refuse: bool, message: String| findings.push(Finding { refuse, message });
    let limited = !is("maxmemory", "0");
    if !is("maxmemory-policy", "noeviction") {
        say(
            true,
            format!(
                "the store may evict mail (maxmemory-policy {}): set maxmemory-policy noeviction",
                value("maxmemory-policy")
            ),
        );
    }
    if !is("appendonly", "yes") {
        say(
            false,
            "the store keeps mail in memory only: set appendonly yes and appendfsync always".to_owned(),
        );
    } else if !is("appendfsync", "always") {
        say(
            false,
            format!(
                "accepted mail may be lost in a crash of the store (appendfsync {}): set appendfsync always",
                value("appendfsync")
            ),
        );
    }
    if !is("no-appendfsync-on-rewrite", "no") {
        say(
            false,
            "nothing is synced while the log is rewritten: set no-appendfsync-on-rewrite no".to_owned(),
        );
    }
    if !limited {
        say(
            false,
            "the store has no memory limit, so mail is not refused in time when memory gets short: set maxmemory"
                .to_owned(),
        );
    }
    if replicas < wanted {
        say(
            false,
            format!(
                "{replicas} replicas are connected, {wanted} have to confirm: nothing can be accepted until they are back"
            ),
        );
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> HashMap<String, String> {
        declared_settings(&Declared::default())
    }

    #[test]
    fn a_store_as_it_should_be_gives_no_finding() {
        assert_eq!(judge(&good(), 1, 1), []);
    }

    #[test]
    fn only_eviction_refuses_mail_and_everything_else_warns() {
        let mut evicting = good();
        evicting.insert("maxmemory-policy".to_owned(), "allkeys-lru".to_owned());
        assert!(judge(&evicting, 0, 0).iter().any(|finding| finding.refuse));
        for (name, value) in [
            ("appendonly", "no"),
            ("appendfsync", "everysec"),
            ("maxmemory", "0"),
            ("no-appendfsync-on-rewrite", "yes"),
        ] {
            let mut weak = good();
            weak.insert(name.to_owned(), value.to_owned());
            let findings = judge(&weak, 0, 0);
            assert!(findings.len() == 1 && !findings[0].refuse, "{name} {value}: {findings:?}");
        }
        assert_eq!(judge(&good(), 0, 1).len(), 1);
    }
}
