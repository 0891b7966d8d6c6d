//! One local run, from the first look to the last node: it reads, compiles, says what is new, and tells the fleet. It reads files and logs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
    time::Duration,
};

use posthouse_compiler::{Claims, Compilation, Compiler, Context, ObjectKey, Severity, queue_id};
use posthouse_config::Snapshot;
use posthouse_crds::{Kind, MailGateway, Object};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::block_in_place,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    edits::Edits,
    event::{Event, What},
    fleet::{Closed, Fleet},
    node::Order,
    reporting::Reporting,
    watch::Watch,
};
use crate::{
    Ending,
    failure::Failure,
    finding::{self, Changes, Finding},
    logging::{self, Format},
    manifests::{self, Judged},
    reader::{Document, Identity, Item, Reader, Reading},
    status::local::LocalStatuses,
};

/// How long nodes may take to finish what is under way.
pub(super) const DRAIN: Duration = Duration::from_secs(30);

/// How long a run that begins waits for ports that one before, killed a moment ago, has not given back yet.
const PORTS_COME_FREE: Duration = Duration::from_secs(1);

/// How often it tries meanwhile.
const PORTS_RETRY: Duration = Duration::from_millis(50);

/// An object that is gone is looked for once more after this time: a file that is being replaced is not there for a moment.
const SECOND_LOOK: Duration = Duration::from_millis(250);

/// How often to look without a hint.
const TICK: Duration = Duration::from_secs(3);

/// What a run knows.
pub(super) struct Run {
    reader: Reader,
    reading: Arc<Reading>,
    /// Counts the readings.
    number: u64,
    /// Objects that were not there at the last look, and had been before.
    missed: BTreeSet<Arc<Identity>>,
    judged: Arc<Judged>,
    /// Who holds what.
    claims: Claims,
    /// What it remembers makes the next look fast.
    compiler: Compiler,
    /// Who holds what, as it is written in the state.
    remembered: Claims,
    fleet: Fleet,
    /// What could not be done and is tried again at each tick.
    is_unfinished: bool,
    /// What was said last.
    said: Arc<[Finding]>,
    reporting: Reporting,
    log_format: Format,
}

impl Run {
    pub(super) fn new(
        reader: Reader,
        reading: Reading,
        fleet: Fleet,
        log_format: Format,
    ) -> Result<Self, Failure> {
        let remembered = fleet.claims();
        let reporting = Reporting::start(LocalStatuses::open(fleet.state())?);
        let mut run = Self {
            reader,
            reading: Arc::new(reading),
            number: 0,
            missed: BTreeSet::new(),
            judged: Arc::default(),
            claims: remembered.clone(),
            compiler: Compiler::default(),
            remembered,
            fleet,
            is_unfinished: false,
            said: Arc::default(),
            reporting,
            log_format,
        };
        run.judge();
        Ok(run)
    }

    /// Runs until a signal ends it; good if all nodes ended by themselves.
    pub(super) async fn run(
        mut self,
        mut signals: Signals,
        mut events: mpsc::Receiver<Event>,
    ) -> Result<Ending, Failure> {
        let (mut watch, mut hints) = Watch::start(self.reader.path());
        self.begin().await?;
        let mut edits = Edits::default();
        edits.look_again(Instant::now()); // for what was edited between the first reading and the watch
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = signals.next() => break,
                Some(hint) = hints.recv() => edits.hint(hint, Instant::now()),
                () = edits.settled() => {
                    let look = block_in_place(|| self.follow());
                    edits.clear(Instant::now());
                    if look == Look::Again {
                        edits.look_again(Instant::now() + SECOND_LOOK);
                    }
                }
                Some(event) = events.recv() => {
                    if self.fleet.take(event) {
                        self.apply(); // a gateway of the same name may have waited for this
                    } else {
                        self.report();
                    }
                }
                _ = ticks.tick() => {
                    watch.keep_up();
                    if block_in_place(|| self.reader.has_changed()) {
                        edits.look_again(Instant::now());
                    }
                    if self.is_to_judge_again() {
                        block_in_place(|| self.judge());
                        self.apply();
                    } else if self.is_unfinished {
                        self.apply();
                    }
                }
            }
        }
        self.end(signals, events).await
    }

    /// The first look: what cannot be done now ends the run.
    async fn begin(&mut self) -> Result<(), Failure> {
        self.remember()?;
        let wanted = wanted(&self.reading, &self.judged.compilation);
        if wanted.len() > 1 && !self.fleet.settings().ephemeral_ports {
            let names: Vec<_> = wanted.keys().map(ToString::to_string).collect();
            return Err(Failure::SamePorts { what: format!("the gateways {}", names.join(" and ")) });
        }
        let applied = self.fleet.apply(self.number, &wanted);
        self.say(self.findings());
        if let Some(failure) = applied.failures.into_iter().next() {
            return Err(failure);
        }
        let began = Instant::now();
        while let Some(closed) = self.fleet.bind().into_iter().next() {
            if began.elapsed() > PORTS_COME_FREE {
                return Err(closed.into_failure());
            }
            sleep(PORTS_RETRY).await;
        }
        self.fleet.start();
        self.report();
        if self.fleet.is_empty() {
            tracing::warn!(
                "there is no gateway to run yet: correct what is refused, or add a MailGateway; edits are followed"
            );
        }
        Ok(())
    }

    /// Reads again and acts on it. What is gone from the files is looked for a second time first.
    fn follow(&mut self) -> Look {
        match self.reader.read(&self.reading) {
            Ok(reading) => {
                let lost = reading.lost(&self.reading);
                if !lost.is_subset(&self.missed) {
                    self.missed = lost;
                    return Look::Again;
                }
                self.missed.clear();
                self.reading = Arc::new(reading);
            }
            // A folder that cannot be read says nothing: all is as it was.
            Err(error) => {
                Arc::make_mut(&mut self.reading).findings = vec![unreadable(error.to_string())];
            }
        }
        self.judge();
        self.apply();
        Look::Done
    }

    /// Judges what was read, with what is known from before.
    fn judge(&mut self) {
        let previous = gateways(&self.reading)
            .filter_map(|key| Some((key.clone(), Arc::clone(self.fleet.in_force(key)?))))
            .collect();
        let now = manifests::now();
        let claims = std::mem::take(&mut self.claims);
        let context = Context { claims, previous, now, ..Context::default() };
        let mut judged = manifests::judge(&mut self.compiler, &self.reading, &context);
        self.claims = std::mem::take(&mut judged.compilation.claims);
        self.judged = Arc::new(judged);
        self.number += 1;
    }

    /// Whether time alone has changed what there is to say.
    fn is_to_judge_again(&self) -> bool {
        self.judged.compilation.judge_again.is_some_and(|time| manifests::now() >= time)
    }

    /// Makes everything what was judged, and says what is new. What cannot be done is said, and tried again.
    fn apply(&mut self) {
        let remembered = self.remember(); // before any node acts on it
        let mut applied = self.fleet.apply(self.number, &wanted(&self.reading, &self.judged.compilation));
        applied.failures.extend(remembered.err());
        let closed = self.fleet.bind();
        self.fleet.start();
        self.is_unfinished = !applied.failures.is_empty() || !closed.is_empty();
        let mut findings = self.findings();
        findings.extend(applied.findings);
        findings.extend(applied.failures.iter().map(not_programmed));
        findings.extend(closed.iter().map(Closed::finding));
        self.say(findings);
        self.report();
        self.fleet.write();
    }

    /// Tells the statuses how everything is.
    fn report(&self) {
        self.reporting.update(|situation| {
            if situation.number != self.number {
                situation.number = self.number;
                situation.reading = Arc::clone(&self.reading);
                situation.judged = Arc::clone(&self.judged);
            }
            let own = self.fleet.findings();
            situation.findings = if own.is_empty() {
                Arc::clone(&self.said)
            } else {
                self.said.iter().cloned().chain(own).collect()
            };
            situation.nodes = self.fleet.nodes();
            situation.counted = self.fleet.counted();
            situation.published = self.fleet.published();
        });
    }

    /// Writes down who holds what, if that changed: the next run has nobody else to ask.
    fn remember(&mut self) -> Result<(), Failure> {
        if self.claims != self.remembered {
            self.fleet.remember(&self.claims)?;
        }
        self.remembered.clone_from(&self.claims); // what is the same thing is soon compared
        Ok(())
    }

    fn say(&mut self, mut findings: Vec<Finding>) {
        findings.sort();
        findings.dedup();
        let Changes { new, gone } = finding::changes(&self.said, &findings);
        for finding in &gone {
            logging::say_resolved(finding, self.log_format);
        }
        for finding in &new {
            logging::say_finding(finding, self.log_format);
        }
        self.said = findings.into();
    }

    /// What there is to say about the manifests as they are.
    fn findings(&self) -> Vec<Finding> {
        let mut findings = self.judged.findings.clone();
        findings.extend(manifests::standing(&self.judged.compilation, &self.reading));
        findings.extend(self.ignored_redis());
        findings
    }

    /// The gateways that name a Redis which this run does not use.
    fn ignored_redis(&self) -> Vec<Finding> {
        if self.fleet.settings().redis.is_some() {
            return Vec::new();
        }
        let is_ignored = |document: &&Document| match &document.item {
            Item::Ours(object) => match &**object {
                Object::MailGateway(gateway) => {
                    gateway.spec.queue.as_ref().is_some_and(|queue| queue.redis.is_some())
                }
                _ => false,
            },
            Item::Secret(_) | Item::Namespace(_) => false,
        };
        let ignored = self.reading.documents.values().filter(is_ignored).map(|document| Finding {
            resource: Some((*document.identity).clone()),
            severity: Severity::Warning,
            field: Some("spec.queue.redis".to_owned()),
            reason: "NoEffect".to_owned(),
            message:
                "a local run keeps the queue on its own disk and ignores this; add --redis URL to use a Redis"
                    .to_owned(),
            place: Some(document.place(Some("spec.queue.redis"))),
        });
        ignored.collect()
    }

    /// Lets the nodes finish; a second signal ends them at once.
    async fn end(
        mut self,
        mut signals: Signals,
        mut events: mpsc::Receiver<Event>,
    ) -> Result<Ending, Failure> {
        tracing::info!("draining for {} s at most; a second signal ends it at once", DRAIN.as_secs());
        self.fleet.end(&Order::Drain(DRAIN));
        let mut ending = Ending::Good;
        while !self.fleet.is_empty() {
            tokio::select! {
                () = signals.next() => self.fleet.end(&Order::Kill),
                Some(event) = events.recv() => {
                    if matches!(event, Event::Node { what: What::Ended(false), .. }) {
                        ending = Ending::Refused;
                    }
                    self.fleet.take(event);
                }
            }
        }
        self.fleet.finish().await;
        tracing::info!("all nodes have ended");
        Ok(ending)
    }
}

/// Whether a look was enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Done,
    Again,
}

/// The gateways that there are, those included of which nothing can be read.
pub(super) fn gateways(reading: &Reading) -> impl Iterator<Item = &ObjectKey> {
    let is_gateway = |document: &&Document| matches!(&document.item, Item::Ours(object) if matches!(**object, Object::MailGateway(_)));
    let refused = reading.refused.iter().filter(|(kind, _)| *kind == Kind::MailGateway).map(|(_, key)| key);
    reading.documents.values().filter(is_gateway).map(|document| &document.identity.key).chain(refused)
}

/// The gateways that there are, each with the id of its queue.
pub(super) fn queues(reading: &Reading) -> impl Iterator<Item = (ObjectKey, String)> {
    let read: BTreeMap<&ObjectKey, &MailGateway> = reading
        .documents
        .values()
        .filter_map(|document| match &document.item {
            Item::Ours(object) => match &**object {
                Object::MailGateway(gateway) => Some((&document.identity.key, &**gateway)),
                _ => None,
            },
            Item::Secret(_) | Item::Namespace(_) => None,
        })
        .collect();
    gateways(reading).map(move |key| (key.clone(), queue_id(key, read.get(key).copied())))
}

/// Every gateway of ours that there is, with its snapshot; without one where it is refused as it is written now.
fn wanted<'a>(
    reading: &Reading,
    compilation: &'a Compilation,
) -> BTreeMap<ObjectKey, Option<&'a Arc<Snapshot>>> {
    let is_foreign = |key: &ObjectKey| {
        compilation.verdicts.iter().any(|verdict| {
            verdict.reason == posthouse_compiler::Reason::ForeignController && verdict.key == *key
        })
    };
    let keys = gateways(reading).filter(|key| !is_foreign(key));
    keys.map(|key| (key.clone(), compilation.snapshots.get(key))).collect()
}

fn unreadable(message: String) -> Finding {
    Finding {
        resource: None,
        severity: Severity::Error,
        field: None,
        reason: "Unreadable".to_owned(),
        message,
        place: None,
    }
}

fn not_programmed(failure: &Failure) -> Finding {
    Finding { reason: "NotProgrammed".to_owned(), ..unreadable(failure.to_string()) }
}

/// The signals that end a run.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on they are heard instead of ending the process.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when the next one comes.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
