//! Where mail goes that no rule leads: by MX (RFC 5321 §5), asked of a name server of the test's own.
//!
//! Exchangers are spoken to on port 25, so each sink has a loopback address to itself; the gateways are told that this is where mail goes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::net::IpAddr;
use std::sync::Arc;

use posthouse_tests::gateway::Gateway;
use posthouse_tests::manifests::{self, Manifests};
use posthouse_tests::peers::named::{Named, Zone};
use posthouse_tests::sink::{Letter, Manner, Moment, Policy, Sink};
use posthouse_tests::smtp::Client;
use posthouse_tests::wait::{self, SOON};

/// A gateway that knows the zone `test` and has no rule; notifications to `a@src.test` arrive at `home`.
struct House {
    // In the order in which they end.
    gateway: Gateway,
    manifests: Manifests,
    named: Named,
    home: Sink,
}

impl House {
    /// With these records in the zone, and these intervals between attempts.
    fn start(records: &str, retry: &str) -> Self {
        Self::start_with(records, retry, "egress: {deniedNetworks: []}")
    }

    /// The same with this block of the gateway's.
    fn start_with(records: &str, retry: &str, egress: &str) -> Self {
        let home = exchanger();
        let records =
            format!("src MX 10 home.src\nhome.src A {}\ngateway A 127.0.0.1\n{records}", home.address().ip());
        let named = Named::start(&[Zone::new("test", &records), Zone::broken("broken.example")]).unwrap();
        let manifests = Manifests::new().unwrap();
        let resolver = format!("resolver: {{nameservers: [\"{}\"]}}", named.address());
        let gateway = manifests::gateway(&["{name: smtp, port: 25, protocol: Smtp}"], &[&resolver, egress]);
        manifests.write("gateway.yaml", &gateway.replace("[1s]", retry)).unwrap();
        let gateway = Gateway::start(manifests.path()).unwrap();
        Self { gateway, manifests, named, home }
    }

    fn send(&self, to: &str) {
        let mut client = Client::hello(self.gateway.smtp().unwrap()).unwrap();
        assert_eq!(client.send("a@src.test", &[to], b"Subject: x\r\n\r\nhi\r\n").unwrap().code, 250);
    }

    /// The notification that comes home.
    fn bounce(&mut self) -> String {
        let letter = self
            .home
            .letter(SOON)
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.gateway.operator().log_tail()));
        assert_eq!((letter.from.as_str(), letter.to), ("", vec!["a@src.test".to_owned()]));
        self.gateway.until_drained(SOON).unwrap();
        String::from_utf8_lossy(&letter.content).into_owned()
    }

    fn until_deferred(&mut self) {
        let gateway = &self.gateway;
        let is_deferred = || {
            let counts = gateway.counts()?;
            Ok((counts.deferred == 1 && counts.queued() == 1).then_some(()))
        };
        wait::until("the mail to be deferred", SOON, is_deferred)
            .unwrap_or_else(|error| panic!("{error:#}\n{}", self.gateway.operator().log_tail()));
        assert!(self.home.arrived().is_empty());
    }
}

fn exchanger() -> Sink {
    Sink::exchanger(&Manner::open()).unwrap()
}

fn ip(sink: &Sink) -> IpAddr {
    sink.address().ip()
}

#[test]
fn mail_goes_to_the_best_exchanger() {
    let (best, next) = (exchanger(), exchanger());
    let records =
        format!("dst MX 20 next.dst\ndst MX 10 best.dst\nbest.dst A {}\nnext.dst A {}", ip(&best), ip(&next));
    let mut house = House::start(&records, "[1s]");
    for _ in 0..5 {
        house.send("b@dst.test");
    }
    house.gateway.until_drained(SOON).unwrap();
    assert_eq!((best.arrived().len(), next.arrived().len()), (5, 0));
    // RFC 1035 §3.2.1: what was answered is kept for its time.
    assert_eq!(house.named.asked("dst.test", "MX").unwrap(), 1);
}

#[test]
fn where_the_best_exchanger_is_away_the_next_one_takes_the_mail() {
    let closed = exchanger();
    let gone = ip(&closed);
    drop(closed);
    let busy: Policy =
        Arc::new(|moment| matches!(moment, Moment::Connect).then(|| "421 4.3.2 not today".to_owned()));
    let busy = Sink::exchanger(&Manner::open().policy(busy)).unwrap();
    let next = exchanger();
    let records = format!(
        "dst MX 10 gone.dst\ndst MX 15 busy.dst\ndst MX 20 nowhere.dst\ndst MX 30 next.dst\ngone.dst A {gone}\nbusy.dst A {}\nnext.dst A {}",
        ip(&busy),
        ip(&next)
    );
    // Within one attempt: the next would be in an hour.
    let mut house = House::start(&records, "[1h]");
    house.send("b@dst.test");
    let letter = next
        .letter(SOON)
        .unwrap_or_else(|error| panic!("{error:#}\n{}", house.gateway.operator().log_tail()));
    assert_eq!(letter.to, ["b@dst.test"]);
    house.gateway.until_drained(SOON).unwrap();
    assert_eq!(busy.sessions(), 1);
}

#[test]
fn an_exchanger_that_refuses_for_good_is_not_gone_round() {
    let policy: Policy =
        Arc::new(|moment| matches!(moment, Moment::Rcpt(_)).then(|| "550 5.1.1 nobody".to_owned()));
    let best = Sink::exchanger(&Manner::open().policy(policy)).unwrap();
    let next = exchanger();
    let records =
        format!("dst MX 10 best.dst\ndst MX 20 next.dst\nbest.dst A {}\nnext.dst A {}", ip(&best), ip(&next));
    let mut house = House::start(&records, "[1s]");
    house.send("b@dst.test");
    assert!(house.bounce().contains("Status: 5.1.1"));
    assert_eq!(next.sessions(), 0);
}

#[test]
fn a_domain_without_mx_is_its_own_exchanger() {
    let own = exchanger();
    let mut house = House::start(&format!("dst A {}", ip(&own)), "[1s]");
    house.send("b@dst.test");
    let letter: Letter =
        own.letter(SOON).unwrap_or_else(|error| panic!("{error:#}\n{}", house.gateway.operator().log_tail()));
    assert_eq!(letter.to, ["b@dst.test"]);
}

#[test]
fn what_will_never_be_taken_bounces_at_once() {
    for (records, to, status) in [
        // RFC 7505 §4.1.
        ("dst MX 0 .\ndst A 127.0.0.1", "b@dst.test", "Status: 5.1.10"),
        // RFC 3463 §3.2.
        ("", "b@no.test", "Status: 5.1.2"),
    ] {
        let mut house = House::start(records, "[1h]");
        house.send(to);
        let bounce = house.bounce();
        assert!(bounce.contains(status), "no {status} in {bounce}");
        assert!(bounce.contains(&format!("Final-Recipient: rfc822; {to}")), "{bounce}");
    }
}

#[test]
fn a_name_server_that_fails_only_defers() {
    let mut house = House::start("", "[1h]");
    house.send("b@broken.example");
    house.until_deferred();
    assert!(house.named.asked("broken.example", "MX").unwrap() > 0);
}

#[test]
fn a_domain_whose_exchanger_is_the_gateway_itself_bounces_as_a_loop() {
    let worse = exchanger();
    // RFC 5321 §5.1: what is no better than this gateway is no way out.
    for records in [
        "dst MX 10 gateway".to_owned(),
        format!("dst MX 10 gateway\ndst MX 20 worse.dst\nworse.dst A {}", ip(&worse)),
    ] {
        let mut house = House::start(&records, "[1h]");
        house.send("b@dst.test");
        let bounce = house.bounce();
        assert!(bounce.contains("Status: 5.4.6"), "{bounce}");
    }
    assert_eq!(worse.sessions(), 0);
}

#[test]
fn a_gateway_that_is_the_spare_exchanger_sends_to_the_best_only() {
    let best = exchanger();
    let mut house =
        House::start(&format!("dst MX 10 best.dst\ndst MX 20 gateway\nbest.dst A {}", ip(&best)), "[1h]");
    house.send("b@dst.test");
    best.letter(SOON).unwrap();
    house.gateway.until_drained(SOON).unwrap();
    let gone = ip(&best);
    drop(best);
    let mut house =
        House::start(&format!("dst MX 10 best.dst\ndst MX 20 gateway\nbest.dst A {gone}"), "[1h]");
    house.send("b@dst.test");
    house.until_deferred();
}

#[test]
fn a_strangers_domain_leads_nowhere_into_this_machine_or_its_network() {
    let (local, alive) = (exchanger(), exchanger());
    // Port 25 of these addresses is not the gateway's own.
    let records = format!(
        "dst MX 10 local.dst\ndst MX 20 link.dst\nlocal.dst A {}\nlink.dst A 169.254.169.254\nlink.dst AAAA ::ffff:169.254.0.1\n\
         far MX 10 local.dst\nfar MX 20 alive.far\nalive.far A {}",
        ip(&local),
        ip(&alive)
    );
    let network = match ip(&local) {
        IpAddr::V4(four) => format!("{four}/32"),
        IpAddr::V6(six) => format!("{six}/128"),
    };
    // The default has all of loopback, which is where these tests have everybody.
    let denied = format!("egress: {{deniedNetworks: [\"{network}\", \"169.254.0.0/16\"]}}");
    let mut house = House::start_with(&records, "[1h]", &denied);
    for to in ["b@dst.test", &format!("b@[{}]", ip(&local))] {
        house.send(to);
        let bounce = house.bounce();
        assert!(bounce.contains("Status: 5.4.4"), "{bounce}");
        let words = bounce.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("are at addresses that no mail is sent to"), "{bounce}");
        assert!(!bounce.contains("deniedNetworks"), "how the gateway is set up is nothing for its senders");
    }
    // Its owner is told the field and the cure.
    house
        .gateway
        .until_logged(&["egress_refused", "169.254.0.0/16", "egress.deniedNetworks", "RelayRule"])
        .unwrap();
    house.send("b@far.test");
    assert_eq!(alive.letter(SOON).unwrap().to, ["b@far.test"]);
    house.gateway.until_drained(SOON).unwrap();
    assert_eq!(local.sessions(), 0);
}

#[test]
fn by_default_nobodys_domain_leads_to_loopback_and_a_rule_that_names_the_host_does() {
    let local = exchanger();
    let records = format!("dst MX 10 local.dst\nlocal.dst A {}", ip(&local));
    let mut house = House::start_with(&records, "[1h]", "");
    let matching = "{senders: [\"<>\"], recipients: [\"*@src.test\"]}";
    house.manifests.relay("home", matching, house.home.address()).unwrap();
    house.gateway.restart().unwrap();
    house.send("b@dst.test");
    assert!(house.bounce().contains("Status: 5.4.4"));
    assert_eq!(local.sessions(), 0);
    house.manifests.relay("dst", "{recipients: [\"*@dst.test\"]}", local.address()).unwrap();
    house.gateway.restart().unwrap();
    house.send("b@dst.test");
    assert_eq!(local.letter(SOON).unwrap().to, ["b@dst.test"]);
}
