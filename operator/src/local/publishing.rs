//! The publishing of one gateway's snapshots: a task that makes the channel have what the compiler made, whatever else happens, and says what the
//! nodes answer. I/O by its channels.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use posthouse_channel::{
    Channel, ChannelError, KeyFolder, Lease, News, PublishError, Published, Publisher, Report, Totals,
    last_published,
};
use posthouse_compiler::ObjectKey;
use posthouse_config::{Assembled, Snapshot};
use posthouse_model::Timestamp;
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
};

use super::event::{Event, Told, Trouble};

/// How long a report of an unknown run stays: longer than a node takes to begin.
const STRANGER: Duration = Duration::from_mins(1);

/// Between two looks whether everything is where it belongs.
const CHECK: Duration = Duration::from_millis(2_500);

/// What was found to be published when a run began.
pub(super) type Found = Option<Arc<Assembled>>;

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
    channels: Vec<Channel>,
    lease: Lease,
}

impl Publishing {
    /// Begins with this. What is published already is read, unless it was `found` before.
    pub(super) fn start(
        gateway: ObjectKey,
        publisher: Publisher,
        wish: Wish,
        found: Option<Found>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (wanted, wish) = watch::channel(wish);
        let (runs, nodes) = watch::channel(Runs::new());
        let reported = Arc::new(Notify::new());
        let (channels, lease) = (publisher.channels().to_vec(), publisher.lease().clone());
        let task = Task {
            gateway,
            publisher,
            wanted: wish,
            runs: nodes,
            events,
            reports: Vec::new(),
            counted_at: None,
            strangers: BTreeMap::new(),
            checked: None,
            published: None,
            troubles: BTreeMap::new(),
            trouble: None,
        };
        let task = tokio::spawn(task.run(found, Arc::clone(&reported)));
        Self { wanted, runs, reported, task, channels, lease }
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

    /// Publishes nothing any more, and gives the lease back: another operator need not wait until it lapses.
    pub(super) async fn end(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
        for channel in &self.channels {
            if let Err(error) = channel.give_back(&self.lease).await {
                tracing::debug!("the lease of {channel} lapses by itself: {error}");
            }
        }
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
    /// When what waits in the queues was counted, as it was said last.
    counted_at: Option<Timestamp>,
    /// Runs that report and are not known to be under way; since when.
    strangers: BTreeMap<String, Instant>,
    /// When everything was looked after.
    checked: Option<Instant>,
    /// What was said last.
    published: Option<(u64, Published)>,
    /// What does not succeed just now.
    troubles: BTreeMap<Doing, Trouble>,
    trouble: Option<Trouble>,
}

/// What may not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    Publish,
    Check,
    Hear,
}

impl Task {
    async fn run(mut self, found: Option<Found>, reported: Arc<Notify>) {
        let found = match found {
            Some(found) => found,
            None => find(&self.gateway, self.publisher.channels(), self.publisher.keys()).await,
        };
        if let Some(last) = found {
            self.publisher.resume(&last);
        }
        // Nodes report where they read: the last.
        let Some(channel) = self.publisher.channels().last().cloned() else { return };
        let mut news = News::of_reports(&channel);
        self.check().await; // whether another one publishes here is to be known before anything is written
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
                self.note(Doing::Publish, None).await;
                let said = (reading, published);
                if self.published.as_ref() != Some(&said) {
                    self.published = Some(said.clone());
                    let (reading, published) = said;
                    self.say(Told::Published { reading, published }).await;
                }
            }
            Err(error) => self.note(Doing::Publish, Some(&error)).await,
        }
    }

    /// Looks whether everything is where it belongs, at most every few seconds: what mends it makes nodes answer, and an answer leads here.
    async fn check(&mut self) {
        if self.checked.is_some_and(|checked| checked.elapsed() < CHECK) {
            return;
        }
        self.checked = Some(Instant::now());
        let was_held = self.publisher.held_by().is_some();
        let checked = self.publisher.check(&self.under_way(|_| true)).await;
        self.note(Doing::Check, checked.as_ref().err()).await;
        for mended in checked.into_iter().flatten() {
            tracing::warn!(gateway = %self.gateway, "{mended}, emptied or restored perhaps: it is written again");
        }
        if self.publisher.is_overtaken() && was_held {
            tracing::info!(gateway = %self.gateway, "the other operator publishes no more: what it published is written over");
        } else if self.publisher.is_overtaken() {
            tracing::error!(
                gateway = %self.gateway,
                "something else wrote this gateway's configuration, another operator with the same queue id perhaps: it is written over; give each \
                 gateway a spec.queue.id of its own"
            );
        }
    }

    /// Reads the reports, and what waits in the queues; the reports of runs that are over are removed.
    async fn hear(&mut self, channel: &Channel) {
        let runs = self.runs.borrow_and_update().clone();
        let reports = match channel.reports().await {
            Ok(reports) => reports,
            Err(error) => return self.note(Doing::Hear, Some(&error.into())).await,
        };
        self.note(Doing::Hear, None).await;
        let (mut current, strangers): (Vec<_>, Vec<_>) =
            reports.into_iter().partition(|report| runs.contains_key(&report.uid));
        self.forget(channel, strangers.into_iter().map(|report| report.uid)).await;
        current.sort_by(|one, other| one.uid.cmp(&other.uid));
        if current != self.reports {
            self.reports.clone_from(&current);
            self.say(Told::Reports(current)).await;
        }
        match self.recount(channel).await {
            Ok(None) => {}
            Ok(Some(totals)) => {
                self.counted_at = Some(totals.at);
                self.say(Told::Totals(Arc::new(totals))).await;
            }
            Err(error) => {
                tracing::debug!(gateway = %self.gateway, "what waits in the queues is not known: {error}");
            }
        }
    }

    /// What waits in the queues, if it was counted since it was said.
    async fn recount(&self, channel: &Channel) -> Result<Option<Totals>, ChannelError> {
        let at = channel.totals_at().await?;
        if at.is_none() || at == self.counted_at {
            return Ok(None);
        }
        channel.totals().await
    }

    /// Removes the reports of runs that are over. A run may report before it is heard of here that it began: only who stays a stranger is over.
    async fn forget(&mut self, channel: &Channel, strangers: impl Iterator<Item = String>) {
        let now = Instant::now();
        let before = std::mem::take(&mut self.strangers);
        self.strangers = strangers
            .map(|uid| (before.get(&uid).copied().unwrap_or(now), uid))
            .map(|(at, uid)| (uid, at))
            .collect();
        let is_over = |(_, since): &(&String, &Instant)| now.duration_since(**since) > STRANGER;
        let over: Vec<_> = self.strangers.iter().filter(is_over).map(|(uid, _)| uid.clone()).collect();
        if let Err(error) = channel.forget(&over, self.publisher.lease()).await {
            tracing::debug!(gateway = %self.gateway, "reports of ended nodes stay: {error}");
        }
    }

    /// The reports of the nodes that are ready.
    fn live(&self) -> Vec<Report> {
        self.under_way(|is_ready| is_ready)
    }

    /// The reports of the runs that are under way. One whose report is lost has nothing: no key is used that it may not have.
    fn under_way(&self, counts: impl Fn(bool) -> bool) -> Vec<Report> {
        let runs = self.runs.borrow();
        let counting = runs.iter().filter(|(_, is_ready)| counts(**is_ready));
        let report = |uid: &String| {
            let found = self.reports.iter().find(|report| report.uid == *uid).cloned();
            found.unwrap_or_else(|| Report::new(uid.clone(), uid.clone()))
        };
        counting.map(|(uid, _)| report(uid)).collect()
    }

    /// Notes whether something succeeded, and says what is the trouble where that is another one now, or none.
    async fn note(&mut self, doing: Doing, error: Option<&PublishError>) {
        match error {
            Some(error) => self.troubles.insert(doing, Trouble::of(error)),
            None => self.troubles.remove(&doing),
        };
        let trouble = self.troubles.values().next().cloned();
        if self.trouble != trouble {
            self.trouble.clone_from(&trouble);
            self.say(Told::Trouble(trouble)).await;
        }
    }

    async fn say(&self, told: Told) {
        let _ = self.events.send(Event::Gateway { gateway: self.gateway.clone(), told }).await;
    }
}

/// What is published in these channels, as far as it can be read.
pub(super) async fn find(gateway: &ObjectKey, channels: &[Channel], keys: &KeyFolder) -> Found {
    let unreadable = |why| tracing::warn!(%gateway, "what was published before cannot be read: {why}");
    last_published(channels, keys, unreadable).await
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use posthouse_channel::Directory;
    use posthouse_config::Gateway;

    use super::*;

    #[tokio::test]
    async fn a_report_that_comes_before_its_run_is_known_is_heard_when_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let channel = Channel::Directory(Directory::create(folder.path().join("config")).unwrap());
        channel.report(&Report::new("edge-0.1".to_owned(), "edge-0".to_owned())).await.unwrap();
        let gateway = Gateway::new("mail/edge".parse().unwrap(), "mail.example.com".parse().unwrap());
        let snapshot = Arc::new(Snapshot::new(gateway));
        let (_wanted, wanted) = watch::channel(Wish { reading: 1, snapshot });
        let (known, runs) = watch::channel(Runs::new());
        let (events, mut told) = mpsc::channel(8);
        let publisher = Publisher::new(
            vec![channel.clone()],
            KeyFolder::new(folder.path().join("keys")),
            Lease::new(0, "a", "a test"),
        );
        let mut task = Task {
            gateway: ObjectKey::new("mail", "edge"),
            publisher,
            wanted,
            runs,
            events,
            reports: Vec::new(),
            counted_at: None,
            strangers: BTreeMap::new(),
            checked: None,
            published: None,
            troubles: BTreeMap::new(),
            trouble: None,
        };
        task.hear(&channel).await;
        assert!(told.try_recv().is_err(), "nobody knows it yet");
        known.send_replace([("edge-0.1".to_owned(), true)].into());
        task.hear(&channel).await;
        let heard = told.try_recv().unwrap();
        let Event::Gateway { told: Told::Reports(reports), .. } = heard else { panic!("{heard:?}") };
        assert_eq!(reports.len(), 1);
    }
}
