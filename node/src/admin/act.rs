//! Carries requests out on a store. As an incarnation of its own where no node lends it one.

use std::{path::Path, sync::Arc, time::Duration};

use posthouse_channel::{Channel, Directory, KeyFolder, Look, read_once};
use posthouse_model::{EnhancedStatus, EntryId, QueueName, Timestamp};
use posthouse_queue::{
    Act, Acted, EntrySummary, HoldReason, LaneSignal, ListFilter, Outcome, Release, ReleaseId, ReleaseScope,
    Remainder, Settled, Settlement, State, Store, StoreError,
};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Answer, EntryView, Request, Target, locate, request::Skipped};
use crate::{
    activator::Activator,
    date,
    delivery::{
        Delivery,
        conclude::{Lease, conclude, own_words},
        judge::Found,
        retry::EntryClock,
        settler::{Settler, Unsettled},
    },
    metrics::Metrics,
    node::Node,
    policy::Policy,
    presence::Presence,
};

/// Entries read in one step of a list.
const PAGE: u32 = 500;

/// Indexes that entries of a message may have: those of its enqueue, and of as many splits as anybody makes.
const MOST_INDEXES: u16 = 2_000;

/// Entries of a message looked up in one step.
const TOGETHER: u16 = 50;

/// Who carries requests out.
pub struct Operator {
    node: Arc<Node>,
    /// What keeps an incarnation alive that was made for the requests alone.
    own_life: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Operator {
    /// On behalf of a running node, as its incarnation.
    #[must_use]
    pub fn of(node: Arc<Node>) -> Self {
        Self { node, own_life: None }
    }

    /// As an incarnation of its own, on a store that no node of this process uses. The configuration in the gateway's folder, where it can be
    /// read, says how senders are told.
    pub async fn beside(store: Arc<dyn Store>, folder: Option<&Path>) -> Result<Self, StoreError> {
        let presence = Arc::new(Presence::silent(Arc::clone(&store)));
        let metrics = Arc::new(Metrics::new());
        let settler = Settler::new(Arc::clone(&store), Arc::clone(&presence), Arc::clone(&metrics));
        let stop = CancellationToken::new();
        stop.cancel(); // it delivers nothing
        let (activator, _work) = Activator::new();
        let node = Node::new(store, Arc::clone(&presence), metrics, Delivery::new(settler, stop), activator);
        if let Some(folder) = folder
            && let Some(policy) = policy_in(folder).await
        {
            node.set_policy(Arc::new(policy));
        }
        presence.begin().await?;
        let end = CancellationToken::new();
        let life = tokio::spawn(presence.keep(end.clone()));
        Ok(Self { node, own_life: Some((end, life)) })
    }

    /// Gives back what an incarnation of its own holds.
    pub async fn leave(self) {
        if let Some((end, life)) = self.own_life {
            end.cancel();
            let _ = life.await; // it ends by itself, or it panicked and said so
        }
    }

    /// Carries a request out; everything that goes wrong is in the answer.
    pub async fn carry_out(&self, request: &Request) -> Answer {
        let done = match request {
            Request::Counts { queue } => self.store().counts(queue.as_ref()).await.map(Answer::Counts),
            Request::List { queue, state, limit } => {
                let filter = ListFilter { queue: queue.clone(), state: *state };
                self.list(&filter, *limit).await
            }
            Request::Show { target } => self.show(target).await,
            Request::Hold { target } => self.change(target, Change::Act(Act::Hold)).await,
            Request::Release { target, reason } => self.release(target, *reason).await,
            Request::Retry { target } => self.change(target, Change::Act(Act::Retry)).await,
            Request::Delete { target } => self.change(target, Change::Delete).await,
            Request::Bounce { target } => self.change(target, Change::Bounce).await,
        };
        done.unwrap_or_else(|error| {
            let refused = matches!(error, StoreError::Refused(_));
            Answer::Failed { error: error.to_string(), refused }
        })
    }

    async fn list(&self, filter: &ListFilter, limit: usize) -> Result<Answer, StoreError> {
        // One more than asked for tells that there are more; the order is by age, so everything is looked at.
        let mut entries = self.summaries(filter).await?;
        entries.sort_by_key(|entry| entry.id);
        entries.dedup_by_key(|entry| entry.id);
        let more = entries.len() > limit;
        entries.truncate(limit);
        let entries = entries.into_iter().map(|summary| self.view(summary)).collect();
        Ok(Answer::Entries { entries, more })
    }

    fn view(&self, summary: EntrySummary) -> EntryView {
        let clock = summary.entry.as_ref().filter(|_| summary.state != State::Held).map(|entry| EntryClock {
            received_at: summary.received_at,
            held: Duration::from_millis(entry.held_ms),
        });
        let expires = clock.zip(self.node.policy()).map(|(clock, policy)| policy.retry.expiry(clock));
        EntryView { expires: expires.map(date::rfc3339), ..EntryView::from(summary) }
    }

    async fn summaries(&self, filter: &ListFilter) -> Result<Vec<EntrySummary>, StoreError> {
        let mut entries = Vec::new();
        let mut from = 0;
        loop {
            let page = self.store().list(filter, from, PAGE).await?;
            entries.extend(page.entries);
            match page.next {
                Some(next) => from = next,
                None => return Ok(entries),
            }
        }
    }

    async fn show(&self, target: &Target) -> Result<Answer, StoreError> {
        let mut entries = Vec::new();
        for id in self.ids(target, |_| true).await? {
            entries.extend(self.store().show(id).await?.map(|summary| self.view(summary)));
        }
        if entries.is_empty() { Ok(not_there()) } else { Ok(Answer::Entries { entries, more: false }) }
    }

    async fn release(&self, target: &Target, reason: Option<HoldReason>) -> Result<Answer, StoreError> {
        let scope = match target {
            Target::Message(_) | Target::Entry(_) => {
                return self.change(target, Change::Act(Act::Release)).await;
            }
            Target::Queue(queue) => ReleaseScope::Queue(queue.clone()),
            Target::All => ReleaseScope::All,
        };
        let reasons = match reason {
            Some(reason) => vec![reason],
            None => HoldReason::ALL.into_iter().filter(|reason| *reason != HoldReason::Quarantine).collect(),
        };
        let mut changed = 0;
        for reason in reasons {
            let release =
                Release { id: ReleaseId(rand::random()), scope: scope.clone(), reason, at: self.now() };
            changed += self.store().release(&release).await?;
        }
        Ok(Answer::Changed { changed, skipped: Vec::new() })
    }

    async fn change(&self, target: &Target, change: Change) -> Result<Answer, StoreError> {
        let queue = match target {
            Target::Queue(queue) => Some(Some(queue)),
            Target::All => Some(None),
            Target::Message(_) | Target::Entry(_) => None,
        };
        match (change, queue) {
            (Change::Act(Act::Hold), Some(queue)) => {
                let changed = self.store().hold(queue, self.now()).await?;
                // What was held for another reason would go with the next release: an administrator's hold comes before it.
                let (more, skipped) = self.hold_held(queue).await?;
                return Ok(Answer::Changed { changed: changed + more, skipped });
            }
            (Change::Act(Act::Retry), Some(queue)) => {
                let changed = self.store().retry(queue, self.now()).await?;
                return Ok(Answer::Changed { changed, skipped: Vec::new() });
            }
            _ => {}
        }
        let ids = self.ids(target, |state| state != State::Incoming).await?;
        if ids.is_empty() {
            return Ok(match queue {
                None => not_there(),
                Some(_) => Answer::Changed { changed: 0, skipped: Vec::new() },
            });
        }
        let (mut changed, mut skipped) = (0, Vec::new());
        for id in ids {
            match self.change_one(id, change).await? {
                None => changed += 1,
                Some(reason) => skipped.push(Skipped { id, reason: reason.to_owned() }),
            }
        }
        Ok(Answer::Changed { changed, skipped })
    }

    /// Holds for `Administrator` what a queue (or all) holds for another reason but quarantine.
    async fn hold_held(&self, queue: Option<&QueueName>) -> Result<(u64, Vec<Skipped>), StoreError> {
        let filter = ListFilter { queue: queue.cloned(), state: Some(State::Held) };
        let held = self.summaries(&filter).await?;
        let others = held.iter().filter(|summary| {
            !matches!(summary.hold, Some(HoldReason::Administrator | HoldReason::Quarantine))
        });
        let (mut changed, mut skipped) = (0, Vec::new());
        for EntrySummary { id, .. } in others {
            match self.change_one(*id, Change::Act(Act::Hold)).await? {
                None => changed += 1,
                Some(reason) => skipped.push(Skipped { id: *id, reason: reason.to_owned() }),
            }
        }
        Ok((changed, skipped))
    }

    /// Changes one entry; the reason if it was left alone.
    async fn change_one(&self, id: EntryId, change: Change) -> Result<Option<&'static str>, StoreError> {
        match change {
            Change::Act(act) => Ok(match self.store().act(id, act, self.now()).await? {
                Acted::Done => None,
                Acted::NotThere => Some("it is gone by now"),
                Acted::Busy => Some("an attempt is under way: try again when it has ended"),
                Acted::NotApplicable => Some("it is not in a state that this changes"),
            }),
            Change::Delete => self.end(id, Outcome::Deleted).await,
            Change::Bounce => self.end(id, Outcome::Failed).await,
        }
    }

    /// Ends an entry by a lease and a settlement, so that nothing is ended under a delivery and a notification is made in the same step.
    async fn end(&self, id: EntryId, outcome: Outcome) -> Result<Option<&'static str>, StoreError> {
        let life = self.node.presence.life();
        let who = life.incarnation();
        let policy = self.node.policy();
        if outcome == Outcome::Failed && policy.is_none() {
            return Ok(Some(
                "how to tell its sender is not known here: name the state folder of the run as well, with --state DIR",
            ));
        }
        let leased = self.store().lease_entry(who, id, self.now()).await;
        let Some(leased) = leased.inspect_err(|error| self.node.presence.doubt(&life, error))? else {
            return Ok(Some("it is gone, or an attempt is under way: try again when it has ended"));
        };
        let lease = Lease { leased: &leased, who };
        let settlement = match (&outcome, &policy) {
            (Outcome::Failed, Some(policy)) => {
                let said = own_words(
                    self.now(),
                    EnhancedStatus::permanent(7, 0),
                    "given up by the gateway's operator",
                    "",
                );
                let found = vec![Found::Permanent(said); leased.entry.recipients.len()];
                conclude(&self.node, policy, lease, found, LaneSignal::None).await.settlement
            }
            _ => Settlement { outcomes: vec![outcome; leased.entry.recipients.len()], ..untouched(lease) },
        };
        match self.store().settle(&settlement, self.now()).await {
            Ok(Settled::Done) => Ok(None),
            Ok(Settled::Stale) => Ok(Some("another node has it by now")),
            Err(error) => {
                // It is seen through in the background: the lease must not stay with a node that lives on.
                let unsettled = Unsettled { settlement, life, in_doubt: false, delivered_since: None };
                self.node.delivery.settler.settle(unsettled).await;
                Err(error)
            }
        }
    }

    /// The entries that a target names, oldest first.
    async fn ids(&self, target: &Target, wanted: impl Fn(State) -> bool) -> Result<Vec<EntryId>, StoreError> {
        let filter = match target {
            Target::Entry(id) => return Ok(vec![*id]),
            Target::Message(id) => {
                let mut found = Vec::new();
                for first in (0..MOST_INDEXES).step_by(usize::from(TOGETHER)) {
                    let ids = (first..first + TOGETHER).map(|index| id.entry(index));
                    let looked_up =
                        futures::future::try_join_all(ids.map(|id| self.store().show(id))).await?;
                    found.extend(looked_up.into_iter().flatten().map(|summary| summary.id));
                }
                return Ok(found);
            }
            Target::Queue(queue) => ListFilter { queue: Some(queue.clone()), state: None },
            Target::All => ListFilter::default(),
        };
        let mut ids: Vec<EntryId> = self
            .summaries(&filter)
            .await?
            .iter()
            .filter(|entry| wanted(entry.state))
            .map(|entry| entry.id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    fn store(&self) -> &dyn Store {
        &*self.node.store
    }

    fn now(&self) -> Timestamp {
        self.node.presence.now()
    }
}

fn untouched(lease: Lease<'_>) -> Settlement {
    let Lease { leased, who } = lease;
    Settlement {
        who,
        entry: Arc::clone(&leased.entry),
        token: leased.token,
        outcomes: vec![Outcome::Deferred(None); leased.entry.recipients.len()],
        remainder: Remainder::GiveBack,
        lane: LaneSignal::None,
        attend_at: leased.entry.attend_at,
        delay_warned: leased.entry.delay_warned,
        child: None,
    }
}

/// The policy that is in force in a gateway's folder.
async fn policy_in(folder: &Path) -> Option<Policy> {
    let channel = Channel::Directory(Directory::new(folder.join(locate::CONFIG)));
    match read_once(&channel, &KeyFolder::new(folder.join(locate::KEYS))).await.ok()? {
        Look::New(assembled) => Policy::new(&assembled, None).ok(),
        Look::Nothing | Look::Same | Look::Refused(_) => None,
    }
}

/// How an entry is changed.
#[derive(Clone, Copy, Debug)]
enum Change {
    Act(Act),
    Delete,
    Bounce,
}

fn not_there() -> Answer {
    Answer::Failed {
        error: "the queue has no such entry: it was delivered, bounced or deleted, or never here".to_owned(),
        refused: true,
    }
}
