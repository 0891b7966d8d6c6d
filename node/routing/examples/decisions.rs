//! How long a decision takes, at few rules and at many domains: `cargo run --release -p posthouse-routing --example decisions`.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "an example for people to run"
)]

use std::{hint::black_box, sync::Arc, time::Instant};

use posthouse_config::{
    AuthenticationMethod, ClientTls, Gateway, LocalDelivery, MailDomain, Match, Recipients, RelayControl,
    RelayRule, RuleTarget, Snapshot, Tier,
};
use posthouse_model::{ForwardPath, HostPort, LocalPart, QueueName, ReversePath, Timestamp};
use posthouse_routing::{Client, Router, Source};

const ROUNDS: u32 = 1_000_000;

fn main() {
    let few = Router::new(Arc::new(snapshot(10, 10, 5)));
    let many = Router::new(Arc::new(snapshot(10_000, 10, 1_000)));
    let client = Client::at("192.168.1.1".parse().unwrap());
    for (name, router, recipient) in [
        ("listed recipient, 10 domains", &few, "<user5@domain5.example>"),
        ("unknown recipient, 10 domains", &few, "<nobody@domain5.example>"),
        ("last of 5 rules", &few, "<someone@elsewhere4.example>"),
        ("listed recipient, 10,000 domains", &many, "<user5@domain5000.example>"),
        ("last of 1,000 rules", &many, "<someone@elsewhere999.example>"),
    ] {
        let sender: ReversePath = "<alice@sender.example>".parse().unwrap();
        let recipient: ForwardPath = recipient.parse().unwrap();
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(router.route(
                black_box(&sender),
                black_box(&recipient),
                Source::Client(&client),
                Timestamp(0),
            ));
        }
        println!("{name}: {:.0} ns", start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
    }
}

fn snapshot(domains: usize, users: usize, rules: usize) -> Snapshot {
    let mut gateway = Gateway::new("mail/edge".parse().unwrap(), "mail.example.com".parse().unwrap());
    let networks = ["192.168.0.0/16".parse().unwrap()].into();
    gateway.relay_control = Some(RelayControl {
        networks,
        address_trust: posthouse_config::AddressTrust::Always,
        ..RelayControl::default()
    });
    let mut snapshot = Snapshot::new(gateway);
    let names: Vec<LocalPart> = (0..users).map(|number| format!("user{number}").parse().unwrap()).collect();
    snapshot.domains = (0..domains).map(|number| Arc::new(domain(number, &names))).collect();
    snapshot.rules = (0..rules).map(rule).collect();
    snapshot.sorted()
}

fn domain(number: usize, users: &[LocalPart]) -> MailDomain {
    let name = format!("domain{number}.example");
    let mut domain = MailDomain::new(name.parse().unwrap(), format!("mail/domain{number}").parse().unwrap());
    domain.recipients =
        Recipients::Listed { users: users.iter().collect(), groups: Box::default(), aliases: Box::default() };
    domain.local_delivery = Some(LocalDelivery::Lmtp {
        host: HostPort { host: "dovecot.mail.svc".to_owned(), port: Some(24) },
        queue: QueueName::new(&name).unwrap(),
        guarded: false,
    });
    domain
}

fn rule(number: usize) -> RelayRule {
    RelayRule {
        origin: format!("mail/rule{number:06}").parse().unwrap(),
        tier: Tier::Default,
        order: 0,
        suspended: false,
        matches: Match::Addresses {
            senders: Box::default(),
            recipients: [format!("*@elsewhere{number}.example").parse().unwrap()].into(),
        },
        target: RuleTarget::Relay {
            hosts: [HostPort { host: "smtp.example".to_owned(), port: Some(587) }].into(),
        },
        credentials: None,
        method: AuthenticationMethod::default(),
        tls: ClientTls::default(),
        guarded: false,
        unsupported: Box::default(),
    }
}
