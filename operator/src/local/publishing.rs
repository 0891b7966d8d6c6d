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

use super::event::{Event, Told};

/// The runs of nodes that are under way, by uid; whether each is ready.
pub(super) type Runs = BTreeMap<String, bool>;

/// The task; it ends with this.
#[derive(Debug)]
pub(super) struct Publishing {
    wanted: watch::Sender<Arc<Snapshot>>,
    runs: watch::Sender<Runs>,
    reported: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Publishing {
    /// Begins with this snapshot.
    pub(super) fn start(
        gateway: ObjectKey,
        publisher: Publisher,
        snapshot: Arc<Snapshot>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (wanted, wish) = watch::channel(snapshot);
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
    pub(super) fn want(&self, snapshot: &Arc<Snapshot>) {
        self.wanted.send_if_modified(|wanted| {
            let is_new = !Arc::ptr_eq(wanted, snapshot);
            if is_new {
                *wanted = Arc::clone(snapshot);
            }
            is_new
        });
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
    wanted: watch::Receiver<Arc<Snapshot>>,
    runs: watch::Receiver<Runs>,
    events: mpsc::Sender<Event>,
    /// Of the runs that are under way.
    reports: Vec<Report>,
    /// What was said last.
    published: Option<Published>,
    trouble: Option<String>,
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
        let wanted = Arc::clone(&self.wanted.borrow_and_update());
        let live = self.live();
        match self.publisher.publish(&wanted, &live, now()).await {
            Ok(published) => {
                self.say_trouble(None).await;
                if self.published.as_ref() != Some(&published) {
                    self.published = Some(published.clone());
                    self.say(Told::Published(published)).await;
                }
            }
            Err(error) => self.say_trouble(Some(error.to_string())).await,
        }
    }

    async fn check(&mut self) {
        let live = self.live();
        if let Err(error) = self.publisher.check(&live).await {
            self.say_trouble(Some(error.to_string())).await;
        }
    }

    /// Reads the reports; those of runs that are over are removed.
    async fn hear(&mut self, channel: &Channel) {
        let runs = self.runs.borrow_and_update().clone();
        let reports = match channel.reports().await {
            Ok(reports) => reports,
            Err(error) => return self.say_trouble(Some(error.to_string())).await,
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

    async fn say_trouble(&mut self, trouble: Option<String>) {
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
