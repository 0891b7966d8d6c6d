//! A store beside the model: the same operations on both, and every answer compared.
//!
//! What the contract leaves open is followed, not prescribed: which lanes a lease serves (the model says whether the choice is right and
//! takes the same), tokens (only that they grow), when what is ripe is moved, how a released entry in a claim is counted, and how long an
//! attempt that was given back counts as held. Operations whose outcome the contract does not say are left out where they would be such.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use posthouse_model::{EntryId, Incarnation, MessageId, QueueName, ShardId, Timestamp};
use posthouse_queue::{
    Act, CHUNK_SIZE, ClaimId, Content, Entry, EntrySummary, FactKind, HoldReason, JobRun, LaneSignal,
    LastReply, LeaseRequest, LeaseToken, Leased, ListFilter, NewMessage, Origin, Outcome, Reaped, Release,
    ReleaseId, ReleaseScope, Remainder, Settlement, State as Standing, Store, StoreError, Withdrawn,
};

use super::{
    model::{Choice, Item, Model, Place, State},
    operation::{End, HOPS, NODES, Op, Part, QUEUES, Rest, TICK, Word, mode_of},
    world::{in_chunks, list_all, message, new_entry, queue_name, reap_all, recipient},
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
        self.model.state().unripen();
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

    /// Does one operation to both.
    pub(crate) async fn apply(&mut self, op: &Op) -> Result<(), Trouble> {
        self.steps += 1;
        self.perform(op).await?;
        self.compare_all(self.steps.is_multiple_of(8)).await
    }

    async fn perform(&mut self, op: &Op) -> Result<(), Trouble> {
        let now = self.now;
        match op {
            Op::Advance { ticks } => self.advance(u64::from(*ticks), None).await,
            Op::Reap => self.reap().await,
            Op::Die { node } => {
                let node = usize::from(*node);
                self.advance(800, Some(node)).await?;
                self.advance(800, Some(node)).await?;
                self.reap().await?;
                self.bury(node);
                self.nodes[node] = self.incarnate().await?;
                Ok(())
            }
            Op::Depart { node } => {
                let who = self.nodes[usize::from(*node)];
                self.same(async |store| store.depart(who, now).await).await?;
                self.bury(usize::from(*node));
                self.nodes[usize::from(*node)] = self.incarnate().await?;
                Ok(())
            }
            Op::Enqueue { node, parts, named, fast, chunks, activate } => {
                let who = self.nodes[usize::from(*node)];
                let mut letter = self.letter(parts, *named);
                if *chunks {
                    for (index, chunk) in (0..).zip(in_chunks(&mut letter, CHUNK_SIZE + 100)) {
                        self.same(async |store| store.put_chunk(letter.id, index, chunk.clone(), now).await)
                            .await?;
                    }
                }
                let fast = if *fast { self.unambiguous(&letter) } else { Vec::new() };
                self.enqueue(who, &letter, &fast).await?;
                let id = letter.id;
                self.letters.push(letter);
                if *activate {
                    self.same(async |store| store.activate(&[id], now).await).await?;
                }
                Ok(())
            }
            Op::EnqueueAgain { node, letter } => {
                let Some(letter) = self.known_letter(*letter) else { return Ok(()) };
                let who = self.nodes[usize::from(*node)];
                self.same(async |store| {
                    let enqueued = store.enqueue(who, letter.clone(), &[], now).await?;
                    Ok((enqueued.duplicate, enqueued.leases.iter().flatten().count()))
                })
                .await
                .map(drop)
            }
            Op::EnqueueWrong { node, fault } => {
                let who = self.nodes[usize::from(*node)];
                let part = Part {
                    queue: 0,
                    hop: 0,
                    sourced: false,
                    recipients: 1,
                    priority: 4,
                    generation: 0,
                    attend: 60_000,
                };
                let mut letter = self.letter(&[part], 1);
                match fault % 4 {
                    0 => letter.meta.crc32 ^= 1,
                    1 => letter.meta.size += 1,
                    2 => letter.entries.clear(),
                    _ => letter.entries[0].recipients.clear(),
                }
                self.same(async |store| store.enqueue(who, letter.clone(), &[], now).await).await.map(drop)
            }
            Op::Activate { letter } => {
                let Some(id) = pick(&self.letters, *letter).map(|letter| letter.id) else { return Ok(()) };
                self.same(async |store| store.activate(&[id], now).await).await.map(drop)
            }
            Op::Withdraw { letter } => {
                let Some(id) = self.known_letter(*letter).map(|letter| letter.id) else { return Ok(()) };
                let withdrawn = self.same(async |store| store.withdraw(id, now).await).await?;
                if withdrawn == Some(Withdrawn::Removed) {
                    self.retire(|attempt| attempt.entry.id.message == id);
                }
                Ok(())
            }
            Op::WithdrawUnknown => {
                let id = self.new_id();
                self.same(async |store| store.withdraw(id, now).await).await.map(drop)
            }
            Op::DropChunks { letter } => {
                let Some(id) = pick(&self.letters, *letter).map(|letter| letter.id) else { return Ok(()) };
                self.same(async |store| store.drop_chunks(id).await).await.map(drop)
            }
            Op::Lease { node, max, per_lane, skip } => {
                let skip = skip
                    .map(|(queue, hop)| new_entry(&queue_text(queue), &hop_text(hop), &[], now).lane().id());
                self.lease(&LeaseRequest {
                    who: self.nodes[usize::from(*node)],
                    max: u32::from(*max),
                    max_per_lane: u32::from(*per_lane),
                    skip: skip.into_iter().collect(),
                    claim: None,
                })
                .await
            }
            Op::LeaseClaimed { queue, max } => {
                let Some((id, who)) = self.claims.get(queue).copied() else { return Ok(()) };
                self.lease(&LeaseRequest {
                    who,
                    max: u32::from(*max),
                    max_per_lane: u32::from(*max),
                    skip: Vec::new(),
                    claim: Some(id),
                })
                .await
            }
            Op::LeaseEntry { node, entry } => {
                let Some(id) = self.nth_entry(*entry) else { return Ok(()) };
                self.lease_entry(self.nodes[usize::from(*node)], id).await
            }
            Op::Settle { lease, end } => {
                if self.attempts.is_empty() {
                    return Ok(());
                }
                let attempt = self.attempts.remove(usize::from(*lease) % self.attempts.len());
                self.settle(&attempt, end).await?;
                self.late.push(attempt);
                Ok(())
            }
            Op::SettleLate { lease, end } => {
                let Some(attempt) = pick(&self.late, *lease).cloned() else { return Ok(()) };
                self.settle(&attempt, end).await
            }
            Op::Mode { queue, generation } => {
                let name = queue_name(&queue_text(*queue));
                let stored = self.stored_generation(&name);
                let mode = mode_of(*queue, stored.saturating_add_signed(i64::from(*generation)));
                self.same(async |store| store.set_queue_modes(&[(name.clone(), mode)]).await).await.map(drop)
            }
            Op::Release { queue, reason } => {
                let scope = queue
                    .map_or(ReleaseScope::All, |queue| ReleaseScope::Queue(queue_name(&queue_text(queue))));
                let id = ReleaseId(u128::from(self.name()).to_be_bytes());
                let release = Release { id, scope, reason: *reason, at: now };
                let claimed = self
                    .model
                    .state()
                    .items
                    .values()
                    .any(|item| State::reaches(&release, &item.entry.queue) && self.model_claims(item));
                self.releases.push(release.clone());
                // How many of the claimed it frees, and when they count, is not said.
                self.same(async |store| {
                    let freed = store.release(&release).await?;
                    Ok(if claimed { 0 } else { freed })
                })
                .await
                .map(drop)
            }
            Op::ReleaseAgain { release } => {
                let Some(release) = pick(&self.releases, *release).cloned() else { return Ok(()) };
                self.same(async |store| store.release(&release).await.map(drop)).await.map(drop)
            }
            Op::Claim { node, queue, other } => {
                let name = queue_name(&queue_text(*queue));
                let fresh = (ClaimId(u128::from(self.name()).to_be_bytes()), self.nodes[usize::from(*node)]);
                let (id, who) = match self.claims.get(queue) {
                    Some(same) if !other => *same,
                    _ => fresh,
                };
                let claim = self
                    .same(async |store| {
                        let claim = store.claim(who, id, &name, 1_000, now).await?;
                        Ok(claim.map(|mut claim| {
                            claim.entries.sort_unstable();
                            claim
                        }))
                    })
                    .await?;
                if let Some(Some(claim)) = claim {
                    self.claims.insert(*queue, (claim.id, claim.who));
                }
                Ok(())
            }
            Op::Unclaim { queue } => {
                let Some((id, _)) = self.claims.remove(queue) else { return Ok(()) };
                let name = queue_name(&queue_text(*queue));
                self.same(async |store| store.unclaim(id, &name).await).await.map(drop)
            }
            Op::Act { entry, act } => {
                let Some(id) = self.nth_entry(*entry) else { return Ok(()) };
                let unclear = {
                    let state = self.model.state();
                    let item = &state.items[&id];
                    // Whether a retry ends a hold is not said.
                    *act == Act::Retry
                        && matches!(item.place, Place::Held { .. })
                        && state.freed(item).is_none()
                };
                if unclear {
                    return Ok(());
                }
                self.same(async |store| store.act(id, *act, now).await).await.map(drop)
            }
            Op::Retry { queue } => self.retry(queue.map(|queue| queue_name(&queue_text(queue)))).await,
            Op::Hold { queue } => {
                let name = queue.map(|queue| queue_name(&queue_text(queue)));
                self.same(async |store| store.hold(name.as_ref(), now).await).await.map(drop)
            }
            Op::Permits { node, hop, wanted } => {
                let (who, hop) = (self.nodes[usize::from(*node)], hop_text(*hop));
                self.same(async |store| store.take_permits(who, &hop, u32::from(*wanted), 10, now).await)
                    .await
                    .map(drop)
            }
            Op::ReturnPermits { node, hop, permits } => {
                let (who, hop) = (self.nodes[usize::from(*node)], hop_text(*hop));
                self.same(async |store| store.return_permits(who, &hop, u32::from(*permits)).await)
                    .await
                    .map(drop)
            }
            Op::Rate { hop, wanted } => {
                let key = hop_text(*hop);
                self.same(async |store| store.take_rate(&key, u32::from(*wanted), 10, 10_001, now).await)
                    .await
                    .map(drop)
            }
            Op::Reserve { node, bytes } => {
                let who = self.nodes[usize::from(*node)];
                self.same(async |store| store.reserve(who, u64::from(*bytes), Some(1_000), now).await)
                    .await
                    .map(drop)
            }
            Op::PutFact { key, value, ticks } => {
                let (kind, key) = fact(*key);
                let until = self.beside(*ticks);
                let value = value.to_string();
                self.same(async |store| store.put_fact(kind, key, &value, until).await).await.map(drop)
            }
            Op::Fact { key } => {
                let (kind, key) = fact(*key);
                self.same(async |store| store.fact(kind, key, now).await).await.map(drop)
            }
            Op::DropFact { key } => {
                let (kind, key) = fact(*key);
                self.same(async |store| store.drop_fact(kind, key).await).await.map(drop)
            }
            Op::PlanJob { key, ticks } => {
                // A millisecond apart from key to key: no two at the same time.
                let nominal = now.0.saturating_add_signed(i64::from(*ticks) * 7) + u64::from(*key) + 1;
                let key = job_text(*key);
                self.same(async |store| store.plan_job(&key, Timestamp(nominal)).await).await?;
                self.same(async |store| store.job(&key).await).await.map(drop)
            }
            Op::DropJob { key } => {
                let key = job_text(*key);
                self.same(async |store| store.drop_job(&key).await).await.map(drop)
            }
            Op::LeaseJobs { node, max } => self.lease_jobs(self.nodes[usize::from(*node)], *max).await,
            Op::FinishJob { lease, ran, missed, next } => {
                let Some(run) = pick(&self.runs, *lease).cloned() else { return Ok(()) };
                let key_number = run.key.bytes().last().map_or(0, |digit| u64::from(digit - b'0'));
                let end = JobRun {
                    started: ran.then_some(now),
                    missed: missed.then_some(Timestamp(now.0 - 1)),
                    next: next.map(|ticks| Timestamp(now.0 + u64::from(ticks) * TICK + key_number + 1)),
                };
                let stored = match &self.store {
                    Some(store) => {
                        let token = run.stored.unwrap_or(run.token);
                        Some(lost(store.finish_job(run.who, &run.key, token, &end).await)?)
                    }
                    None => None,
                };
                let expected = self.model.finish_job(run.who, &run.key, run.token, &end).await;
                equal("the end of a job", stored, expected)?;
                self.same(async |store| store.job(&run.key).await).await.map(drop)
            }
        }
    }

    // ---- the operations that need more than one line -------------------------------------------------------------------------------

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

    fn letter(&mut self, parts: &[Part], named: u8) -> NewMessage {
        let id = self.new_id();
        let mut entries: Vec<posthouse_queue::NewEntry> = Vec::new();
        for part in parts {
            let name = queue_text(part.queue);
            let locals: Vec<String> = (0..part.recipients).map(|place| format!("r{place}")).collect();
            let locals: Vec<&str> = locals.iter().map(String::as_str).collect();
            let mut entry = new_entry(&name, &hop_text(part.hop), &locals, self.now);
            let stored = self.stored_generation(&entry.queue);
            entry.mode = mode_of(part.queue, stored.saturating_add_signed(i64::from(part.generation)));
            let newest = self.generations.entry(entry.queue.clone()).or_default();
            *newest = entry.mode.generation.max(*newest);
            if part.sourced {
                entry.source = "192.0.2.9".into();
            }
            entry.priority = part.priority;
            entry.attend_at = self.attention(part.attend);
            if entries.iter().all(|other| other.lane() != entry.lane()) {
                entries.push(entry);
            }
        }
        let content = format!("Subject: {id}\r\n\r\nBody.\r\n").into_bytes();
        let mut letter = message(id, content, entries, self.now);
        letter.named = u32::from(named);
        letter
    }

    /// The entries for which it is clear whether the fast path is open.
    fn unambiguous(&self, letter: &NewMessage) -> Vec<u16> {
        let state = self.model.state();
        let clear = |entry: &posthouse_queue::NewEntry| {
            let lane = entry.lane();
            let elapsed = state
                .lanes
                .get(&lane)
                .is_some_and(|lane| lane.back_off.is_some_and(|until| until <= self.now || lane.emptied));
            !elapsed
                && state.items.values().filter(|item| item.entry.lane() == lane).all(|item| {
                    match item.place {
                        Place::Deferred { until } => until > self.now,
                        Place::Held { .. } => state.freed(item).is_none() && !state.released_in_claim(item),
                        _ => true,
                    }
                })
        };
        (0..).zip(&letter.entries).filter(|(_, entry)| clear(entry)).map(|(index, _)| index).collect()
    }

    async fn enqueue(&mut self, who: Incarnation, letter: &NewMessage, fast: &[u16]) -> Result<(), Trouble> {
        let stored = match &self.store {
            Some(store) => Some(lost(store.enqueue(who, letter.clone(), fast, self.now).await)?),
            None => None,
        };
        let expected = self.model.enqueue(who, letter.clone(), fast, self.now).await;
        let granted = |enqueued: &posthouse_queue::Enqueued| {
            (enqueued.duplicate, enqueued.leases.iter().map(Option::is_some).collect::<Vec<_>>())
        };
        let tokens = match &stored {
            Some(Ok(enqueued)) => enqueued.leases.clone(),
            _ => Vec::new(),
        };
        let modelled = expected.as_ref().map(|enqueued| enqueued.leases.clone()).unwrap_or_default();
        let stored = stored.map(|stored| stored.map(|enqueued| granted(&enqueued)));
        equal("the enqueue", stored, expected.map(|enqueued| granted(&enqueued)))?;
        for (index, token) in (0..).zip(modelled) {
            let Some(token) = token else { continue };
            let entry = Arc::new(self.model.state().items[&letter.id.entry(index)].entry.clone());
            let stored = tokens.get(usize::from(index)).copied().flatten();
            let stored = stored.map(|token| (Arc::clone(&entry), token));
            self.attempts.push(Attempt { who, entry, token, stored });
        }
        let tokens: Vec<LeaseToken> = tokens.into_iter().flatten().collect();
        self.tokens_grow(&tokens)
    }

    fn tokens_grow(&mut self, tokens: &[LeaseToken]) -> Result<(), Trouble> {
        let mut sorted = tokens.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != tokens.len() || sorted.first().is_some_and(|first| *first <= self.last_token) {
            return differs(format!("tokens {tokens:?} after {:?}", self.last_token));
        }
        self.last_token = sorted.last().copied().unwrap_or(self.last_token);
        Ok(())
    }

    async fn lease(&mut self, request: &LeaseRequest) -> Result<(), Trouble> {
        let stored = match &self.store {
            Some(store) => Some(lost(store.lease(request, self.now).await)?.map_err(unexpected)?),
            None => None,
        };
        if let Some(leased) = &stored {
            let choice =
                |leased: &Leased| Choice { id: leased.entry.id, attend: leased.attend, probe: leased.probe };
            self.choices = leased.iter().map(choice).collect();
        }
        let choices = self.choices.clone();
        if let Err(complaint) = self.model.state().legal_lease(request, self.now, &choices) {
            return differs(complaint);
        }
        if request.claim.is_none() {
            self.model.state().ripen(self.now);
        }
        for (place, choice) in choices.into_iter().enumerate() {
            let expected = self.model.state().take(request.who, choice, self.now);
            let found = stored.as_ref().and_then(|leased| leased.get(place));
            self.attempt(request.who, expected, found)?;
        }
        let tokens: Vec<LeaseToken> = stored.iter().flatten().map(|leased| leased.token).collect();
        self.tokens_grow(&tokens)
    }

    /// Notes an attempt, after a look at what both leased.
    fn attempt(&mut self, who: Incarnation, expected: Leased, found: Option<&Leased>) -> Result<(), Trouble> {
        let id = expected.entry.id;
        if let Some(found) = found {
            let state = &mut *self.model.state();
            let item = state.items.get_mut(&id).unwrap();
            same_entry(&found.entry, &expected.entry)?;
            if found.entry.held_ms.abs_diff(expected.entry.held_ms) > item.open_ms {
                let (found, expected) = (found.entry.held_ms, expected.entry.held_ms);
                return differs(format!("{id} was held for {found} ms, the model says {expected} ms"));
            }
            item.entry.held_ms = found.entry.held_ms;
            item.open_ms = 0;
            if found.message != expected.message {
                return differs(format!(
                    "{id}: message {:?}, the model has {:?}",
                    found.message, expected.message
                ));
            }
            let content = match (&found.content, &expected.content) {
                (Content::Inline(found), Content::Inline(expected)) => found == expected,
                (found, expected) => found == expected,
            };
            if !content {
                return differs(format!("{id}: other content"));
            }
        }
        let stored = found.map(|found| (Arc::clone(&found.entry), found.token));
        let Leased { entry, token, .. } = expected;
        self.attempts.push(Attempt { who, entry, token, stored });
        Ok(())
    }

    async fn lease_entry(&mut self, who: Incarnation, id: EntryId) -> Result<(), Trouble> {
        let stored = match &self.store {
            Some(store) => Some(lost(store.lease_entry(who, id, self.now).await)?.map_err(unexpected)?),
            None => None,
        };
        let expected = self.model.lease_entry(who, id, self.now).await.map_err(unexpected)?;
        if let Some(stored) = &stored
            && stored.is_some() != expected.is_some()
        {
            return differs(format!("{id} leased by hand: {stored:?}, the model says {expected:?}"));
        }
        let stored = stored.flatten();
        if let Some(expected) = expected {
            self.attempt(who, expected, stored.as_ref())?;
        }
        let tokens: Vec<LeaseToken> = stored.iter().map(|leased| leased.token).collect();
        self.tokens_grow(&tokens)
    }

    async fn settle(&mut self, attempt: &Attempt, end: &End) -> Result<(), Trouble> {
        let settlement = self.settlement(attempt, end);
        let stored = match &self.store {
            Some(store) => {
                let mut settlement = settlement.clone();
                if let Some((entry, token)) = &attempt.stored {
                    (settlement.entry, settlement.token) = (Arc::clone(entry), *token);
                }
                Some(lost(store.settle(&settlement, self.now).await)?)
            }
            None => None,
        };
        let expected = self.model.settle(&settlement, self.now).await;
        equal("the settle", stored, expected).map(drop)
    }

    fn settlement(&mut self, attempt: &Attempt, end: &End) -> Settlement {
        let entry = &attempt.entry;
        let outcomes: Vec<Outcome> =
            (0..entry.recipients.len()).map(|place| self.outcome(end, place)).collect();
        let staying: Vec<_> = entry
            .recipients
            .iter()
            .zip(&outcomes)
            .filter_map(|(recipient, outcome)| match outcome {
                Outcome::Deferred(reply) => {
                    let last = reply.clone().or_else(|| recipient.last.clone());
                    Some(posthouse_queue::EntryRecipient { last, ..recipient.clone() })
                }
                _ => None,
            })
            .collect();
        let later = self.beside(end.ticks);
        let attend_at = match end.rest {
            Rest::GiveBack if entry.attend_at > self.now => entry.attend_at,
            _ => self.attention(end.ticks.saturating_add(300)),
        };
        let delay_warned = end.warned || entry.delay_warned;
        let remainder = match end.rest {
            Rest::GiveBack => Remainder::GiveBack,
            Rest::HoldAgain if self.mode_is_settled(&entry.queue) => Remainder::HoldAgain(later),
            Rest::Quarantine => Remainder::Quarantine,
            Rest::Split if !staying.is_empty() && self.splits_clearly(entry.id) => {
                let mode = self.model.state().modes.get(&entry.queue).copied().unwrap_or_default();
                let parts = (0..).zip(staying).map(|(place, recipient)| {
                    let hop = hop_text(end.outcomes.to_le_bytes()[0].wrapping_add(place) % HOPS);
                    let mut part = new_entry(entry.queue.as_str(), &hop, &[], self.now);
                    part.mode = mode;
                    part.source = format!("split {place}");
                    part.recipients = vec![recipient];
                    part.priority = entry.priority;
                    part.attend_at = attend_at;
                    part
                });
                Remainder::Split(parts.collect())
            }
            Rest::Defer | Rest::HoldAgain | Rest::Split => Remainder::Defer(later),
        };
        let lane = match end.lane {
            Word::None => LaneSignal::None,
            Word::Works => LaneSignal::Works,
            Word::BackOff => LaneSignal::BackOff(later),
        };
        let child = end.child.then(|| {
            let id = self.new_id();
            let (queue, recipients) = (entry.queue.clone(), vec![recipient("sender", "origin")]);
            let mut born = new_entry(queue.as_str(), "back", &[], self.now);
            born.mode = self.model.state().modes.get(&queue).copied().unwrap_or_default();
            born.recipients = recipients;
            let mut child = message(id, b"Subject: undelivered\r\n\r\n".to_vec(), vec![born], self.now);
            child.meta.origin = Origin::Generated;
            child.named = 1;
            Box::new(child)
        });
        Settlement {
            who: attempt.who,
            entry: Arc::clone(entry),
            token: attempt.token,
            outcomes,
            remainder,
            lane,
            attend_at,
            delay_warned,
            child,
        }
    }

    fn outcome(&self, end: &End, place: usize) -> Outcome {
        match (end.outcomes >> (place % 5 * 3)) & 7 {
            0..=2 => Outcome::Deferred(None),
            3 => Outcome::Deferred(Some(LastReply {
                at: self.now,
                code: 451,
                status: "4.3.0".into(),
                text: format!("not now, said for recipient {place}"),
                host: "hop.example:25".into(),
            })),
            4 => Outcome::Relayed,
            5 => Outcome::Delivered,
            6 if place.is_multiple_of(2) => Outcome::Failed,
            6 => Outcome::Expired,
            _ => [Outcome::Fetched, Outcome::Deleted, Outcome::Discarded][place % 3].clone(),
        }
    }

    /// Whether the stored mode is as new as any that a letter of the queue came with: otherwise "the queue's reason" is not clear.
    fn mode_is_settled(&self, queue: &QueueName) -> bool {
        self.generations.get(queue).copied().unwrap_or_default() <= self.stored_generation(queue)
    }

    /// Whether it is clear what becomes of the parts of a split: the entry was due, in a queue that is online.
    fn splits_clearly(&self, id: EntryId) -> bool {
        let state = self.model.state();
        let Some(item) = state.items.get(&id) else { return true };
        let online = state.modes.get(&item.entry.queue).is_none_or(|mode| mode.hold.is_none());
        let was_due =
            matches!(&item.place, Place::Active { before, .. } if matches!(**before, Place::Due { .. }));
        online && was_due
    }

    async fn retry(&mut self, queue: Option<QueueName>) -> Result<(), Trouble> {
        let ripe = {
            let state = self.model.state();
            // Whether the lane of a queue opens that has nothing deferred is not said.
            let unclear = state.lanes.iter().any(|(lane, known)| {
                queue.as_ref().is_none_or(|queue| *queue == lane.queue)
                    && known.back_off.is_some()
                    && !state.items.values().any(|item| {
                        item.entry.lane() == *lane && matches!(item.place, Place::Deferred { .. })
                    })
            });
            if unclear {
                return Ok(());
            }
            state.items.values().filter(|item| self.is_ripe(item) || Self::was_ripe(item)).count() as u64
        };
        let now = self.now;
        let stored = match &self.store {
            Some(store) => Some(lost(store.retry(queue.as_ref(), now).await)?.map_err(unexpected)?),
            None => None,
        };
        let expected = self.model.state().retry(queue.as_ref(), now);
        match stored {
            Some(stored) if stored > expected + ripe || stored + ripe < expected => {
                differs(format!("retried {stored}, the model says {expected}"))
            }
            _ => Ok(()),
        }
    }

    async fn lease_jobs(&mut self, who: Incarnation, max: u8) -> Result<(), Trouble> {
        let max = u32::from(max);
        let stored = match &self.store {
            Some(store) => Some(lost(store.lease_jobs(who, max, self.now).await)?.map_err(unexpected)?),
            None => None,
        };
        let expected = self.model.lease_jobs(who, max, self.now).await.map_err(unexpected)?;
        if let Some(stored) = &stored
            && !stored.iter().map(|run| &run.job).eq(expected.iter().map(|run| &run.job))
        {
            return differs(format!("leased jobs {stored:?}, the model says {expected:?}"));
        }
        for (place, run) in expected.into_iter().enumerate() {
            let stored = stored.as_ref().and_then(|stored| stored.get(place)).map(|run| run.token);
            self.runs.push(Run { who, key: run.job.key, token: run.token, stored });
        }
        Ok(())
    }

    // ---- small things ------------------------------------------------------------------------------------------------------------

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

    fn stored_generation(&self, queue: &QueueName) -> u64 {
        self.model.state().modes.get(queue).map_or(0, |mode| mode.generation)
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

    /// Whether an entry is due by a time that came: when it is given back it may be shown as deferred until that time again.
    fn was_ripe(item: &Item) -> bool {
        item.ripened && matches!(item.place, Place::Due { .. })
    }

    // ---- what there is -----------------------------------------------------------------------------------------------------------

    /// Compares what can be seen: accounting (I1) and counts; with `whole`, every queue and every entry.
    async fn compare_all(&self, whole: bool) -> Result<(), Trouble> {
        let Some(store) = &self.store else { return Ok(()) };
        let accounting = lost(store.accounting().await)?.map_err(unexpected)?;
        let expected = self.model.state().accounting;
        if accounting != expected || !accounting.balances() {
            return differs(format!("accounting {accounting:?}, the model says {expected:?}"));
        }
        self.compare_counts(&**store, None).await?;
        if !whole {
            return Ok(());
        }
        for queue in (0..QUEUES).map(|queue| queue_name(&queue_text(queue))) {
            self.compare_counts(&**store, Some(&queue)).await?;
            self.compare_held(&**store, &queue).await?;
        }
        let found = lost(list_all(&**store, &ListFilter::default()).await)?.map_err(unexpected)?;
        let expected = self.model.state().list(&ListFilter::default());
        let ids = |list: &[EntrySummary]| list.iter().map(|summary| summary.id).collect::<Vec<_>>();
        if ids(&found) != ids(&expected) {
            return differs(format!("listed {:?}, the model says {:?}", ids(&found), ids(&expected)));
        }
        found.iter().zip(&expected).try_for_each(|(found, expected)| self.compare_summary(found, expected))
    }

    async fn compare_counts(&self, store: &dyn Store, queue: Option<&QueueName>) -> Result<(), Trouble> {
        let found = lost(store.counts(queue).await)?.map_err(unexpected)?;
        let state = self.model.state();
        let expected = state.counts(queue);
        let of = |item: &&Item| queue.is_none_or(|queue| *queue == item.entry.queue);
        let ripe = state.items.values().filter(of).filter(|item| self.is_ripe(item)).count() as u64;
        let between =
            state.items.values().filter(of).filter(|item| state.released_in_claim(item)).count() as u64;
        let ripened = state.items.values().filter(of).filter(|item| Self::was_ripe(item)).count() as u64;
        let waiting = |counts: &posthouse_queue::Counts| counts.due + counts.deferred + counts.held;
        let fits = found.incoming == expected.incoming
            && found.active == expected.active
            && waiting(&found) == waiting(&expected)
            && (expected.deferred - ripe..=expected.deferred + ripened).contains(&found.deferred)
            && (expected.held - between..=expected.held).contains(&found.held);
        if fits { Ok(()) } else { differs(format!("{queue:?}: {found:?}, the model says {expected:?}")) }
    }

    async fn compare_held(&self, store: &dyn Store, queue: &QueueName) -> Result<(), Trouble> {
        for reason in HoldReason::ALL {
            let found = lost(store.held(queue, reason).await)?.map_err(unexpected)?;
            let state = self.model.state();
            let expected = state.held(queue, reason);
            let between = state
                .items
                .values()
                .filter(|item| item.entry.queue == *queue && state.released_in_claim(item))
                .count() as u64;
            if !(expected.saturating_sub(between)..=expected).contains(&found) {
                return differs(format!("{found} held for {reason:?} in {queue}, the model says {expected}"));
            }
        }
        Ok(())
    }

    fn compare_summary(&self, found: &EntrySummary, expected: &EntrySummary) -> Result<(), Trouble> {
        let state = self.model.state();
        let item = &state.items[&expected.id];
        let open = self.is_ripe(item) || Self::was_ripe(item) || state.released_in_claim(item);
        let same = found.received_at == expected.received_at
            && found.size == expected.size
            && found.reverse_path == expected.reverse_path
            && (open || (found.state == expected.state && found.hold == expected.hold));
        let backed_off = state.lanes.get(&item.entry.lane()).is_some_and(|lane| lane.back_off.is_some());
        let next = expected.state != Standing::Deferred
            || backed_off
            || open
            || found.next_attempt == expected.next_attempt;
        if !same || !next {
            return differs(format!("listed {found:?}, the model says {expected:?}"));
        }
        match (&found.entry, &expected.entry) {
            (Some(found), Some(expected)) => same_entry(found, expected),
            _ => differs(format!("{} cannot be read", expected.id)),
        }
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
