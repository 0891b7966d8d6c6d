//! Reading the log from a position to its end: what recovery replays, and what a compaction looks through. Blocking file I/O.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use super::{
    FRAME_HEAD, Found, SEGMENT_FORMAT, SEGMENT_HEAD, SegmentHead, half_frame, read, segments::Segments,
};
use crate::embedded::effect::{Effect, Position};

/// Read from a segment at once.
const WINDOW: usize = 256 * 1024;

/// What a scan found besides frames.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// The end of the log: where the next frame goes.
    pub(crate) end: Position,
    /// What cannot be read.
    pub(crate) unread: Vec<Unread>,
    /// Octets of the frames that were read.
    pub(crate) octets: u64,
}

/// A part of a segment that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) segment: u32,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) why: Why,
}

/// Why a part of the log cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// What was confirmed is damaged.
    Damaged,
    /// It is a whole frame of a newer program.
    Newer,
    /// It is what a power failure leaves of a batch that nobody was told of; or the last frames are damaged, which looks the same.
    Tail,
}

/// Why the log cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    #[error("the log cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(
        "segment {segment} of the log has format {format}, and this version of Posthouse reads formats up to {SEGMENT_FORMAT}: \
         start the newer version again, which alone can deliver what is queued here"
    )]
    Newer { segment: u32, format: u8 },
}

/// Reads every frame from `from` on and gives what it says, and where its blobs start, to `each`, in order.
pub(crate) fn scan(
    segments: &Segments,
    from: Position,
    mut each: impl FnMut(Vec<Effect>, Position),
) -> Result<Scanned, ScanError> {
    check_heads(segments)?;
    let mut scanned = Scanned { end: from, ..Scanned::default() };
    let mut epoch = 0;
    let mut torn = from;
    for segment in segments.numbers().into_iter().filter(|number| *number >= from.segment) {
        let Some(file) = segments.file(segment) else { continue };
        let start = if segment == from.segment { from.offset } else { SEGMENT_HEAD };
        let mut reader = Reader { file: &file, size: segments.size(), window: Vec::new(), start: 0 };
        let mut position = Position { segment, offset: start.max(SEGMENT_HEAD) };
        while position.offset < segments.size() {
            let found = reader.frame(segments.salt(), position)?.filter(|found| found.epoch >= epoch);
            let Some(found) = found else {
                position.offset = reader.next_candidate(position.offset.saturating_add(8))?;
                continue;
            };
            let start = position;
            position.offset = position.offset.saturating_add(found.len);
            if found.follows != scanned.end {
                if found.durable <= scanned.end {
                    // What comes before it is missing and was not durable when it was written: part of the same torn tail.
                    torn = position;
                    continue;
                }
                scanned.missing(segments, start, Why::Damaged);
            }
            epoch = found.epoch;
            scanned.end = position;
            scanned.octets += u64::from(found.len);
            match found.effects {
                Some(effects) => each(effects, found.blobs),
                None => scanned.unread.push(Unread {
                    segment,
                    from: start.offset,
                    to: position.offset,
                    why: Why::Newer,
                }),
            }
        }
    }
    let tail = torn.max(half_written(segments, scanned.end)?);
    scanned.missing(segments, tail, Why::Tail);
    Ok(scanned)
}

/// Also those before the position: entries may have their bodies there.
fn check_heads(segments: &Segments) -> Result<(), ScanError> {
    for segment in segments.numbers() {
        match segments.head(segment)? {
            SegmentHead::Newer(format) => return Err(ScanError::Newer { segment, format }),
            SegmentHead::Damaged => {
                tracing::warn!(
                    segment,
                    "the head of a segment of the queue's log is damaged; its frames vouch for themselves"
                );
            }
            SegmentHead::Good => {}
        }
    }
    Ok(())
}

/// The end of a frame that was begun at the end of the log, or in the next segment; the end of the log if there is none.
fn half_written(segments: &Segments, end: Position) -> io::Result<Position> {
    let next = Position { segment: end.segment.saturating_add(1), offset: SEGMENT_HEAD };
    let mut upto = end;
    for place in [end, next] {
        if let Some(file) = segments.file(place.segment) {
            let mut reader = Reader { file: &file, size: segments.size(), window: Vec::new(), start: 0 };
            let head = reader.octets(place.offset, FRAME_HEAD)?;
            upto = upto.max(half_frame(head, place, end).unwrap_or(end));
        }
    }
    Ok(Position { offset: upto.offset.min(segments.size()), ..upto })
}

impl Scanned {
    /// Notes that nothing can be read between the last frame and `to`, segment by segment.
    fn missing(&mut self, segments: &Segments, to: Position, why: Why) {
        let end = self.end;
        for segment in segments.numbers().into_iter().filter(|n| (end.segment..=to.segment).contains(n)) {
            let from = if segment == end.segment { end.offset } else { SEGMENT_HEAD };
            let to = if segment == to.segment { to.offset } else { segments.size() };
            if from < to {
                self.unread.push(Unread { segment, from, to, why });
            }
        }
    }
}

/// A segment read through a window.
struct Reader<'a> {
    file: &'a File,
    size: u32,
    window: Vec<u8>,
    start: u32,
}

impl Reader<'_> {
    /// Octets from `offset` on, `want` of them or as many as there are.
    fn octets(&mut self, offset: u32, want: usize) -> io::Result<&[u8]> {
        let want = want.min(self.size.saturating_sub(offset) as usize);
        let within = offset.checked_sub(self.start).map(|skip| skip as usize);
        let there = within.is_some_and(|skip| skip + want <= self.window.len());
        if !there {
            let len = want.max(WINDOW).min(self.size.saturating_sub(offset) as usize);
            self.window.resize(len, 0);
            self.start = offset;
            let mut filled = 0;
            while filled < len {
                let rest = self.window.get_mut(filled..).unwrap_or_default();
                match self.file.read_at(rest, u64::from(offset) + filled as u64)? {
                    0 => break,
                    more => filled += more,
                }
            }
            self.window.truncate(filled);
        }
        let skip = offset.saturating_sub(self.start) as usize;
        let end = (skip + want).min(self.window.len());
        Ok(self.window.get(skip..end).unwrap_or_default())
    }

    fn frame(&mut self, salt: u64, position: Position) -> io::Result<Option<Found>> {
        let head = self.octets(position.offset, FRAME_HEAD)?;
        let Some((magic, rest)) = head.split_first_chunk::<4>() else { return Ok(None) };
        let (true, Some(len)) = (*magic == super::FRAME_MAGIC, rest.first_chunk::<4>()) else {
            return Ok(None);
        };
        let len = FRAME_HEAD.saturating_add(u32::from_le_bytes(*len) as usize);
        if len > self.size as usize {
            return Ok(None);
        }
        let octets = self.octets(position.offset, len)?;
        Ok(read(salt, position, octets))
    }

    /// The next place from `offset` on that looks like a frame; the end if there is none.
    fn next_candidate(&mut self, mut offset: u32) -> io::Result<u32> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while offset < self.size {
            let part = self.octets(offset, ZEROS.len())?;
            if part.is_empty() {
                return Ok(self.size);
            }
            let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            // A comparison of whole blocks first: a fresh segment is megabytes of zeros.
            if ZEROS.get(..part.len()) != Some(part)
                && let Some(place) = part.chunks(8).position(|octets| octets.starts_with(&super::FRAME_MAGIC))
            {
                return Ok(offset
                    .saturating_add(u32::try_from(place * 8).unwrap_or(u32::MAX))
                    .min(self.size));
            }
            offset = offset.saturating_add(len);
        }
        Ok(self.size)
    }
}

/// Reads every whole frame of one segment that is complete and gives what it says to `each`.
pub(crate) fn frames(segments: &Segments, segment: u32, mut each: impl FnMut(Vec<Effect>)) -> io::Result<()> {
    let Some(file) = segments.file(segment) else { return Ok(()) };
    let mut reader = Reader { file: &file, size: segments.size(), window: Vec::new(), start: 0 };
    let mut position = Position { segment, offset: SEGMENT_HEAD };
    while position.offset < segments.size() {
        if let Some(found) = reader.frame(segments.salt(), position)? {
            position.offset = position.offset.saturating_add(found.len);
            each(found.effects.unwrap_or_default());
        } else {
            position.offset = reader.next_candidate(position.offset.saturating_add(8))?;
        }
    }
    Ok(())
}
