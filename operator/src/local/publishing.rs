//! The publishing of one gateway's snapshots: a task that makes the channel have what the compiler made, whatever else happens, and says what the
//! nodes answer. I/O by its channels.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use posthouse_channel::{Channel, News, Published, Publisher, Report};
use posthouse_compiler::ObjectKey;
use posthouse_config::Snapshot;
use posthouse_model::Timestamp;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};

use super::event::{Event, Told, Trouble};

/// The runs of nodes that are under way, by uid; whether each is ready.
pub(super) type Runs = BTreeMap<String, bool>;

/// What is to be published.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// The reading that it was made of.
    pub(super) reading: u64,
    pub(super) snapshot: Arc<Snapshot>,
}

/// The task; it ends with this.
#[derive(Debug)]
pub(super) struct Publishing {
    wanted: watch::Sender<Wish>,
    runs: watch::Sender<Runs>,
    reported: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Publishing {
    /// Begins with this.
    pub(super) fn start(
        gateway: ObjectKey,
        publisher: Publisher,
        wish: Wish,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (wanted, wish) = watch::channel(wish);
        let (runs, nodes) = watch::channel(Runs::new());
        let reported = Arc::new(Notify::new());
        let task = Task {
            gateway,
            publisher,
            wanted: wish,
            runs: nodes,
            events,
            reports: Vec::new(),
            published: None,
            trouble: None,
        };
        let task = tokio::spawn(task.run(Arc::clone(&reported)));
        Self { wanted, runs, reported, task }
    }

    /// From now on this is to be published.
    pub(super) fn want(&self, wish: Wish) {
        self.wanted.send_replace(wish);
    }

    /// These runs of nodes are under way.
    pub(super) fn set_runs(&self, runs: &Runs) {
        self.runs.send_if_modified(|now| {
            let is_new = now != runs;
            if is_new {
                now.clone_from(runs);
            }
            is_new
        });
    }

    /// A node says that it reported.
    pub(super) fn reported(&self) {
        self.reported.notify_one();
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Task {
    gateway: ObjectKey,
    publisher: Publisher,
    wanted: watch::Receiver<Wish>,
    runs: watch::Receiver<Runs>,
    events: mpsc::Sender<Event>,
    /// Of the runs that are under way.
    reports: Vec<Report>,
    /// What was said last.
    published: Option<(u64, Published)>,
    trouble: Option<Trouble>,
}

impl Task {
    async fn run(mut self, reported: Arc<Notify>) {
        let gateway = self.gateway.clone();
        self.publisher
            .restore(|why| tracing::warn!(%gateway, "what was published before cannot be read: {why}"))
            .await;
        // Nodes report where they read: the first.
        let Some(channel) = self.publisher.channels().first().cloned() else { return };
        let mut news = News::of_reports(&channel);
        loop {
            self.publish().await;
            tokio::select! {
                changed = self.wanted.changed() => if changed.is_err() { return },
                changed = self.runs.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.hear(&channel).await;
                }
                () = reported.notified() => self.hear(&channel).await,
                () = news.next() => {
                    self.hear(&channel).await;
                    self.check().await;
                }
            }
        }
    }

    /// Publishes what is wanted, as the nodes that live can read it.
    async fn publish(&mut self) {
        let Wish { reading, snapshot } = self.wanted.borrow_and_update().clone();
        let live = self.live();
        match self.publisher.publish(&snapshot, &live, now()).await {
            Ok(published) => {
                self.say_trouble(None).await;
                let said = (reading, published);
                if self.published.as_ref() != Some(&said) {
                    self.published = Some(said.clone());
                    let (reading, published) = said;
                    self.say(Told::Published { reading, published }).await;
                }
            }
            Err(error) => self.say_trouble(Some(Trouble::of(&error))).await,
        }
    }

    async fn check(&mut self) {
        let live = self.live();
        if let Err(error) = self.publisher.check(&live).await {
            self.say_trouble(Some(Trouble::of(&error))).await;
        }
    }

    /// Reads the reports; those of runs that are over are removed.
    async fn hear(&mut self, channel: &Channel) {
        let runs = self.runs.borrow_and_update().clone();
        let reports = match channel.reports().await {
            Ok(reports) => reports,
            Err(error) => return self.say_trouble(Some(Trouble::of(&error.into()))).await,
        };
        let (mut current, over): (Vec<_>, Vec<_>) =
            reports.into_iter().partition(|report| runs.contains_key(&report.uid));
        let over: Vec<_> = over.into_iter().map(|report| report.uid).collect();
        if let Err(error) = channel.forget(&over).await {
            tracing::debug!(gateway = %self.gateway, "reports of ended nodes stay: {error}");
        }
        current.sort_by(|one, other| one.uid.cmp(&other.uid));
        if current != self.reports {
            self.reports.clone_from(&current);
            self.say(Told::Reports(current)).await;
        }
    }

    /// The reports of the nodes that are ready.
    fn live(&self) -> Vec<Report> {
        let runs = self.runs.borrow();
        let is_ready = |report: &&Report| runs.get(&report.uid).copied().unwrap_or_default();
        self.reports.iter().filter(is_ready).cloned().collect()
    }

    async fn say_trouble(&mut self, trouble: Option<Trouble>) {
        if self.trouble != trouble {
            self.trouble.clone_from(&trouble);
            self.say(Told::Trouble(trouble)).await;
        }
    }

    async fn say(&self, told: Told) {
        let _ = self.events.send(Event::Gateway { gateway: self.gateway.clone(), told }).await;
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
