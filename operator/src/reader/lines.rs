//! Where the fields of a document stand, in eight octets for each that stands on a line of its own: findings name lines, and ten thousand
//! documents are held. Pure.

use super::node::{Content, Node};

/// The lines of a document, counted from the beginning of what was read at once.
#[derive(Debug, Default)]
pub(super) struct Lines {
    root: u32,
    /// By the hash of the path; what stands on the line of what it is in is left out. Two paths of one hash cost no more than a wrong line number.
    fields: Box<[(u32, u32)]>,
}

impl Lines {
    pub(super) fn of(node: &Node) -> Self {
        let mut fields = Vec::new();
        let root = short(node.line);
        collect(node, Hash::EMPTY, root, Names::Too, &mut fields);
        fields.sort_unstable();
        fields.dedup_by_key(|(hash, _)| *hash);
        Self { root, fields: fields.into() }
    }

    /// The line of a field such as `spec.listeners[0].port` or `spec.listeners[smtp]`; where it is not there (it is missing, perhaps), of what is
    /// nearest above it.
    pub(super) fn of_field(&self, path: &str) -> usize {
        // Names of labels and of Secret keys have dots: each of them may be an end, and the longest path that is there is meant.
        let mut line = self.root;
        let mut hash = Hash::EMPTY;
        let mut octets = path.bytes().peekable();
        while let Some(octet) = octets.next() {
            hash = hash.and(octet);
            let is_end = octets.peek().is_none_or(|next| matches!(next, b'.' | b'['));
            if is_end && let Ok(place) = self.fields.binary_search_by_key(&hash.0, |(hash, _)| *hash) {
                line = self.fields.get(place).map_or(line, |(_, line)| *line);
            }
        }
        usize::try_from(line).unwrap_or(usize::MAX)
    }
}

/// Whether the entries of lists are found by their names as well: below a name they are not, or nested lists would double with each level.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Too,
    Not,
}

fn collect(node: &Node, path: Hash, above: u32, names: Names, lines: &mut Vec<(u32, u32)>) {
    let mut child = |node: &Node, path: Hash, line: usize, names: Names| {
        let line = short(line);
        if line != above {
            lines.push((path.0, line));
        }
        collect(node, path, line, names, lines);
    };
    match &node.content {
        Content::Scalar(_) => {}
        Content::List(items) => {
            for (place, item) in items.iter().enumerate() {
                let entry = |of: &str| path.and_text("[").and_text(of).and_text("]");
                child(item, entry(&place.to_string()), item.line, names);
                // A list by name: `spec.listeners[smtp]`.
                if let Some(name) = item.text("name").filter(|_| names == Names::Too) {
                    child(item, entry(name), item.line, Names::Not);
                }
            }
        }
        Content::Block(fields) => {
            for field in fields {
                let before = if path.0 == Hash::EMPTY.0 { path } else { path.and_text(".") };
                child(&field.value, before.and_text(&field.name), field.line, names);
            }
        }
    }
}

/// FNV-1a, which goes on from any prefix: the paths themselves need not be put together.
#[derive(Clone, Copy)]
struct Hash(u32);

impl Hash {
    const EMPTY: Self = Self(0x811c_9dc5);

    fn and(self, octet: u8) -> Self {
        Self((self.0 ^ u32::from(octet)).wrapping_mul(0x0100_0193))
    }

    fn and_text(self, text: &str) -> Self {
        text.bytes().fold(self, Self::and)
    }
}

fn short(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}
