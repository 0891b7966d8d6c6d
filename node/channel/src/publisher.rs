//! The operator's side: what the compiler made becomes what the pointer names, sealed with a key and in a schema that every live node reads. I/O
//! by its channels. Level-triggered: whatever is not as it should be is written again.

use std::{fmt, sync::Arc, time::Duration};

use posthouse_config::{
    Assembled, Epoch, IndexError, KeyId, Part, Publication, SCHEMA_MAX, SCHEMA_MIN, SealingKey, Snapshot,
    SnapshotHash, common_schema,
};
use posthouse_model::Timestamp;
use tokio::time::timeout;

use crate::{
    Channel, ChannelError, Holder, KeyFolder, KeyFolderError, Lease, Look, Moved, Report,
    collection::Collection, follower::read_once,
};

/// How long one channel may take to say what was published before: a run that begins does not wait for a Redis that is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes one gateway's snapshots. With several channels each has the same.
#[derive(Debug)]
pub struct Publisher {
    channels: Vec<Channel>,
    keys: KeyFolder,
    lease: Lease,
    /// Another one who publishes here: until it is gone, nothing is.
    held_by: Option<Holder>,
    current: Option<Current>,
    /// Every channel had the current publication: what is not there any more was lost.
    is_everywhere: bool,
    collection: Collection,
    /// Somebody who does not lead published: what holds is not what was published here.
    is_overtaken: bool,
}

/// What is published.
#[derive(Debug)]
struct Current {
    /// As the compiler made it, in the newest schema; absent after a start, when only what nodes got is known.
    source: Option<Arc<Snapshot>>,
    publication: Publication,
    downgraded: Vec<Part>,
}

/// What the nodes are to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its place in the order of publications.
    pub epoch: Epoch,
    /// Its name.
    pub hash: SnapshotHash,
    /// The schema that it is written in.
    pub schema: u32,
    /// The key that it is sealed with.
    pub key: KeyId,
    /// Rules that need a newer schema than every live node reads.
    pub downgraded: Vec<Part>,
}

/// Something that a channel had lost, and has again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// Where.
    pub place: String,
    /// Whether all of it was gone, and not a part.
    pub is_whole: bool,
}

/// Why it is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyFolderError),
    /// A channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The snapshot cannot be a publication.
    #[error(transparent)]
    Snapshot(#[from] IndexError),
    /// No schema is read by all.
    #[error(
        "the live nodes read no common schema ({SCHEMA_MIN} to {SCHEMA_MAX} can be written): nodes more than two versions apart run side by side"
    )]
    NoCommonSchema,
    /// Somebody else leads.
    #[error("publication {0} is there already, from a later leader: this one steps back")]
    Outdated(Epoch),
    /// Another one publishes.
    #[error(
        "another operator publishes for this queue id: {0}; stop that one, or give this gateway a spec.queue.id of its own. Until then nothing of it \
         is published or removed here; if that one was killed, its lease lapses within 10 s"
    )]
    Held(Holder),
}

impl Publisher {
    /// A publisher to these channels, sealing with these keys, as the holder of this lease.
    #[must_use]
    pub fn new(channels: Vec<Channel>, keys: KeyFolder, lease: Lease) -> Self {
        Self {
            channels,
            keys,
            lease,
            held_by: None,
            current: None,
            is_everywhere: false,
            collection: Collection::default(),
            is_overtaken: false,
        }
    }

    /// Where it publishes.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.channels
    }

    /// What it seals with.
    #[must_use]
    pub fn keys(&self) -> &KeyFolder {
        &self.keys
    }

    /// As whom it publishes.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Who else publishes here, as far as is known: then nothing is published or collected.
    #[must_use]
    pub fn held_by(&self) -> Option<&Holder> {
        self.held_by.as_ref()
    }

    /// Whether somebody else, who does not lead, published last: the next publication goes beyond it.
    #[must_use]
    pub fn is_overtaken(&self) -> bool {
        self.is_overtaken
    }

    /// What is published.
    #[must_use]
    pub fn published(&self) -> Option<Published> {
        let Current { publication, downgraded, .. } = self.current.as_ref()?;
        Some(Published {
            epoch: publication.pointer.epoch,
            hash: publication.pointer.index,
            schema: publication.pointer.schema,
            key: publication.pointer.key,
            downgraded: downgraded.clone(),
        })
    }

    /// Goes on from what was [published last](last_published). Made again it is the same, octet for octet, unless it was made by another version.
    pub fn resume(&mut self, last: &Assembled) {
        let Assembled { pointer, snapshot, .. } = last;
        let Ok(keys) = self.keys.look() else { return };
        let Some(key) = keys.good.iter().find(|key| key.id() == pointer.key) else { return };
        let Ok(publication) = Publication::new(snapshot, pointer.epoch, key, None) else { return };
        self.current = Some(Current { source: None, publication, downgraded: Vec::new() });
    }

    /// Publishes a snapshot, unless it is what is published already. `live` are the reports of the nodes that live.
    pub async fn publish(
        &mut self,
        wanted: &Arc<Snapshot>,
        live: &[Report],
        now: Timestamp,
    ) -> Result<Published, PublishError> {
        if let Some(holder) = &self.held_by {
            return Err(PublishError::Held(holder.clone())); // until a check finds the lease free
        }
        let keys = self.keys.read()?;
        let key = self.choose(&keys, live)?;
        let schemas = live.iter().map(|report| (report.schema_min, report.schema_max));
        let schema = common_schema(schemas).ok_or(PublishError::NoCommonSchema)?;
        let is_published = self.current.as_ref().is_some_and(|current| current.is(wanted, schema, key.id()));
        if self.is_overtaken || !is_published {
            let mut epoch = self.next_epoch(now).await?;
            let downgraded = wanted.at_schema(schema);
            loop {
                let before = self.current.as_ref().map(|current| &current.publication);
                let publication = Publication::new(&downgraded.snapshot, epoch, key, before)?;
                match upload(&self.channels, &publication, &self.lease).await? {
                    Moved::Forward => {
                        self.take(wanted, publication, downgraded.parts);
                        break;
                    }
                    Moved::Held(holder) => return Err(self.yield_to(holder)),
                    Moved::Outdated(newer) if newer.transitions > self.lease.transitions => {
                        return Err(PublishError::Outdated(newer));
                    }
                    Moved::Outdated(newer) => epoch.sequence = newer.sequence + 1,
                }
            }
        }
        self.published().ok_or(PublishError::NoCommonSchema)
    }

    fn take(&mut self, wanted: &Arc<Snapshot>, mut publication: Publication, downgraded: Vec<Part>) {
        publication.forget_octets();
        self.current = Some(Current { source: Some(Arc::clone(wanted)), publication, downgraded });
        self.is_overtaken = false;
        self.is_everywhere = true;
    }

    /// Renews the lease. Looks whether every channel has what was published, and writes again what is lost, or what some node found damaged; what
    /// had been there is told. Collects what none of these nodes needs any more.
    pub async fn check(&mut self, live: &[Report]) -> Result<Vec<Mended>, PublishError> {
        self.claim().await?;
        let Some(current) = &self.current else { return Ok(Vec::new()) };
        let publication = &current.publication;
        let pointer = publication.pointer;
        let chunks = publication.chunks();
        let is_damaged = live
            .iter()
            .filter_map(|report| report.refused.as_ref())
            .any(|refused| refused.is_damaged && refused.hash == pointer.index);
        let (mut lacking, mut mended) = (Vec::new(), Vec::new());
        for channel in &self.channels {
            let found = match channel.pointer().await {
                Err(ChannelError::Damaged { .. }) => None,
                found => found?,
            };
            if let Some(newer) = found.filter(|found| found.epoch > pointer.epoch) {
                if newer.epoch.transitions > self.lease.transitions {
                    return Err(PublishError::Outdated(newer.epoch));
                }
                self.is_overtaken = true; // the next publication goes beyond it
                return Ok(Vec::new());
            }
            let is_whole = found == Some(pointer) && chunks.is_subset(&channel.names().await?);
            if !is_whole && self.is_everywhere {
                mended.push(Mended { place: channel.to_string(), is_whole: found != Some(pointer) });
            }
            if !is_whole || is_damaged {
                lacking.push(channel.clone());
            }
        }
        let keys = self.keys.look()?.good;
        if !lacking.is_empty() {
            let key = keys.iter().find(|key| key.id() == publication.key());
            let Some(key) = key else { return Ok(Vec::new()) }; // the next publication is sealed with another one
            let whole = Publication::new(publication.snapshot(), pointer.epoch, key, None)?;
            match upload(&lacking, &whole, &self.lease).await? {
                Moved::Forward => {}
                Moved::Held(holder) => return Err(self.yield_to(holder)),
                Moved::Outdated(_) => {
                    self.is_overtaken = true; // a pointer that cannot be read stands in the way
                    return Ok(Vec::new());
                }
            }
        }
        self.is_everywhere = true;
        self.collection.collect(&self.channels, publication, live, &keys, &self.lease).await?;
        Ok(mended)
    }

    /// Takes or renews the lease in every channel.
    async fn claim(&mut self) -> Result<(), PublishError> {
        for channel in &self.channels {
            if let Some(holder) = channel.claim(&self.lease).await? {
                return Err(self.yield_to(holder));
            }
        }
        self.held_by = None;
        Ok(())
    }

    fn yield_to(&mut self, holder: Holder) -> PublishError {
        self.held_by = Some(holder.clone());
        PublishError::Held(holder)
    }

    /// The newest key that every live node has; for want of one, the one in use; at last the newest.
    fn choose<'k>(&self, keys: &'k [SealingKey], live: &[Report]) -> Result<&'k SealingKey, PublishError> {
        let is_everywhere = |key: &&SealingKey| live.iter().all(|report| report.keys.contains(&key.id()));
        let in_use = self.current.as_ref().map(|current| current.publication.key());
        let found = keys.iter().find(is_everywhere);
        let found = found.or_else(|| keys.iter().find(|key| Some(key.id()) == in_use)).or(keys.first());
        found.ok_or_else(|| KeyFolderError::Empty(self.keys.path().to_owned()).into())
    }

    /// After all that is known: the clock is in it so that a queue that outlives this state sees its modes grow.
    async fn next_epoch(&self, now: Timestamp) -> Result<Epoch, PublishError> {
        let mut last = self.current.as_ref().map_or(0, |current| current.publication.pointer.epoch.sequence);
        if self.current.as_ref().is_none_or(|current| current.source.is_none()) {
            for channel in &self.channels {
                match channel.pointer().await {
                    Ok(pointer) => last = last.max(pointer.map_or(0, |pointer| pointer.epoch.sequence)),
                    Err(ChannelError::Damaged { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(Epoch { transitions: self.lease.transitions, sequence: now.0.max(last + 1) })
    }
}

impl Current {
    /// Whether this is what a snapshot would be published as.
    fn is(&self, wanted: &Arc<Snapshot>, schema: u32, key: KeyId) -> bool {
        let published = &self.publication;
        if published.key() != key || published.pointer.schema != schema {
            return false;
        }
        match &self.source {
            Some(source) => source.says_the_same(wanted),
            None => published.snapshot().says_the_same(&wanted.at_schema(schema).snapshot),
        }
    }
}

/// What the nodes were given last, by this run or another one: the newest that can be read. What cannot be read is told to `unreadable` and is as if
/// it was not there.
pub async fn last_published(
    channels: &[Channel],
    keys: &KeyFolder,
    mut unreadable: impl FnMut(String),
) -> Option<Arc<Assembled>> {
    let mut newest: Option<Arc<Assembled>> = None;
    for channel in channels {
        match timeout(PATIENCE, read_once(channel, keys)).await {
            Ok(Ok(Look::New(found))) => {
                if newest.as_ref().is_none_or(|newest| newest.pointer.epoch < found.pointer.epoch) {
                    newest = Some(found);
                }
            }
            Ok(Ok(Look::Nothing | Look::Same)) => {}
            Ok(Ok(Look::Refused(refused))) => unreadable(format!("{channel}: {}", refused.reason)),
            Ok(Err(error)) => unreadable(error.to_string()),
            Err(_) => unreadable(format!("{channel} does not answer within {} s", PATIENCE.as_secs())),
        }
    }
    newest
}

/// Uploads to every channel; not moved if any has something newer, or is another publisher's.
async fn upload(
    channels: &[Channel],
    publication: &Publication,
    lease: &Lease,
) -> Result<Moved, ChannelError> {
    for channel in channels {
        match channel.publish(publication, lease).await? {
            Moved::Forward => {}
            stopped => return Ok(stopped),
        }
    }
    Ok(Moved::Forward)
}

impl fmt::Display for Mended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what =
            if self.is_whole { "the pointer to the configuration" } else { "pieces of the configuration" };
        write!(f, "{what} had gone from {}", self.place)
    }
}
