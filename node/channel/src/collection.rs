//! Which pieces stay when something newer is published: those of the present publication, and of every one that a live node still runs. I/O by its
//! channels.

use std::collections::{BTreeSet, HashMap, HashSet, hash_map::Entry};

use posthouse_config::{Assembly, ChunkName, Pointer, Publication, SCHEMA_MAX, SealingKey, SnapshotHash};

use crate::{Applied, Channel, ChannelError, Lease, Report};

/// What was collected, and what is known of publications that are not the present one.
#[derive(Debug, Default)]
pub(crate) struct Collection {
    /// The publications of which pieces stayed the last time.
    stayed: BTreeSet<SnapshotHash>,
    /// The pieces of those that some live node runs.
    known: HashMap<SnapshotHash, HashSet<ChunkName>>,
}

impl Collection {
    /// Removes from every channel what neither the `present` publication nor a live node needs, if that may be something else than the last time.
    pub(crate) async fn collect(
        &mut self,
        channels: &[Channel],
        present: &Publication,
        live: &[Report],
        keys: &[SealingKey],
        lease: &Lease,
    ) -> Result<(), ChannelError> {
        let applied = live.iter().filter_map(|report| report.applied);
        let others: HashMap<_, _> = applied
            .filter(|applied| applied.hash != present.pointer.index)
            .map(|applied| (applied.hash, applied))
            .collect();
        let staying: BTreeSet<_> = others.keys().copied().chain([present.pointer.index]).collect();
        if staying == self.stayed {
            return Ok(());
        }
        self.known.retain(|hash, _| others.contains_key(hash));
        let mut needed = present.chunks();
        for (hash, applied) in others {
            let pieces = match self.known.entry(hash) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => unknown.insert(pieces(channels, applied, keys).await?),
            };
            needed.extend(pieces.iter());
        }
        for channel in channels {
            channel.collect(&present.pointer, &needed, lease).await?;
        }
        self.stayed = staying;
        Ok(())
    }
}

/// The pieces of a publication, by its index. Without the index, or the key to it, nobody can put the pieces together any more: then there is
/// nothing to keep.
async fn pieces(
    channels: &[Channel],
    applied: Applied,
    keys: &[SealingKey],
) -> Result<HashSet<ChunkName>, ChannelError> {
    let name = ChunkName::from(applied.hash);
    // The index says its own schema.
    let pointer = Pointer { epoch: applied.epoch, schema: SCHEMA_MAX, index: applied.hash, key: applied.key };
    for channel in channels {
        let found = channel.fetch(&[name]).await?;
        let assembly = found.get(&name).and_then(|sealed| Assembly::open(pointer, sealed, keys).ok());
        if let Some(assembly) = assembly {
            return Ok(assembly.wanted(None).into_iter().chain([name]).collect());
        }
    }
    Ok(HashSet::new())
}
