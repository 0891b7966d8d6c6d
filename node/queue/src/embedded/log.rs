//! The log: frames in segments. What is here is the form of a frame and of a segment's head; the parts do the I/O.
//!
//! A segment is a file of fixed size whose blocks exist before they are written, so that a sync has no metadata to write. It starts with a
//! head (magic, format version, number, salt, CRC-32 of these, in every format). A frame is: magic, length of the payload, CRC-32, epoch, the position up to which the log was
//! durable when the frame was written, the position at which the frame before it ends; then the payload: length of the effects, the
//! effects, the blobs that they name. Frames start at multiples of eight.
//!
//! The CRC covers everything, seeded with the store's salt and the frame's own position: neither a stale frame of a file that is used
//! again nor a frame forged inside a mail can be taken for one. The epoch grows with every opening, so that frames beyond a cut tail never
//! come back to life. The position of the end before tells whether a frame is missing, whatever lies between, and the durable position
//! whether that is a torn tail (cut it) or damage to what had been confirmed (skip it and say so).

pub(crate) mod scan;
pub(crate) mod segments;

use super::effect::{Blob, Effect, Position};

/// Octets of a segment's head.
pub(crate) const SEGMENT_HEAD: u32 = 64;

/// Octets of a frame before its payload.
pub(crate) const FRAME_HEAD: usize = 32;

/// Frames start at multiples of this.
const ALIGNMENT: usize = 8;

/// The format of segments that this program writes.
pub(super) const SEGMENT_FORMAT: u8 = 1;

/// Octets of a segment's head that its checksum is of.
const SEALED: usize = 24;

const SEGMENT_MAGIC: &[u8; 8] = b"PHQUEUE\n";
pub(super) const FRAME_MAGIC: [u8; 4] = [0xf7, b'P', b'H', 0x0b];

/// A frame that is to be written: everything but its position.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    payload: Vec<u8>,
    blobs_at: u32,
}

impl Frame {
    /// A frame of these effects and blobs. `None`: it cannot be encoded or is longer than any frame may be.
    pub(crate) fn new(effects: &[Effect], blobs: &Blobs) -> Option<Self> {
        let mut payload = Vec::with_capacity(FRAME_HEAD + 64 + effects.len() * 64 + blobs.octets.len());
        payload.resize(FRAME_HEAD + 4, 0);
        let mut payload = postcard::to_extend(effects, payload).ok()?;
        let effects_len = u32::try_from(payload.len() - FRAME_HEAD - 4).ok()?;
        payload.get_mut(FRAME_HEAD..FRAME_HEAD + 4)?.copy_from_slice(&effects_len.to_le_bytes());
        let blobs_at = u32::try_from(payload.len()).ok()?;
        payload.extend_from_slice(&blobs.octets);
        u32::try_from(payload.len()).ok()?;
        Some(Self { payload, blobs_at })
    }

    /// Octets that it takes in a segment.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.payload.len().next_multiple_of(ALIGNMENT)).unwrap_or(u32::MAX)
    }

    /// Where its blobs start, if it starts at `position`.
    pub(crate) fn blobs(&self, position: Position) -> Position {
        Position { offset: position.offset.saturating_add(self.blobs_at), ..position }
    }

    /// Puts it behind `buffer`, which ends at its position.
    pub(crate) fn write(mut self, salt: u64, epoch: u32, place: Place, buffer: &mut Vec<u8>) {
        let len = u32::try_from(self.payload.len() - FRAME_HEAD).unwrap_or(u32::MAX);
        let mut head = [0; FRAME_HEAD];
        let Place { position, follows, durable } = place;
        let fields = [
            FRAME_MAGIC,
            len.to_le_bytes(),
            [0; 4],
            epoch.to_le_bytes(),
            durable.segment.to_le_bytes(),
            durable.offset.to_le_bytes(),
            follows.segment.to_le_bytes(),
            follows.offset.to_le_bytes(),
        ];
        head.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = from);
        let crc = crc(salt, position, &head, self.payload.get(FRAME_HEAD..).unwrap_or_default());
        head.iter_mut().skip(8).zip(crc.to_le_bytes()).for_each(|(to, from)| *to = from);
        self.payload.iter_mut().zip(head).for_each(|(to, from)| *to = from);
        self.payload.resize(self.payload.len().next_multiple_of(ALIGNMENT), 0);
        buffer.append(&mut self.payload);
    }
}

/// Where a frame stands in the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) position: Position,
    /// The end of the frame before it.
    pub(crate) follows: Position,
    /// The log is durable up to here.
    pub(crate) durable: Position,
}

/// The blobs of a frame in the making.
#[derive(Debug, Default)]
pub(crate) struct Blobs {
    octets: Vec<u8>,
}

impl Blobs {
    /// Adds one.
    pub(crate) fn push(&mut self, blob: &[u8]) -> Blob {
        // Longer than 4 GiB: the frame is refused as a whole, so what is told here is never used.
        let at = u32::try_from(self.octets.len()).unwrap_or(u32::MAX);
        self.octets.extend_from_slice(blob);
        Blob { at, len: u32::try_from(blob.len()).unwrap_or(u32::MAX) }
    }
}

/// A frame that was read.
#[derive(Debug)]
pub(crate) struct Found {
    /// `None`: it is whole, and this program does not know what it says. A newer one wrote it.
    pub(crate) effects: Option<Vec<Effect>>,
    /// Where its blobs start.
    pub(crate) blobs: Position,
    pub(crate) epoch: u32,
    /// The log was durable up to here when it was written.
    pub(crate) durable: Position,
    /// Where the frame before it ends.
    pub(crate) follows: Position,
    /// Octets that it takes in its segment.
    pub(crate) len: u32,
}

/// The frame at `position`, where `octets` are what follows there.
pub(crate) fn read(salt: u64, position: Position, octets: &[u8]) -> Option<Found> {
    let head = octets.first_chunk::<FRAME_HEAD>()?;
    let FrameHead { magic, len, crc: sum, epoch, durable, follows } = FrameHead::of(head)?;
    if magic != FRAME_MAGIC {
        return None;
    }
    let end = FRAME_HEAD.checked_add(len as usize)?;
    let payload = octets.get(FRAME_HEAD..end)?;
    if crc(salt, position, head, payload) != sum {
        return None;
    }
    let (effects_len, rest) = payload.split_first_chunk::<4>()?;
    let effects_len = u32::from_le_bytes(*effects_len);
    let effects = rest.get(..effects_len as usize).and_then(|effects| postcard::from_bytes(effects).ok());
    let blobs_at = u32::try_from(FRAME_HEAD + 4).ok()?.checked_add(effects_len)?;
    Some(Found {
        effects,
        blobs: Position { offset: position.offset.checked_add(blobs_at)?, ..position },
        epoch,
        durable,
        follows,
        len: u32::try_from(end.next_multiple_of(ALIGNMENT)).ok()?,
    })
}

/// The end of what was to be the next frame of the log, if `octets`, which no frame can be read from, have a head that says so: its place
/// is `position`, and it follows the frame that ends at `follows`.
pub(crate) fn half_frame(octets: &[u8], position: Position, follows: Position) -> Option<Position> {
    let head = FrameHead::of(octets.first_chunk::<FRAME_HEAD>()?)?;
    let len = FRAME_HEAD.checked_add(head.len as usize)?.next_multiple_of(ALIGNMENT);
    let end = position.offset.checked_add(u32::try_from(len).ok()?)?;
    (head.follows == follows).then_some(Position { offset: end, ..position })
}

/// What the head of a frame says.
struct FrameHead {
    magic: [u8; 4],
    len: u32,
    crc: u32,
    epoch: u32,
    durable: Position,
    follows: Position,
}

impl FrameHead {
    fn of(head: &[u8; FRAME_HEAD]) -> Option<Self> {
        let (fields, _) = head.as_chunks::<4>();
        let [magic, len, crc, epoch, durable_segment, durable_offset, segment, offset] = *fields else {
            return None;
        };
        let position = |segment: [u8; 4], offset: [u8; 4]| Position {
            segment: u32::from_le_bytes(segment),
            offset: u32::from_le_bytes(offset),
        };
        Some(Self {
            magic,
            len: u32::from_le_bytes(len),
            crc: u32::from_le_bytes(crc),
            epoch: u32::from_le_bytes(epoch),
            durable: position(durable_segment, durable_offset),
            follows: position(segment, offset),
        })
    }
}

/// The checksum of a frame; where the head has it, nothing counts.
pub(super) fn crc(salt: u64, position: Position, head: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_le_bytes());
    crc.update(&position.number().to_le_bytes());
    crc.update(head.get(..8).unwrap_or_default());
    crc.update(&[0; 4]);
    crc.update(head.get(12..).unwrap_or_default());
    crc.update(payload);
    crc.finalize()
}

/// The head of a segment.
pub(crate) fn segment_head(segment: u32, salt: u64) -> [u8; SEGMENT_HEAD as usize] {
    let mut head = [0; SEGMENT_HEAD as usize];
    let fields = SEGMENT_MAGIC
        .iter()
        .copied()
        .chain([SEGMENT_FORMAT, 0, 0, 0])
        .chain(segment.to_le_bytes())
        .chain(salt.to_le_bytes());
    head.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    seal_segment_head(&mut head);
    head
}

/// Puts the checksum of a segment's head in its place. A wrong one tells a damaged format number from a newer one, so it stands at the
/// same place in every format.
pub(super) fn seal_segment_head(head: &mut [u8; SEGMENT_HEAD as usize]) {
    let crc = head.get(..SEALED).map_or(0, crc32fast::hash).to_le_bytes();
    head.iter_mut().skip(SEALED).zip(crc).for_each(|(to, from)| *to = from);
}

/// What a segment's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentHead {
    /// It is this one's.
    Good,
    /// A newer program wrote it.
    Newer(u8),
    /// It is damaged, or another's.
    Damaged,
}

/// Reads the head of a segment.
pub(crate) fn read_segment_head(head: &[u8; SEGMENT_HEAD as usize], segment: u32, salt: u64) -> SegmentHead {
    if *head == segment_head(segment, salt) {
        return SegmentHead::Good;
    }
    let mut sealed = *head;
    seal_segment_head(&mut sealed);
    match head.get(8) {
        Some(format) if sealed == *head && head.starts_with(SEGMENT_MAGIC) && *format > SEGMENT_FORMAT => {
            SegmentHead::Newer(*format)
        }
        _ => SegmentHead::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_only_where_it_was_written_and_only_whole() {
        let position = Position { segment: 3, offset: 64 };
        let mut blobs = Blobs::default();
        let blob = blobs.push(b"content");
        let effects = vec![Effect::Tokens(7)];
        let frame = Frame::new(&effects, &blobs).unwrap();
        let (len, base) = (frame.len(), frame.blobs(position));
        let mut octets = Vec::new();
        frame.write(9, 2, Place { position, ..Place::default() }, &mut octets);
        assert_eq!(octets.len(), len as usize);
        let found = read(9, position, &octets).unwrap();
        assert_eq!((found.effects, found.len, found.epoch, found.blobs), (Some(effects), len, 2, base));
        let start = (base.locate(blob).offset - position.offset) as usize;
        assert_eq!(&octets[start..start + 7], b"content");
        assert!(read(9, Position { segment: 4, ..position }, &octets).is_none());
        assert!(read(8, position, &octets).is_none());
        let written = FRAME_HEAD + u32::from_le_bytes(octets[4..8].try_into().unwrap()) as usize;
        for end in 0..written {
            assert!(read(9, position, &octets[..end]).is_none(), "cut at {end}");
        }
        for place in 0..written {
            let mut damaged = octets.clone();
            damaged[place] ^= 4;
            assert!(read(9, position, &damaged).is_none(), "damaged at {place}");
        }
    }
}
