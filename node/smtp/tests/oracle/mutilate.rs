//! Makes texts worse, and failures smaller.

use rand::{Rng as _, rngs::StdRng};

/// A text with one to three things done to it: cut, doubled, its case changed, something put in.
pub(crate) fn mutilated(random: &mut StdRng, mut text: Vec<u8>, pieces: &[&[u8]]) -> Vec<u8> {
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..=text.len());
        let end = (at + random.random_range(1..10)).min(text.len());
        match random.random_range(0..6) {
            0 => drop(text.drain(at..end)),
            1 => {
                let part = text[at..end].to_vec();
                text.splice(end..end, part);
            }
            2 => text[at..end].iter_mut().for_each(|octet| {
                *octet = if octet.is_ascii_lowercase() {
                    octet.to_ascii_uppercase()
                } else {
                    octet.to_ascii_lowercase()
                };
            }),
            _ => {
                let piece = pieces[random.random_range(0..pieces.len())];
                text.splice(at..at, piece.iter().copied());
            }
        }
    }
    text
}

/// The text with as much left out as still is bad.
pub(crate) fn shrunk(text: &[u8], is_bad: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut least = text.to_vec();
    let mut length = least.len().div_ceil(2);
    while length > 0 {
        let mut at = 0;
        while at < least.len() {
            let end = (at + length).min(least.len());
            let tried = [&least[..at], &least[end..]].concat();
            if is_bad(&tried) {
                least = tried;
            } else {
                at += 1;
            }
        }
        length /= 2;
    }
    least
}

/// One of some words.
pub(crate) fn one_of<'w>(random: &mut StdRng, words: &[&'w str]) -> &'w str {
    words[random.random_range(0..words.len())]
}
