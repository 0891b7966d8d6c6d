//! What is told of a next hop that takes no mail.

use posthouse_model::{HostPort, NextHop, Transport};

use super::*;

fn route(origin: &str, host: &str, port: Option<u16>) -> Route {
    let next_hop = NextHop::new(Transport::Smtp, vec![HostPort { host: host.to_owned(), port }]);
    Route { next_hop, origin: origin.to_owned(), waits: None }
}

fn null_mx() -> Unreachable {
    NoHosts::NullMx("example.com".parse().unwrap()).into()
}

#[test]
fn only_the_recipients_own_domain_says_that_it_takes_no_mail() {
    let to: Mailbox = "b@Example.COM".parse().unwrap();
    for (origin, host, port, is_permanent) in [
        ("direct delivery", "example.com", None, true),
        ("RelayRule mail/direct", "example.com", None, true),
        ("RelayRule mail/smart-host", "typo.example", None, false),
        ("MailDomain mail/example-com", "example.com", None, false),
        ("direct delivery", "example.com", Some(25), false),
        ("direct delivery", "192.0.2.1", Some(25), false),
    ] {
        let found = null_mx();
        assert_eq!(
            found.permanent(&route(origin, host, port), &to).is_some(),
            is_permanent,
            "{origin} {host}"
        );
    }
    let to_address: Mailbox = "b@[IPv6:2001:db8::1]".parse().unwrap();
    let forbidden = Unreachable::from(NoHosts::Forbidden("2001:db8::1".parse().unwrap()));
    for (origin, host, is_permanent) in [
        ("direct delivery", "2001:db8::1", true),
        ("direct delivery", "2001:db8::2", false),
        ("MailDomain mail/example-com", "2001:db8::1", false),
    ] {
        let found = forbidden.permanent(&route(origin, host, Some(25)), &to_address);
        assert_eq!(found.is_some(), is_permanent, "{origin} {host}");
    }
    let no_host = Unreachable::from(NoHosts::NoSuchHost("example.com".parse().unwrap()));
    assert!(no_host.permanent(&route("direct delivery", "example.com", None), &to).is_none());
}

#[test]
fn a_refused_login_is_told_without_the_words_of_the_far_end_and_stops_the_search() {
    let refusal = |reply: &str| Refusal {
        stage: Stage::Authentication,
        reply: reply.parse().unwrap(),
        origin: Origin::Remote,
    };
    let refused = Unreachable::refused("mx:587", refusal("535 5.7.8 joe is locked out"));
    assert_eq!(refused.reason, "mx:587 refuses the login of this gateway with 535");
    assert_eq!(refused.said, Said::Ours(EnhancedStatus::transient(7, 8)));
    assert!(refused.is_final);
    assert!(!Unreachable::refused("mx:587", refusal("454 4.7.0 not now")).is_final);
    // RFC 5321 §3.8: 421 answers anything, and is no word about the login.
    let farewell = Unreachable::refused("mx:587", refusal("421 4.3.2 going down"));
    assert_eq!(farewell.reason, "it takes no mail now: 421 4.3.2 going down");
}

#[test]
fn why_this_side_does_not_log_in_is_told_without_what_the_far_end_offers() {
    let reply = "454 4.7.4 cannot authenticate to the next hop: the server offers X-SECRET".parse().unwrap();
    let refusal = Refusal { stage: Stage::Authentication, reply, origin: Origin::Local };
    let refused = Unreachable::refused("mx:587", refusal);
    assert_eq!(refused.reason, "this gateway cannot log in to mx:587");
    assert_eq!(refused.said, Said::Ours(EnhancedStatus::transient(7, 4)));
}

#[test]
fn who_was_spoken_to_tells_more_than_who_was_not_found() {
    let theirs = Refusal {
        stage: Stage::Greeting,
        reply: Reply::new(ReplyCode::NOT_AVAILABLE, None, "closing"),
        origin: Origin::Remote,
    };
    let (theirs, ours) =
        (Unreachable::refused("a:25", theirs), Unreachable::no_answer("b:25", "dead".to_owned()));
    assert_eq!(theirs.clone().or(ours.clone()).host, "a:25");
    assert_eq!(ours.clone().or(null_mx()).host, "b:25");
    assert_eq!(ours.or(theirs).host, "a:25");
}
