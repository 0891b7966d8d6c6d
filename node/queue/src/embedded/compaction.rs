//! Segments by their live share: one of which nothing is needed is taken out of use, one of which little is needed is emptied by copying
//! that to the head of the log. Blocking file I/O.

use std::io;

use posthouse_model::MessageId;

use super::{
    core::{Inner, Shared, Spare, Until},
    effect::{Effect, Location, Stored},
    housekeeper::until_synced,
    log::{Blobs, scan},
    state::Slot,
};

/// A segment is emptied when less than one part in so many of it is needed.
const LIVE_SHARE: u64 = 4;

/// Octets copied in one step.
const STEP: usize = 256 << 10;

/// Frees what can be freed. Only segments below the last checkpoint: recovery reads the others from end to end.
pub(crate) fn run(shared: &Shared) -> io::Result<()> {
    let (checkpoint, size, kept) = {
        let inner = shared.lock_anyway();
        (inner.checkpoint, u64::from(inner.segment_size), inner.kept)
    };
    let numbers = shared.segments.numbers().into_iter();
    for segment in numbers.filter(|number| *number < checkpoint.segment && Some(*number) > kept) {
        let (live, room) = {
            let inner = shared.lock_anyway();
            (inner.state.live.get(&segment).copied().unwrap_or(0), inner.spare == Spare::Ready)
        };
        if live > 0 && live < size / LIVE_SHARE && room {
            empty(shared, segment)?;
        }
        let live = shared.lock_anyway().state.live.get(&segment).copied().unwrap_or(0);
        // What took the last of it away must be on disk first: a row of the index may still name this segment.
        if live == 0 && until_synced(shared) {
            shared.lock_anyway().state.live.remove(&segment);
            shared.segments.retire(segment)?;
        }
    }
    Ok(())
}

/// What a frame of the segment has that may still be needed.
enum Candidate {
    Message(MessageId),
    Body(MessageId, u16),
}

fn empty(shared: &Shared, segment: u32) -> io::Result<()> {
    let mut candidates = Vec::new();
    scan::frames(&shared.segments, segment, |effects| {
        for effect in effects {
            match effect {
                Effect::Message(row) => {
                    let id = MessageId::from(row.id);
                    candidates.push(Candidate::Message(id));
                    candidates.extend(row.entries.iter().map(|entry| Candidate::Body(id, entry.index)));
                }
                Effect::MovedMessage { id, .. } => candidates.push(Candidate::Message(id.into())),
                Effect::Body { id, index, .. } | Effect::MovedBody { id, index, .. } => {
                    candidates.push(Candidate::Body(id.into(), index));
                }
                Effect::Added { id, entry } => candidates.push(Candidate::Body(id.into(), entry.index)),
                _ => {}
            }
        }
    })?;
    let mut candidates = candidates.into_iter().peekable();
    while candidates.peek().is_some() {
        // Read outside the lock, then put in place what has not moved or gone meanwhile.
        let mut copies = Vec::new();
        let mut octets = 0;
        while octets < STEP
            && let Some(candidate) = candidates.next()
        {
            if let Some(copy) = read(shared, segment, &candidate)? {
                octets += copy.meta.len() + copy.content.len();
                copies.push(copy);
            }
        }
        let step = shared.step(Until::Synced, |inner| {
            let mut blobs = Blobs::default();
            let effects: Vec<Effect> =
                copies.iter().filter_map(|copy| copy.effect(inner, &mut blobs)).collect();
            inner.commit(effects, &blobs, true)
        });
        let moved = match step {
            Ok(((), Some(done))) => done.blocking_recv().is_ok_and(|done| done.is_ok()),
            Ok(((), None)) => true,
            Err(_) => false,
        };
        if !moved {
            return Err(io::Error::other("the log did not take what was copied"));
        }
    }
    Ok(())
}

/// Octets that were read from the segment, and where they are needed.
struct Copy {
    candidate: Candidate,
    from: Location,
    meta: Vec<u8>,
    content: Vec<u8>,
}

fn read(shared: &Shared, segment: u32, candidate: &Candidate) -> io::Result<Option<Copy>> {
    let (from, content) = {
        let inner = shared.lock_anyway();
        match candidate {
            Candidate::Message(id) => match inner.state.message(*id) {
                Some((_, message)) => (message.meta, Some(message.content)),
                None => return Ok(None),
            },
            Candidate::Body(id, index) => match body(&inner, *id, *index) {
                Some((_, body)) => (body, None),
                None => return Ok(None),
            },
        }
    };
    if from.segment != segment {
        return Ok(None);
    }
    let meta = shared.segments.read(from)?;
    let content = match content {
        Some(Stored::Log(content)) => shared.segments.read(content)?,
        _ => Vec::new(),
    };
    let candidate = match candidate {
        Candidate::Message(id) => Candidate::Message(*id),
        Candidate::Body(id, index) => Candidate::Body(*id, *index),
    };
    Ok(Some(Copy { candidate, from, meta, content }))
}

fn body(inner: &Inner, id: MessageId, index: u16) -> Option<(Slot, Location)> {
    let slot = inner.state.find(id.entry(index))?;
    Some((slot, inner.state.slots.at(slot)?.body))
}

impl Copy {
    /// The effect of the copy, unless what it is of went elsewhere.
    fn effect(&self, inner: &Inner, blobs: &mut Blobs) -> Option<Effect> {
        match self.candidate {
            Candidate::Message(id) => {
                let (_, message) =
                    inner.state.message(id).filter(|(_, message)| message.meta == self.from)?;
                let meta = blobs.push(&self.meta);
                let content = match message.content {
                    Stored::Log(_) => Stored::Log(blobs.push(&self.content)),
                    Stored::File { chunks } => Stored::File { chunks },
                };
                Some(Effect::MovedMessage { id: id.into(), meta, content })
            }
            Candidate::Body(id, index) => {
                body(inner, id, index).filter(|(_, body)| *body == self.from)?;
                Some(Effect::MovedBody { id: id.into(), index, body: blobs.push(&self.meta) })
            }
        }
    }
}
