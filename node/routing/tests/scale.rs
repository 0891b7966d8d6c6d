//! A large gateway fits a small node: the memory of 10,000 domains with 100,000 recipients. Alone in its process, because it reads the process's own memory.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests say what they expect")]

use std::{fmt::Write, fs, sync::Arc};

use posthouse_config::Snapshot;
use posthouse_routing::{Client, Router, Source};

const DOMAINS: usize = 10_000;
const RECIPIENTS: usize = 100_000;
const LIMIT_KIB: u64 = 40 * 1024;

#[test]
fn ten_thousand_domains_with_a_hundred_thousand_recipients_take_less_than_40_mib() {
    let document = document();
    let before = resident_kib();
    let router = Router::new(Arc::new(Snapshot::decode(document.as_bytes()).unwrap()));
    let growth = resident_kib().saturating_sub(before);
    let recipient = "<user00007@domain09999.example>".parse().unwrap();
    let decision = router.route(
        &"<x@y.example>".parse().unwrap(),
        &recipient,
        Source::Client(&Client::unknown()),
        posthouse_model::Timestamp(0),
    );
    assert!(decision.accepted().is_some());
    eprintln!("{} KiB of JSON, {growth} KiB in memory", document.len() / 1024);
    assert!(growth < LIMIT_KIB, "the node grew by {growth} KiB");
}

/// Every domain with a resource, an alias, a forward and a queue of its own.
fn document() -> String {
    let mut queues = String::new();
    let mut domains = String::new();
    for number in 0..DOMAINS {
        let comma = if number == 0 { "" } else { "," };
        let name = format!("domain{number:05}.example");
        let users: Vec<String> = (0..RECIPIENTS / DOMAINS).map(|user| format!("\"user{user:05}\"")).collect();
        let users = users.join(",");
        write!(queues, r#"{comma}{{"name":"{name}"}}"#).unwrap();
        write!(
            domains,
            r#"{comma}{{"domain":"{name}","origin":"customer-{number:05}/domain","aliases":["alias-{name}"],"recipients":{{"Listed":{{"users":[{users}]}}}},"localDelivery":{{"Lmtp":{{"host":{{"host":"dovecot.mail.svc","port":24}},"queue":"{name}"}}}},"unknownRecipients":{{"Forward":{{"host":{{"host":"mx2.{name}","port":25}},"queue":"{name}"}}}}}}"#
        )
        .unwrap();
    }
    format!(
        r#"{{"schema":1,"generation":1,"gateway":{{"origin":"mail/edge","hostname":"mail.example.com","listeners":[],"queue":{{"id":"mail.edge","reserve":0,"retry":{{"intervals":[1000],"expireAfter":1,"warnAfter":1}},"concurrency":{{"perNode":1,"perNextHop":1}}}},"limits":{{"messageSize":1000}}}},"queues":[{queues}],"domains":[{domains}],"rules":[]}}"#
    )
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap()
}
