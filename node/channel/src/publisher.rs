//! The operator's side: what the compiler made becomes what the pointer names, sealed with a key and in a schema that every live node reads. I/O
//! by its channels. Level-triggered: whatever is not as it should be is written again.

use std::sync::Arc;

use posthouse_config::{
    Assembled, Epoch, IndexError, KeyId, Part, Publication, SCHEMA_MAX, SCHEMA_MIN, SealingKey, Snapshot,
    SnapshotHash, common_schema,
};
use posthouse_model::Timestamp;

use crate::{Channel, ChannelError, KeyFolder, KeyFolderError, Look, Moved, Report, follower::read_once};

/// Publishes one gateway's snapshots. With several channels each has the same.
#[derive(Debug)]
pub struct Publisher {
    channels: Vec<Channel>,
    keys: KeyFolder,
    /// How often the leader's lease changed hands.
    transitions: u64,
    current: Option<Current>,
    /// The publication of which every channel has all pieces and nothing else.
    collected: Option<Epoch>,
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
}

impl Publisher {
    /// A publisher to these channels, sealing with these keys.
    #[must_use]
    pub fn new(channels: Vec<Channel>, keys: KeyFolder, transitions: u64) -> Self {
        Self { channels, keys, transitions, current: None, collected: None, is_overtaken: false }
    }

    /// Where it publishes.
    #[must_use]
    pub fn channels(&self) -> &[Channel] {
        &self.channels
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

    /// The snapshot that the nodes were given last, by this run or another one: the newest that can be read. What cannot be read is told to
    /// `unreadable` and is as if it was not there.
    pub async fn restore(&mut self, mut unreadable: impl FnMut(String)) -> Option<Arc<Snapshot>> {
        let keys = match self.keys.read() {
            Ok(keys) => keys,
            Err(error) => {
                unreadable(error.to_string());
                return None;
            }
        };
        let mut newest: Option<Arc<Assembled>> = None;
        for channel in &self.channels {
            match read_once(channel, &self.keys).await {
                Ok(Look::New(found)) => {
                    if newest.as_ref().is_none_or(|newest| newest.pointer.epoch < found.pointer.epoch) {
                        newest = Some(found);
                    }
                }
                Ok(Look::Same) => {}
                Ok(Look::Refused(refused)) => unreadable(refused.reason),
                Err(error) => unreadable(error.to_string()),
            }
        }
        let Assembled { pointer, snapshot, .. } = &*newest?;
        // Made again it is the same, octet for octet, unless it was made by another version.
        let key = keys.iter().find(|key| key.id() == pointer.key)?;
        let publication = Publication::new(snapshot, pointer.epoch, key, None).ok()?;
        self.current = Some(Current { source: None, publication, downgraded: Vec::new() });
        Some(Arc::clone(snapshot))
    }

    /// Publishes a snapshot, unless it is what is published already. `live` are the reports of the nodes that live.
    pub async fn publish(
        &mut self,
        wanted: &Arc<Snapshot>,
        live: &[Report],
        now: Timestamp,
    ) -> Result<Published, PublishError> {
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
                match upload(&self.channels, &publication).await? {
                    Moved::Forward => {
                        self.take(wanted, publication, downgraded.parts);
                        break;
                    }
                    Moved::Outdated(newer) if newer.transitions > self.transitions => {
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
    }

    /// Looks whether every channel has what was published, and writes again what is lost, or what some node found damaged. Collects what none of
    /// these nodes needs any more.
    pub async fn check(&mut self, live: &[Report]) -> Result<(), PublishError> {
        let Some(current) = &self.current else { return Ok(()) };
        let publication = &current.publication;
        let pointer = publication.pointer;
        let epoch = pointer.epoch;
        let chunks = publication.chunks();
        let is_damaged = live
            .iter()
            .filter_map(|report| report.refused.as_ref())
            .any(|refused| refused.is_damaged && refused.hash == publication.pointer.index);
        let mut lacking = Vec::new();
        for channel in &self.channels {
            let found = match channel.pointer().await {
                Err(ChannelError::Damaged { .. }) => None,
                found => found?,
            };
            if let Some(newer) = found.filter(|found| found.epoch > epoch) {
                if newer.epoch.transitions > self.transitions {
                    return Err(PublishError::Outdated(newer.epoch));
                }
                self.is_overtaken = true; // the next publication goes beyond it
                return Ok(());
            }
            if is_damaged || found != Some(pointer) || !chunks.is_subset(&channel.names().await?) {
                lacking.push(channel.clone());
            }
        }
        if !lacking.is_empty() {
            let keys = self.keys.read()?;
            let key = keys.iter().find(|key| key.id() == publication.key());
            let Some(key) = key else { return Ok(()) }; // the next publication is sealed with another one
            let whole = Publication::new(publication.snapshot(), epoch, key, None)?;
            if upload(&lacking, &whole).await? != Moved::Forward {
                self.is_overtaken = true; // a pointer that cannot be read stands in the way
                return Ok(());
            }
        }
        if self.collected != Some(epoch) && live.iter().all(|report| report.has_applied(epoch)) {
            for channel in &self.channels {
                channel.collect(&pointer, &chunks).await?;
            }
            self.collected = Some(epoch);
        }
        Ok(())
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
        Ok(Epoch { transitions: self.transitions, sequence: now.0.max(last + 1) })
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

/// Uploads to every channel; not moved if any has something newer.
async fn upload(channels: &[Channel], publication: &Publication) -> Result<Moved, ChannelError> {
    for channel in channels {
        match channel.publish(publication).await? {
            Moved::Forward => {}
            outdated @ Moved::Outdated(_) => return Ok(outdated),
        }
    }
    Ok(Moved::Forward)
}
