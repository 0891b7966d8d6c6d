//! What a name leads to, and when it is looked at.

use posthouse_config::{Gateway, Hold, Queue, ResourceName, Snapshot, SnapshotHash};
use posthouse_model::{HostPort, NextHop, QueueName, Route, Transport};
use posthouse_routing::{QueueMode as Mode, Reason};

use super::*;

const HOUR: Duration = Duration::from_hours(1);

/// A policy with the defaults: warns after 4 hours, gives up after 5 days; `queue` is held.
pub(crate) fn policy(queue: &str) -> Policy {
    let origin = ResourceName::new("mail", "edge").unwrap();
    let mut snapshot = Snapshot::new(Gateway::new(origin, "mail.example.com".parse().unwrap()));
    let name = QueueName::new(queue).unwrap();
    snapshot.queues = [Queue { name, hold: Some(Hold::OnRequest), hold_expires_after: None }].into();
    Policy::of(Arc::new(snapshot), SnapshotHash::of(b"test"), None).unwrap()
}

/// A name that leads to these addresses, in the queue of their domain.
pub(crate) fn named(name: &str, notify: Notify, to: &[&str]) -> Named {
    let delivery = |address: &&str| {
        let recipient: Mailbox = address.parse().unwrap();
        let host = HostPort { host: "next.example".to_owned(), port: None };
        let next_hop = NextHop::new(Transport::Smtp, vec![host]);
        let queue = QueueName::new(&recipient.domain().to_lowercase()).unwrap();
        let hold = (queue.as_str() == "held.example").then_some(Hold::OnRequest);
        Delivery {
            recipient,
            queue,
            mode: Mode { hold, generation: 1 },
            route: Arc::new(Route { next_hop, origin: "mail/rule".to_owned(), waits: None }),
            reason: Reason::Relayed,
        }
    };
    Named {
        forward_path: ForwardPath::Mailbox(name.parse().unwrap()),
        notify,
        orcpt: Some(format!("rfc822;{name}").parse().unwrap()),
        deliveries: to.iter().map(delivery).collect(),
    }
}

fn made(named: &[Named], sender: &str) -> Vec<NewEntry> {
    entries(named, &sender.parse().unwrap(), &policy("held.example"), Timestamp(0))
}

fn wishes(entry: &NewEntry) -> Vec<(String, String, Option<&str>)> {
    let wish = |one: &'_ EntryRecipient| (one.address.to_string(), Notify::from_bits(one.notify).to_string());
    entry
        .recipients
        .iter()
        .map(|one| {
            let (address, notify) = wish(one);
            (address, notify, one.orcpt.as_deref())
        })
        .collect()
}

#[test]
fn an_alias_passes_the_senders_wishes_on_and_a_group_all_but_success() {
    // RFC 3461 §5.2.7.2, §5.2.7.3 (c)
    let both: Notify = "SUCCESS,FAILURE".parse().unwrap();
    let alias = made(&[named("alias@a.example", both, &["x@b.example"])], "<s@src.example>");
    let row = |address: &str, notify: &str, orcpt| (address.to_owned(), notify.to_owned(), Some(orcpt));
    assert_eq!(wishes(&alias[0]), [row("x@b.example", "SUCCESS,FAILURE", "rfc822;alias@a.example")]);
    let group = made(&[named("team@a.example", both, &["x@b.example", "y@b.example"])], "<s@src.example>");
    let members =
        ["x@b.example", "y@b.example"].map(|member| row(member, "FAILURE", "rfc822;team@a.example"));
    assert_eq!(wishes(&group[0]), members);
    let only =
        made(&[named("t@a.example", Notify::SUCCESS, &["x@b.example", "y@b.example"])], "<s@src.example>");
    assert_eq!(only[0].recipients[0].notify, Notify::NEVER.bits(), "not what absence would mean");
}

#[test]
fn who_is_named_has_the_wishes_of_its_own_name() {
    let group = || named("team@a.example", Notify::SUCCESS, &["x@b.example", "y@b.example"]);
    let own = || named("x@b.example", Notify::SUCCESS, &["x@b.example"]);
    for names in [[group(), own()], [own(), group()]] {
        let entries = made(&names, "<s@src.example>");
        assert_eq!(
            entries.iter().map(|entry| entry.recipients.len()).sum::<usize>(),
            2,
            "nobody gets it twice"
        );
        let x = entries[0].recipients.iter().find(|one| one.address.to_string() == "x@b.example").unwrap();
        assert_eq!((x.notify, x.expanded_from.is_none()), (Notify::SUCCESS.bits(), true));
    }
}

#[test]
fn an_entry_is_looked_at_when_its_warning_is_due() {
    let after = |span| Timestamp(0).after(span);
    let looked_at = |notify, to, sender| made(&[named(to, notify, &[to])], sender)[0].attend_at;
    let expiry = after(120 * HOUR + AFTER_EXPIRY);
    assert_eq!(looked_at(Notify::ABSENT, "x@b.example", "<s@src.example>"), after(4 * HOUR));
    assert_eq!(looked_at(Notify::FAILURE, "x@b.example", "<s@src.example>"), expiry);
    assert_eq!(looked_at(Notify::DELAY, "x@b.example", "<>"), expiry);
    assert_eq!(
        looked_at(Notify::DELAY, "x@held.example", "<s@src.example>"),
        expiry,
        "held mail is not late"
    );
    // One recipient that wants it is enough.
    let two = [
        named("n@b.example", Notify::NEVER, &["n@b.example"]),
        named("d@b.example", Notify::DELAY, &["d@b.example"]),
    ];
    assert_eq!(made(&two, "<s@src.example>")[0].attend_at, after(4 * HOUR));
}

#[test]
fn what_was_looked_at_is_not_looked_at_again_at_once() {
    let (policy, queue) = (policy("held.example"), QueueName::new("b.example").unwrap());
    let clock = EntryClock { received_at: Timestamp(0), held: Duration::ZERO };
    let now = Timestamp(0).after(5 * HOUR);
    assert_eq!(attend_at(&policy, &queue, clock, true, now), now.after(Duration::from_secs(1)));
    assert_eq!(attend_at(&policy, &queue, clock, false, now), Timestamp(0).after(120 * HOUR + AFTER_EXPIRY));
}
