//! Hostile and broken next hops: each moment of a session, and each way to break it there, over real sockets and through all of the delivery: what becomes of
//! each recipient, in which time, with how much of what the other side says taken in; and that the mail arrives, once, when the next hop behaves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod expected;
mod world;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use posthouse_model::{HopTls, HostPort, Transport};
use posthouse_queue::{Accounting, BodyType, EntrySummary, State};
use posthouse_tests::{
    pki,
    saboteur::{At, How, Manner, Saboteur, Seen},
    sink::Protocol,
};
use rustls::ServerConfig;

use self::{
    expected::{Fate, Row, fates, keeps_its_connection, patience, waits},
    world::{Letter, Sent, World},
};

const TO: [&str; 3] = ["a", "b", "c"];

/// Of a message that went over the connection before.
const BEFORE: &str = "before";

/// What a client takes in of a reply without end, with what lies in the buffers of two systems between.
const MOST_TAKEN: usize = 1024 * 1024;

/// Content that goes out in one write, and such that fills every buffer on the way.
const SMALL: usize = 600;
const LARGE: usize = 3 * 1024 * 1024;

/// Every way to break a moment.
fn ways(at: At, tls: bool) -> Vec<How> {
    let span = patience(at);
    let beneath = (tls && !matches!(at, At::StartTls | At::Handshake)).then_some(How::BreaksTls);
    let above = [
        How::Says(b"450 4.3.0 not now"),
        How::Says(b"450 4.3.0 caf\xc3\xa9 \xff\xfe\x00"),
        How::Says(b"550 5.3.0 not at all"),
        How::SaysAndCloses(b"421 4.3.2 going down"),
        How::Resets,
        How::Closes,
        How::Silent(span),
        How::Drips(span),
        How::SaysTwice,
        How::OutOfPlace,
        How::Mebibyte,
        How::EndlessLines,
        How::EndlessLine,
        How::Garbage,
    ];
    above.into_iter().chain(beneath).collect()
}

/// The hosts of one row.
struct Hosts {
    first: Saboteur,
    next: Saboteur,
    /// They want a login.
    login: bool,
}

impl Hosts {
    fn start(world: &World, row: Row, tls: Option<&Arc<ServerConfig>>) -> Self {
        let login = row.at == At::Auth;
        let honest = Manner::honest(row.protocol, world.clock());
        let mut manner = Manner { tls: tls.cloned(), implicit: row.implicit, login, ..honest };
        manner.keywords.extend(row.pipelining.then_some("PIPELINING"));
        if row.at == At::Chunk {
            manner.keywords.extend(["CHUNKING", "BINARYMIME"]);
        }
        let next = Saboteur::start(manner.clone()).unwrap();
        Self { first: Saboteur::start(manner.sabotage(row.at, row.how)).unwrap(), next, login }
    }

    fn letter(&self, row: Row) -> Letter<'static> {
        Letter {
            hosts: [&self.first, &self.next].map(|host| at(host.address())).to_vec(),
            transport: match row.protocol {
                Protocol::Smtp => Transport::Smtp,
                Protocol::Lmtp => Transport::Lmtp,
            },
            login: self.login,
            tls: if row.implicit { HopTls::Implicit } else { HopTls::StartTls },
            to: &TO,
            body: if row.at == At::Chunk { BodyType::BinaryMime } else { BodyType::SevenBit },
            size: if row.at == At::Content { LARGE } else { SMALL },
        }
    }
}

fn at(address: SocketAddr) -> HostPort {
    HostPort { host: address.ip().to_string(), port: Some(address.port()) }
}

/// What there is to see of a message.
struct Found {
    accounting: Accounting,
    waiting: Vec<EntrySummary>,
    first: Seen,
    next: Seen,
}

impl Found {
    async fn of(sent: &Sent, world: &World, hosts: &Hosts) -> Self {
        let (accounting, waiting) = (world.accounting().await, world.entries(sent).await);
        Self { accounting, waiting, first: hosts.first.seen(), next: hosts.next.seen() }
    }
}

/// Sends a message to what breaks, and again once it behaves; says what is wrong with what became of it.
async fn try_out(world: &mut World, row: Row, tls: Option<&Arc<ServerConfig>>) -> Result<(), String> {
    let hosts = Hosts::start(world, row, tls);
    let letter = hosts.letter(row);
    if matches!(row.at, At::NextMail | At::Idle) {
        let before = world.send(&Letter { to: &[BEFORE], ..hosts.letter(row) }).await;
        world.settled(&before).await;
    }
    if row.at == At::Idle {
        // Before there is more to send: what comes together with a command is an answer to it.
        world.until(|| hosts.first.seen().is_done).await;
    }
    let before = world.accounting().await;
    let sent = world.send(&letter).await;
    world.settled(&sent).await;
    if row.at == At::Quit {
        world.part().await;
    }
    if (row.protocol, row.how) == (Protocol::Lmtp, How::SaysTwice) && matches!(row.at, At::Dot(_)) {
        // The client has an answer for everybody before the last one is given.
        world.until(|| hosts.first.seen().letters.len() >= TO.len()).await;
    }
    hosts.first.behave();
    // Or it would let time pass for the second attempt.
    world.until(|| !hosts.first.holds()).await;
    let after = Found::of(&sent, world, &hosts).await;
    check_attempt(row, &before, &after)?;
    world.retry(&sent).await;
    check_end(row, &before, &after, &Found::of(&sent, world, &hosts).await)
}

/// After the first attempt.
fn check_attempt(row: Row, before: &Accounting, found: &Found) -> Result<(), String> {
    check("taken by the first", told(&found.first), who(row, &[Fate::Taken]))?;
    check("taken by the next", told(&found.next), who(row, &[Fate::TakenByNext]))?;
    check("the next is asked", found.next.sessions > 0, fates(row).contains(&Fate::TakenByNext))?;
    check("waiting", names(&found.waiting), who(row, &[Fate::Later]))?;
    check_waiting(&found.waiting)?;
    let never = who(row, &[Fate::Never]).len() as u64;
    check("failed", found.accounting.failed - before.failed, never)?;
    check("notifications", found.accounting.generated - before.generated, u64::from(never > 0))?;
    check_bounds(row, &found.first)
}

/// After the second attempt, with a first host that behaves: who waited is done, and nobody was told twice, neither that the mail is taken nor that it is not.
fn check_end(row: Row, before: &Accounting, after: &Found, found: &Found) -> Result<(), String> {
    let last = &found.accounting;
    check("still waiting", names(&found.waiting), Vec::new())?;
    let bounced = |accounting: &Accounting| (accounting.failed, accounting.generated);
    check("bounced later", bounced(last), bounced(&after.accounting))?;
    let is_attempted = fates(row).contains(&Fate::Later);
    let connects = is_attempted && !keeps_its_connection(row);
    check("connections", found.first.sessions - after.first.sessions, usize::from(connects))?;
    let done = |accounting: &Accounting| accounting.relayed + accounting.delivered;
    let wanted = who(row, &[Fate::Taken, Fate::TakenByNext, Fate::Later]);
    check("taken in the end", done(last) - done(before), wanted.len() as u64)?;
    let mut taken = [told(&found.first), told(&found.next)].concat();
    taken.sort_unstable();
    check("told once that it is taken", taken, wanted)?;
    check_bounds(row, &found.first)
}

/// Who a host has told that the mail is taken.
fn told(seen: &Seen) -> Vec<String> {
    seen.taken().into_iter().filter(|to| !to.starts_with(BEFORE)).map(str::to_owned).collect()
}

/// The recipients of whom one of these things becomes.
fn who(row: Row, these: &[Fate]) -> Vec<String> {
    let those = TO.iter().zip(fates(row)).filter(|(_, fate)| these.contains(fate));
    those.map(|(name, _)| format!("{name}@dst.test")).collect()
}

#[allow(clippy::needless_pass_by_value, reason = "what is compared is made for it")]
fn check<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Result<(), String> {
    let is_so = found == wanted;
    is_so.then_some(()).ok_or_else(|| format!("{what}: {found:?}, not {wanted:?}"))
}

fn names(entries: &[EntrySummary]) -> Vec<String> {
    let entries = entries.iter().filter_map(|entry| entry.entry.as_ref());
    entries.flat_map(|entry| entry.recipients.iter().map(|to| to.address.to_string())).collect()
}

/// What waits was attempted once, waits for a time, and what is said of it is of another time too.
fn check_waiting(entries: &[EntrySummary]) -> Result<(), String> {
    for summary in entries {
        check("state", summary.state, State::Deferred)?;
        let entry = summary.entry.as_ref().ok_or("no record")?;
        check("attempts", entry.attempts, 1)?;
        for recipient in &entry.recipients {
            let last = recipient.last.as_ref().ok_or("nothing is said of it")?;
            check(&format!("a transient status, in {last:?}"), last.status.starts_with("4."), true)?;
            check("a short text", last.text.len() <= 512, true)?;
        }
    }
    Ok(())
}

fn check_bounds(row: Row, seen: &Seen) -> Result<(), String> {
    // Behind QUIT it need not be there any more.
    check("the client is impatient", seen.is_impatient && row.at != At::Quit, false)?;
    check("the client was still there", seen.is_outlasted, false)?;
    check(&format!("of what was said {} octets were taken", seen.said), seen.said < MOST_TAKEN, true)
}

/// Tries all of these moments in every way.
async fn try_all(moments: &[At], protocol: Protocol, pipelining: bool, tls: Option<Arc<ServerConfig>>) {
    let row = Row { at: At::Quit, how: How::Closes, protocol, pipelining, implicit: false };
    try_rows(moments, row, tls).await;
}

/// The same with rows that are otherwise like this one.
async fn try_rows(moments: &[At], like: Row, tls: Option<Arc<ServerConfig>>) {
    let mut world = World::new().await;
    let mut wrong = Vec::new();
    for at in moments {
        // Where nothing is due, nobody is kept waiting.
        for how in ways(*at, tls.is_some()).into_iter().filter(|how| *at != At::Idle || !waits(*how)) {
            let row = Row { at: *at, how, ..like };
            if let Err(why) = try_out(&mut world, row, tls.as_ref()).await {
                wrong.push(format!("{row:?}: {why}"));
            }
        }
    }
    let in_doubt = world.node.metrics.attempts_in_doubt.clone();
    world.until(|| in_doubt.get() == 0).await;
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

fn tls() -> Arc<ServerConfig> {
    pki::self_signed(&["127.0.0.1"]).unwrap().server().unwrap()
}

#[tokio::test(start_paused = true)]
async fn who_breaks_before_a_transaction_is_passed_over() {
    try_all(&[At::Greeting, At::Hello], Protocol::Smtp, true, None).await;
}

#[tokio::test(start_paused = true)]
async fn who_breaks_over_tls_is_spoken_to_in_clear_or_passed_over() {
    try_all(&[At::StartTls, At::Handshake, At::HelloAgain], Protocol::Smtp, true, Some(tls())).await;
}

#[tokio::test(start_paused = true)]
async fn where_tls_comes_first_nothing_goes_without() {
    let like =
        Row { at: At::Quit, how: How::Closes, protocol: Protocol::Smtp, pipelining: true, implicit: true };
    try_rows(&[At::Handshake, At::Greeting, At::HelloAgain], like, Some(tls())).await;
}

#[tokio::test(start_paused = true)]
async fn a_login_is_refused_or_broken_off() {
    try_all(&[At::Auth], Protocol::Smtp, true, Some(tls())).await;
}

const ENVELOPE: [At; 4] = [At::Mail, At::Rcpt(1), At::Rcpt(2), At::Data];

#[tokio::test(start_paused = true)]
async fn an_envelope_is_broken_off_where_commands_go_one_by_one() {
    try_all(&ENVELOPE, Protocol::Smtp, false, None).await;
}

#[tokio::test(start_paused = true)]
async fn an_envelope_is_broken_off_where_commands_go_together() {
    try_all(&ENVELOPE, Protocol::Smtp, true, None).await;
}

#[tokio::test(start_paused = true)]
async fn content_is_broken_off() {
    try_all(&[At::Content, At::Chunk], Protocol::Smtp, false, None).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_whole_is_in_doubt_until_it_is_answered() {
    try_all(&[At::Dot(1)], Protocol::Smtp, true, None).await;
}

#[tokio::test(start_paused = true)]
async fn lmtp_answers_for_each_recipient_and_those_before_a_break_are_done() {
    try_all(&[At::Dot(1), At::Dot(2), At::Rcpt(3)], Protocol::Lmtp, true, None).await;
}

#[tokio::test(start_paused = true)]
async fn tls_breaks_in_the_middle() {
    try_all(&[At::Mail, At::Content, At::Dot(1)], Protocol::Smtp, true, Some(tls())).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_kept_is_no_better() {
    try_all(&[At::Idle, At::NextMail, At::Quit], Protocol::Smtp, true, None).await;
}

/// Sends a message to so many recipients, each of whom is answered for after so much time; says how many were named, and whether it was taken.
async fn answered_late(recipients: usize, span: Duration) -> (usize, bool) {
    let mut world = World::new().await;
    let manner = Manner { times: usize::MAX, ..Manner::honest(Protocol::Smtp, world.clock()) };
    let late = Saboteur::start(manner.sabotage(At::EachRcpt, How::Late(span))).unwrap();
    let to: Vec<String> = (0..recipients).map(|number| format!("r{number}")).collect();
    let sent = world
        .send(&Letter {
            hosts: vec![at(late.address())],
            transport: Transport::Smtp,
            login: false,
            tls: HopTls::StartTls,
            to: &to.iter().map(String::as_str).collect::<Vec<_>>(),
            body: BodyType::SevenBit,
            size: SMALL,
        })
        .await;
    world.settled(&sent).await;
    let seen = late.seen();
    assert_eq!(names(&world.entries(&sent).await).len() + seen.taken().len(), recipients);
    (said(&seen, "RCPT "), !seen.taken().is_empty())
}

/// How often a command was said.
fn said(seen: &Seen, verb: &str) -> usize {
    seen.lines.iter().filter(|(_, line)| line.starts_with(verb)).count()
}

#[tokio::test(start_paused = true)]
async fn who_uses_up_every_timer_is_given_up_and_who_is_only_slow_is_not() {
    // RFC 5321 §4.5.3.2.3: five minutes for each, which would be three hours and more for forty; an hour is what they get.
    let (named, is_taken) = answered_late(40, Duration::from_secs(290)).await;
    assert!((10..15).contains(&named) && !is_taken, "{named}");
    assert_eq!(answered_late(40, Duration::from_secs(50)).await, (40, true));
    // Few enough have all the time that there is.
    assert_eq!(answered_late(2, Duration::from_secs(290)).await, (2, true));
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_tried_again_at_once_when_its_credentials_are_others() {
    let mut world = World::new().await;
    let manner = Manner { tls: Some(tls()), login: true, ..Manner::honest(Protocol::Smtp, world.clock()) };
    let refuses = manner.sabotage(At::Auth, How::Says(b"535 5.7.8 who is that?"));
    let host = Saboteur::start(Manner { times: usize::MAX, ..refuses }).unwrap();
    let logins = || said(&host.seen(), "AUTH PLAIN ");
    let sent = world
        .send(&Letter {
            hosts: vec![at(host.address())],
            transport: Transport::Smtp,
            login: true,
            tls: HopTls::StartTls,
            to: &TO,
            body: BodyType::SevenBit,
            size: SMALL,
        })
        .await;
    world.settled(&sent).await;
    assert_eq!(logins(), 1);
    assert_eq!(world.node.refused_logins.list().len(), 1);
    // Somebody asks for it again and again, and has mended nothing: each try may be counted against the account.
    for _ in 0..3 {
        world.retry(&sent).await;
    }
    assert_eq!(logins(), 2);
    assert_eq!(names(&world.entries(&sent).await).len(), 3);

    host.behave();
    world.change_password("another");
    world.retry(&sent).await;
    assert_eq!((logins(), host.seen().taken().len()), (3, 3));
    assert!(world.node.refused_logins.list().is_empty());
    assert!(world.entries(&sent).await.is_empty());
}
