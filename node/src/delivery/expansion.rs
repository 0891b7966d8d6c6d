//! The report that mail for a group is on its way to the members (RFC 3461 §5.2.7.3 (c)). It is no end of an attempt: it is queued with the message.
//!
//! What a name that leads elsewhere does to the wishes of its sender: one that leads to one address forwards (§5.2.7.2), so NOTIFY and ORCPT
//! pass as they are and nothing is reported here; one that leads to several expands, so its members get NOTIFY without SUCCESS, and who
//! asked for SUCCESS is told `expanded`, once.

use std::time::Duration;

use posthouse_model::ReversePath;
use posthouse_queue::{Content, EntryRecipient, NewContent, NewMessage, StoreError};
use tokio::time;

use super::{
    dsn::{Became, Reported, expansion_id},
    judge,
    report::{self, About},
};
use crate::{events, intake::entries::Named, node::Node, policy::Policy};

/// Between two tries while the store is away.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The report that is owed for the expansions of a message, if one is. Made before the message is enqueued.
pub async fn owed(node: &Node, policy: &Policy, named: &[Named], message: &NewMessage) -> Option<NewMessage> {
    let reported = expanded(named, &message.meta.envelope.reverse_path);
    if reported.is_empty() {
        return None;
    }
    let content = match &message.content {
        NewContent::Inline(content) => Content::Inline(content.clone()),
        NewContent::Chunks(chunks) => Content::Chunks(*chunks),
    };
    let about = About { id: message.id, message: &message.meta, content: &content, name: &message.id };
    let id = expansion_id(message.id);
    report::write(node, policy, id, about, &reported, message.meta.received_at).await
}

/// Queues it, after the message and before its client is told 250: a client that is told nothing sends again, and with that message goes
/// another report. If the store is away just then, it is seen through in the background.
pub async fn queue(node: &Node, owed: Option<NewMessage>) {
    let Some(report) = owed else { return };
    if !try_queue(node, &report).await
        && let Some(later) = node.delivery.node()
    {
        node.delivery.in_background(async move {
            while !try_queue(&later, &report).await {
                time::sleep(AGAIN_AFTER).await;
            }
        });
    }
}

/// Whether it is over: it is queued, or never will be.
async fn try_queue(node: &Node, report: &NewMessage) -> bool {
    let life = node.presence.life();
    // Idempotent by its id.
    let enqueued = node.store.enqueue(life.incarnation(), report.clone(), &[], node.presence.now()).await;
    match enqueued {
        Ok(_) => node.activator.activate(report.id).await,
        Err(StoreError::Unavailable(_) | StoreError::Full(_) | StoreError::Departed) => return false,
        Err(error) => events::StoreTrouble { doing: "queue a notification", error: &error }.emit(),
    }
    true
}

/// The names that led to several and whose sender wants to be told.
fn expanded(named: &[Named], sender: &ReversePath) -> Vec<Reported> {
    if sender.is_null() {
        return Vec::new();
    }
    let groups = named.iter().filter(|name| name.is_expanded());
    groups.filter_map(|name| judge::report(&as_recipient(name)?, Became::Expanded, None)).collect()
}

/// The name itself, as a recipient.
fn as_recipient(name: &Named) -> Option<EntryRecipient> {
    Some(EntryRecipient {
        address: name.forward_path.mailbox()?.clone(),
        expanded_from: None,
        orcpt: name.orcpt.as_ref().map(ToString::to_string),
        notify: name.notify.bits(),
        last: None,
    })
}

#[cfg(test)]
mod tests {
    use posthouse_model::Notify;

    use super::*;
    use crate::intake::entries::tests::named;

    #[test]
    fn who_asked_is_told_of_a_group_and_not_of_an_alias() {
        // RFC 3461 §5.2.7.2, §5.2.7.3 (c)
        let sender: ReversePath = "<s@src.example>".parse().unwrap();
        let told = |named: &[Named], sender: &ReversePath| {
            let reported = expanded(named, sender);
            reported.iter().map(|one| one.recipient.address.to_string()).collect::<Vec<_>>()
        };
        let names = [
            named("team@b.example", Notify::SUCCESS, &["x@b.example", "y@b.example"]),
            named("alias@b.example", Notify::SUCCESS, &["x@b.example"]),
            named("quiet@b.example", Notify::FAILURE, &["x@b.example", "y@b.example"]),
            named("plain@b.example", Notify::SUCCESS, &["plain@b.example"]),
        ];
        assert_eq!(told(&names, &sender), ["team@b.example"]);
        assert!(told(&names, &ReversePath::Null).is_empty());
    }
}
