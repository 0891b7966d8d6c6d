//! A store beside the model: the same operations on both, and every answer compared.
//!
//! What the contract leaves open is followed, not prescribed: which lanes a lease serves (the model says whether the choice is right and
//! takes the same), tokens (only that they grow), when what is ripe is moved, how a released entry in a claim is counted, and how long an
//! attempt that was given back counts as held. Operations whose outcome the contract does not say are left out where they would be such.

mod intake;
mod leasing;
mod people;
mod perform;
mod seen;
mod settling;

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, ShardId, Timestamp};
use posthouse_queue::{ClaimId, Entry, FactKind, LeaseToken, NewMessage, Reaped, Release, Store, StoreError};

use super::{
    model::{Choice, Item, Model, Place},
    operation::{NODES, Op, TICK},
    world::reap_all,
};

/// Why a sequence ends early.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// The store does not do what the model does.
    Differs(String),
    /// The store went away: the operation may have happened or not.
    Lost(String),
}

fn differs<T>(what: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Differs(what.into()))
}

/// An attempt under way, as both know it.
#[derive(Clone)]
struct Attempt {
    who: Incarnation,
    /// As the model and as the store leased it.
    entry: Arc<Entry>,
    token: LeaseToken,
    stored: Option<(Arc<Entry>, LeaseToken)>,
}

/// A job's run under way.
#[derive(Clone)]
struct Run {
    who: Incarnation,
    key: String,
    token: LeaseToken,
    stored: Option<LeaseToken>,
}

/// The store and the model. Without a store the model is alone and follows choices that were made before.
pub(crate) struct Pair {
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) model: Arc<Model>,
    /// The choices of the last lease; the ones to follow where there is no store.
    pub(crate) choices: Vec<Choice>,
    now: Timestamp,
    names: u64,
    nodes: Vec<Incarnation>,
    letters: Vec<NewMessage>,
    /// The newest generation that a letter of a queue came with.
    generations: BTreeMap<QueueName, u64>,
    attempts: Vec<Attempt>,
    late: Vec<Attempt>,
    runs: Vec<Run>,
    releases: Vec<Release>,
    claims: BTreeMap<u8, (ClaimId, Incarnation)>,
    last_token: LeaseToken,
    steps: u64,
}

impl Pair {
    /// A pair that starts now.
    pub(crate) async fn begin(store: Option<Arc<dyn Store>>, base: u64) -> Result<Self, Trouble> {
        let mut pair = Self {
            store,
            model: Arc::new(Model::new()),
            choices: Vec::new(),
            now: Timestamp(base - base % TICK),
            names: 0,
            nodes: Vec::new(),
            letters: Vec::new(),
            generations: BTreeMap::new(),
            attempts: Vec::new(),
            late: Vec::new(),
            runs: Vec::new(),
            releases: Vec::new(),
            claims: BTreeMap::new(),
            last_token: LeaseToken(0),
            steps: 0,
        };
        for _ in 0..NODES {
            let who = pair.incarnate().await?;
            pair.nodes.push(who);
        }
        Ok(pair)
    }

    /// The same with a model of its own and no store: for the operation that may have happened or not.
    pub(crate) fn fork(&self) -> Self {
        Self {
            store: None,
            model: Arc::new(self.model.fork()),
            choices: Vec::new(),
            now: self.now,
            names: self.names,
            nodes: self.nodes.clone(),
            letters: self.letters.clone(),
            generations: self.generations.clone(),
            attempts: self.attempts.clone(),
            late: self.late.clone(),
            runs: self.runs.clone(),
            releases: self.releases.clone(),
            claims: self.claims.clone(),
            last_token: self.last_token,
            steps: self.steps,
        }
    }

    /// A time at which every node of before a crash is dead.
    pub(crate) fn everybody_dead(&self) -> Timestamp {
        Timestamp(self.now.0 + 2_000 * TICK)
    }

    /// After a crash: takes over what the dead nodes had in a store as it was found.
    pub(crate) async fn reap_store(store: &dyn Store, now: Timestamp) -> Result<(), Trouble> {
        lost(reap_all(store, now).await)?.map_err(unexpected).map(drop)
    }

    /// After a crash: whether a store as it was found is this model, when every node of before is dead.
    pub(crate) async fn find(&mut self, store: Arc<dyn Store>, now: Timestamp) -> Result<(), Trouble> {
        // An attempt in doubt may have ended a hold for a moment.
        let open_ms = now.0 - self.now.0 + 1_000 * TICK;
        self.now = now;
        self.store = Some(store);
        self.model.state().reap(now);
        for item in self.model.state().items.values_mut() {
            item.open_ms += open_ms;
            item.open_since = true; // a lease in doubt was given back
        }
        (0..self.nodes.len()).for_each(|node| self.bury(node));
        self.runs.clear();
        self.compare_all(true).await
    }

    /// After a crash: new nodes.
    pub(crate) async fn revive(&mut self) -> Result<(), Trouble> {
        self.names += 1_000;
        for node in 0..self.nodes.len() {
            self.nodes[node] = self.incarnate().await?;
        }
        Ok(())
    }

    /// What it remembers that nobody can look at from outside.
    pub(crate) fn unseen(&self) -> String {
        let state = self.model.state();
        let back_offs: Vec<_> = state.lanes.iter().map(|(lane, state)| (lane, state.back_off)).collect();
        let releases: Vec<_> = state.releases.iter().map(|recorded| &recorded.release).collect();
        let jobs: Vec<_> = state.jobs.values().map(|state| &state.job).collect();
        let chunks: Vec<_> = state.chunks.iter().map(|(id, chunks)| (id, chunks.parts.len())).collect();
        format!(
            "{back_offs:?} {releases:?} {jobs:?} {chunks:?} {:?} {:?} {:?} {:?} {:?}",
            state.told, state.modes, state.facts, state.tombstones, state.rates
        )
    }

    /// Compares all that can be seen, at the end of a sequence.
    pub(crate) async fn end(&self) -> Result<(), Trouble> {
        self.compare_all(true).await
    }

    /// Does one operation to both, and now and then looks at what there is: looking costs more than doing.
    pub(crate) async fn apply(&mut self, op: &Op) -> Result<(), Trouble> {
        self.steps += 1;
        self.perform(op).await?;
        if self.steps.is_multiple_of(2) {
            self.compare_all(self.steps.is_multiple_of(20)).await
        } else {
            Ok(())
        }
    }

    /// Asks both and compares; answers what the model said, `None` for a refusal.
    async fn same<T: PartialEq + Debug>(
        &self,
        ask: impl AsyncFn(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<Option<T>, Trouble> {
        let stored = match &self.store {
            Some(store) => Some(lost(ask(&**store).await)?),
            None => None,
        };
        equal("the answer", stored, ask(&*self.model).await)
    }

    /// Time passes; every heart beats, but one.
    async fn advance(&mut self, ticks: u64, but: Option<usize>) -> Result<(), Trouble> {
        self.now.0 += ticks * TICK;
        let now = self.now;
        for (node, who) in self.nodes.clone().into_iter().enumerate() {
            if Some(node) != but {
                self.same(async |store| store.heartbeat(who, now).await.map(drop)).await?;
            }
        }
        Ok(())
    }

    async fn reap(&mut self) -> Result<(), Trouble> {
        let stored = match &self.store {
            Some(store) => Some(lost(reap_all(&**store, self.now).await)?),
            None => None,
        };
        let expected: Reaped = self.model.state().reap(self.now);
        equal("what was reaped", stored, Ok(expected)).map(drop)
    }

    /// A node comes to life.
    async fn incarnate(&mut self) -> Result<Incarnation, Trouble> {
        let who = Incarnation(u128::from(self.name()).to_be_bytes());
        let now = self.now;
        self.same(async |store| store.heartbeat(who, now).await.map(drop)).await?;
        Ok(who)
    }

    /// What a node that has ended had in hand is late from now on.
    fn bury(&mut self, node: usize) {
        let dead = self.nodes[node];
        self.retire(|attempt| attempt.who == dead);
        self.claims.retain(|_, (_, who)| *who != dead);
    }

    fn retire(&mut self, over: impl Fn(&Attempt) -> bool) {
        let (late, going_on) = self.attempts.drain(..).partition(over);
        self.attempts = going_on;
        let late: Vec<Attempt> = late;
        self.late.extend(late);
    }

    // ---- small things ----

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    fn new_id(&mut self) -> MessageId {
        MessageId::new(self.now.0, ShardId(0), self.name())
    }

    /// A time to come that lies beside every moment at which something is done.
    fn beside(&self, ticks: u16) -> Timestamp {
        Timestamp(self.now.0 + u64::from(ticks) * TICK + 3)
    }

    /// A time to look at an entry; of 60,000 ticks and more: never in a sequence.
    fn attention(&self, ticks: u16) -> Timestamp {
        let far = if ticks >= 60_000 { super::world::FAR } else { 0 };
        Timestamp(self.now.0 + u64::from(ticks) * TICK + 5 + far)
    }

    /// The generation whose modes were told last.
    fn told(&self) -> u64 {
        self.model.state().told
    }

    /// A letter that is there or was withdrawn: what a store answers of one that has gone is not said.
    fn known_letter(&self, nth: u16) -> Option<NewMessage> {
        let letter = pick(&self.letters, nth)?;
        let state = self.model.state();
        let known = state.messages.contains_key(&letter.id) || state.tombstones.contains_key(&letter.id);
        known.then(|| letter.clone())
    }

    fn nth_entry(&self, nth: u16) -> Option<EntryId> {
        let state = self.model.state();
        let count = state.items.len();
        state.items.keys().nth(usize::from(nth) % count.max(1)).copied()
    }

    fn model_claims(&self, item: &Item) -> bool {
        self.claims.keys().any(|queue| item.entry.queue.as_str() == queue_text(*queue))
    }

    /// Whether a deferred entry's time has come: when it is moved is left open.
    fn is_ripe(&self, item: &Item) -> bool {
        matches!(item.place, Place::Deferred { until } if until <= self.now)
    }
}

/// Compares two entries but for their held time.
fn same_entry(found: &Entry, expected: &Entry) -> Result<(), Trouble> {
    let found_but = Entry { held_ms: expected.held_ms, ..found.clone() };
    if found_but == *expected {
        Ok(())
    } else {
        differs(format!("entry {found:?}, the model has {expected:?}"))
    }
}

/// Compares an answer with the model's; which refusal it is, only the sentences look at.
fn equal<T: PartialEq + Debug>(
    what: &str,
    stored: Option<Result<T, StoreError>>,
    expected: Result<T, StoreError>,
) -> Result<Option<T>, Trouble> {
    match (stored, &expected) {
        (Some(Ok(stored)), Ok(expected)) if stored == *expected => {}
        (Some(Err(_)), Err(_)) | (None, _) => {}
        (Some(stored), _) => return differs(format!("{what}: {stored:?}, the model says {expected:?}")),
    }
    Ok(expected.ok())
}

/// A store that went away is not a wrong answer.
fn lost<T>(answer: Result<T, StoreError>) -> Result<Result<T, StoreError>, Trouble> {
    match answer {
        Err(StoreError::Unavailable(why)) => Err(Trouble::Lost(why)),
        answer => Ok(answer),
    }
}

#[allow(clippy::needless_pass_by_value)] // the form that map_err wants
fn unexpected(error: StoreError) -> Trouble {
    Trouble::Differs(format!("unexpectedly refused: {error}"))
}

fn pick<T>(from: &[T], nth: u16) -> Option<&T> {
    from.get(usize::from(nth) % from.len().max(1))
}

fn queue_text(queue: u8) -> String {
    format!("queue{queue}")
}

fn hop_text(hop: u8) -> String {
    format!("hop{hop}")
}

fn job_text(key: u8) -> String {
    format!("pop3 mail/box{key}")
}

fn fact(key: u8) -> (FactKind, &'static str) {
    let kind = if key.is_multiple_of(2) { FactKind::LoginAddress } else { FactKind::BlockedClient };
    (kind, if key < 2 { "192.0.2.1" } else { "192.0.2.2" })
}
