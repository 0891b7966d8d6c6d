//! What each wish of a sender leads to, for each end of an attempt.

use std::sync::Arc;

use bytes::Bytes;
use posthouse_model::{HostPort, MessageId, NextHop, Notify, QueueName, Route, ShardId};
use posthouse_queue::{BodyType, Content, Entry, Envelope, LeaseToken, MessageMeta, Origin};

use super::*;

const HOUR: u64 = 3_600_000;

fn schedule() -> RetrySchedule {
    RetrySchedule {
        intervals: vec![Duration::from_hours(1)],
        expire_after: Duration::from_hours(10),
        warn_after: Duration::from_hours(4),
    }
}

/// A leased entry of a message accepted at the epoch, with a recipient for each NOTIFY.
pub(crate) fn leased(sender: &str, transport: Transport, notify: &[Notify]) -> Leased {
    let recipients = notify.iter().enumerate().map(|(number, notify)| EntryRecipient {
        address: format!("r{number}@dst.example").parse().unwrap(),
        expanded_from: None,
        orcpt: None,
        notify: notify.bits(),
        last: None,
    });
    let next_hop = NextHop::new(transport, vec![HostPort { host: "next.example".to_owned(), port: None }]);
    let entry = Entry {
        id: MessageId::new(0, ShardId(0), 1).entry(0),
        queue: QueueName::new("dst.example").unwrap(),
        route: Route { next_hop, origin: "mail/dst".to_owned(), waits: None },
        source: String::new(),
        snapshot: [0; 16],
        recipients: recipients.collect(),
        transforms: Vec::new(),
        priority: 4,
        urgent: false,
        attempts: 0,
        delay_warned: false,
        attend_at: Timestamp(0),
        held_ms: 0,
    };
    let envelope = Envelope {
        reverse_path: sender.parse().unwrap(),
        body: BodyType::SevenBit,
        smtputf8: false,
        ret_full: None,
        envid: None,
        client: String::new(),
        login: None,
    };
    let message =
        MessageMeta { envelope, origin: Origin::Accepted, size: 0, crc32: 0, received_at: Timestamp(0) };
    Leased {
        entry: Arc::new(entry),
        message: Arc::new(message),
        content: Content::Inline(Bytes::new()),
        token: LeaseToken(1),
        attend: false,
        probe: false,
        held: false,
    }
}

fn reply(code: u16) -> LastReply {
    LastReply { at: Timestamp(0), code, status: String::new(), text: String::new(), host: String::new() }
}

fn judged(leased: &Leased, found: Vec<Found>, now: u64) -> Judged {
    judge(Terms { retry: &schedule(), is_held: false, now: Timestamp(now) }, leased, found)
}

fn became(judged: &Judged) -> Vec<Became> {
    judged.reported.iter().map(|reported| reported.became).collect()
}

/// What each sender is told who asked for nothing, NEVER, SUCCESS, FAILURE or DELAY.
fn told(transport: Transport, found: &Found, now: u64) -> [Option<Became>; 5] {
    [Notify::ABSENT, Notify::NEVER, Notify::SUCCESS, Notify::FAILURE, Notify::DELAY].map(|notify| {
        let judged = judged(&leased("<s@src.example>", transport, &[notify]), vec![found.clone()], now);
        became(&judged).first().copied()
    })
}

#[test]
fn each_sender_is_told_what_it_asked_for() {
    // RFC 3461 §4.1, §5.2.2, §5.2.3, §5.2.6
    let taken = |dsn| Found::Taken { said: reply(250), dsn };
    let relayed = Some(Became::Relayed);
    assert_eq!(told(Transport::Smtp, &taken(false), 0), [None, None, relayed, None, None]);
    let delivered = Some(Became::Delivered);
    assert_eq!(told(Transport::Lmtp, &taken(false), 0), [None, None, delivered, None, None]);
    let failed = Some(Became::Failed);
    let permanent = Found::Permanent(reply(550));
    assert_eq!(told(Transport::Smtp, &permanent, 0), [failed, None, None, failed, None]);
    let expired = Some(Became::Expired);
    let transient = Found::Transient(reply(450));
    assert_eq!(told(Transport::Smtp, &transient, 10 * HOUR), [expired, None, None, expired, None]);
    let over = Found::Expired(reply(450));
    assert_eq!(told(Transport::Smtp, &over, 10 * HOUR), [expired, None, None, expired, None]);
    assert_eq!(told(Transport::Smtp, &transient, 4 * HOUR - 1), [None; 5], "not late yet");
    let delayed = Some(Became::Delayed { until: Timestamp(10 * HOUR) });
    assert_eq!(told(Transport::Smtp, &transient, 4 * HOUR), [delayed, None, None, None, delayed]);
}

#[test]
fn a_next_hop_with_dsn_reports_itself() {
    // RFC 3461 §5.2.1
    for transport in [Transport::Smtp, Transport::Lmtp] {
        assert_eq!(told(transport, &Found::Taken { said: reply(250), dsn: true }, 0), [None; 5]);
    }
}

#[test]
fn a_delay_is_told_once_and_not_of_what_is_held() {
    // RFC 3461 §5.2.5
    let found = || vec![Found::Transient(reply(450))];
    let mut late = leased("<s@src.example>", Transport::Smtp, &[Notify::ABSENT]);
    let first = judged(&late, found(), 5 * HOUR);
    assert!(first.delay_warned && first.reported.len() == 1);
    Arc::make_mut(&mut late.entry).delay_warned = true;
    let second = judged(&late, found(), 6 * HOUR);
    assert!(second.delay_warned && second.reported.is_empty());

    let held = leased("<s@src.example>", Transport::Smtp, &[Notify::DELAY]);
    let terms = Terms { retry: &schedule(), is_held: true, now: Timestamp(5 * HOUR) };
    let judged_held = judge(terms, &held, found());
    assert!(!judged_held.delay_warned && judged_held.reported.is_empty());

    let mut was_held = leased("<s@src.example>", Transport::Smtp, &[Notify::DELAY]);
    Arc::make_mut(&mut was_held.entry).held_ms = 2 * HOUR;
    assert!(!judged(&was_held, found(), 5 * HOUR).delay_warned, "held time does not count");
    let told = judged(&was_held, found(), 6 * HOUR);
    assert_eq!(became(&told), [Became::Delayed { until: Timestamp(12 * HOUR) }]);
}

#[test]
fn what_ends_late_is_not_called_delayed() {
    let late = leased("<s@src.example>", Transport::Smtp, &[Notify::ABSENT]);
    let judged = judged(&late, vec![Found::Taken { said: reply(250), dsn: false }], 5 * HOUR);
    assert!(judged.reported.is_empty() && !judged.delay_warned && judged.next_attempt.is_none());
}

#[test]
fn one_attempt_may_end_in_several_ways() {
    let wishes = [Notify::SUCCESS, Notify::ABSENT, Notify::DELAY];
    let found = vec![
        Found::Taken { said: reply(250), dsn: false },
        Found::Permanent(reply(550)),
        Found::Transient(reply(450)),
    ];
    let judged = judged(&leased("<s@src.example>", Transport::Lmtp, &wishes), found, 5 * HOUR);
    let delayed = Became::Delayed { until: Timestamp(10 * HOUR) };
    assert_eq!(became(&judged), [Became::Delivered, Became::Failed, delayed]);
    assert_eq!(judged.reported[1].recipient.last, Some(reply(550)), "each with its own last reply");
    assert_eq!(judged.next_attempt, Some(Timestamp(6 * HOUR)));
    assert_eq!(judged.outcomes[2].0, Outcome::Deferred(Some(reply(450))));
}

#[test]
fn a_warning_without_an_attempt_is_for_who_wants_it() {
    let mut waiting =
        leased("<s@src.example>", Transport::Smtp, &[Notify::ABSENT, Notify::FAILURE, Notify::DELAY]);
    Arc::make_mut(&mut waiting.entry).recipients[2].last = Some(reply(450));
    let reported = delayed(&schedule(), &waiting);
    let to: Vec<String> = reported.iter().map(|one| one.recipient.address.to_string()).collect();
    assert_eq!(to, ["r0@dst.example", "r2@dst.example"]);
    assert_eq!(reported[1].recipient.last, Some(reply(450)), "with what was said last");
}
