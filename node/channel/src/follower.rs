//! A node's side: it follows the pointer, takes what it can verify, and says what it runs or why not. I/O by its channel.

use std::sync::Arc;

use posthouse_config::{Assembled, Assembly, ChunkName, Pointer, Refusal, SealingKey};
use tokio::task::{JoinError, spawn_blocking};

use crate::{
    Applied, Channel, ChannelError, KeyFolder, KeyFolderError, Keys, MOST_REFUSED_LOGINS, Refused,
    RefusedLogin, Report,
};

/// How often a pointer that moves while its pieces are read is followed in one look.
const ROUNDS: usize = 8;

/// Follows one gateway's configuration.
#[derive(Debug)]
pub struct Follower {
    channel: Channel,
    keys: KeyFolder,
    held: Option<Arc<Assembled>>,
    report: Report,
    /// What is named as a key and is none.
    passed_over: Vec<String>,
    /// The report as the channel has it.
    reported: Option<Report>,
}

/// What a look found.
#[derive(Debug)]
pub enum Look {
    /// Nothing is published.
    Nothing,
    /// Nothing new.
    Same,
    /// A snapshot that is verified whole. It counts as applied once that is [said](Follower::applied).
    New(Arc<Assembled>),
    /// One that is refused, and was not before: what is held stays.
    Refused(Refused),
}

/// Why it could not look.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyFolderError),
    /// Reading panicked: an error of ours.
    #[error("the snapshot could not be read: {0}")]
    Broken(#[from] JoinError),
}

/// What a channel holds now, for who does not follow it.
pub async fn read_once(channel: &Channel, keys: &KeyFolder) -> Result<Look, FollowError> {
    Follower::new(channel.clone(), keys.clone(), String::new(), String::new()).look().await
}

impl Follower {
    /// A follower that holds nothing yet, for this run of a node.
    #[must_use]
    pub fn new(channel: Channel, keys: KeyFolder, uid: String, node: String) -> Self {
        let report = Report::new(uid, node);
        Self { channel, keys, held: None, report, passed_over: Vec::new(), reported: None }
    }

    /// Where it looks.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Whether it holds nothing yet.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        self.held.is_none()
    }

    /// Files among the keys that hold none, each with what is wrong with it: the last look did without them.
    #[must_use]
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// Looks where the pointer is now. What is not newer than what is held is left alone: a Redis that comes back from a copy gets the newer one
    /// from the operator.
    pub async fn look(&mut self) -> Result<Look, FollowError> {
        let Keys { good, bad } = self.keys.look()?;
        self.passed_over = bad.iter().map(ToString::to_string).collect();
        let keys: Arc<[SealingKey]> = good.into();
        self.report.keys = keys.iter().map(SealingKey::id).collect();
        for _ in 0..ROUNDS {
            let Some(pointer) = self.channel.pointer().await? else { return Ok(Look::Nothing) };
            if self.held.as_ref().is_some_and(|held| pointer.epoch <= held.pointer.epoch) {
                return Ok(Look::Same);
            }
            let refusal = match self.read(pointer, &keys).await? {
                Ok(assembled) => return Ok(Look::New(Arc::new(assembled))),
                Err(refusal) => refusal,
            };
            // It was collected while it was read, for a newer one is there?
            if refusal.may_pass() && self.channel.pointer().await? != Some(pointer) {
                continue;
            }
            let refused = Refused::new(&pointer, refusal.resource(), refusal.to_string(), refusal.may_pass());
            return Ok(self.refuse(refused));
        }
        Ok(Look::Same) // it moves faster than it can be read: the next look finds it
    }

    /// Notes a refusal; new only if it was not said before.
    pub fn refuse(&mut self, refused: Refused) -> Look {
        if self.report.refused.as_ref() == Some(&refused) {
            return Look::Same;
        }
        self.report.refused = Some(refused.clone());
        Look::Refused(refused)
    }

    /// Notes that a snapshot is in force.
    pub fn applied(&mut self, assembled: Arc<Assembled>) {
        self.report.applied = Some(Applied::from(&assembled.pointer));
        self.report.refused = None;
        self.held = Some(assembled);
    }

    /// Notes which logins next hops refuse now; of more than a report takes, the first.
    pub fn refused_logins(&mut self, refused: impl Iterator<Item = RefusedLogin>) {
        self.report.refused_logins = refused.take(MOST_REFUSED_LOGINS).collect();
    }

    /// Says what there is to say, if that is not what was said last, or if the channel lost it. Whether it said something.
    pub async fn say(&mut self) -> Result<bool, ChannelError> {
        let is_said = self.reported.as_ref() == Some(&self.report);
        if is_said && self.channel.has_report(&self.report.uid).await? {
            return Ok(false);
        }
        self.channel.report(&self.report).await?;
        self.reported = Some(self.report.clone());
        Ok(true)
    }

    async fn read(
        &self,
        pointer: Pointer,
        keys: &Arc<[SealingKey]>,
    ) -> Result<Result<Assembled, Refusal>, FollowError> {
        let index = ChunkName::from(pointer.index);
        let sealed = self.channel.fetch(&[index]).await?;
        let Some(sealed) = sealed.get(&index) else { return Ok(Err(Refusal::Missing(index))) };
        let assembly = match Assembly::open(pointer, sealed, keys) {
            Ok(assembly) => assembly,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let pieces = self.channel.fetch(&assembly.wanted(self.held.as_deref())).await?;
        let (keys, held) = (Arc::clone(keys), self.held.clone());
        // The first one may be large; sessions go on meanwhile.
        Ok(spawn_blocking(move || assembly.assemble(&pieces, &keys, held.as_deref())).await?)
    }
}
