//! Our parsers beside those of smtp-proto, which others wrote from the same RFCs: command lines as our server session understands them, replies and
//! answers to EHLO as our client session does.
//!
//! Where both understand a text they must understand the same; where only one takes it, or they differ in what it means, the difference is on
//! a list with its reason and the RFC that says who is right (`differences.rs`, `replies.rs`). What is on no list fails, and so does what is on a
//! list but never comes: a list that nobody needs any more hides what comes next. What was built by the grammar and not mutilated is understood
//! here, whatever smtp-proto says of it.
//!
//! `POSTHOUSE_TEXTS` says how many texts (10,000), `POSTHOUSE_SEED` which (1); a failure names the seed, and the text that was cut down as far as it
//! shows the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod differences;
mod lines;
mod mutilate;
mod replies;
mod requests;

use std::{collections::BTreeSet, fmt::Debug};

use rand::{SeedableRng as _, rngs::StdRng};

/// Which texts, and how many, if nothing else is said.
const SEED: u64 = 1;
const TEXTS: u64 = 10_000;

/// What one parser made of a text: what it means, or why it was refused.
type Judged<T> = Result<T, String>;

/// A kind of difference: its name with the RFC that says who is right, and whether it is this one.
type Difference<T> = (&'static str, fn(&Case<'_, T>) -> bool);

/// A text of which the two parsers do not say the same.
struct Case<'t, T> {
    text: &'t [u8],
    ours: &'t Judged<T>,
    theirs: &'t Judged<T>,
}

impl<T> Case<'_, T> {
    /// The text, as far as it is one.
    fn text(&self) -> String {
        String::from_utf8_lossy(self.text).into_owned()
    }

    /// Whether only we refuse it, for this reason.
    fn only_we_refuse(&self, why: &str) -> bool {
        self.theirs.is_ok() && self.ours.as_ref().is_err_and(|reason| reason.contains(why))
    }

    /// Whether only they refuse it, for this reason.
    fn only_they_refuse(&self, why: &str) -> bool {
        self.ours.is_ok() && self.theirs.as_ref().is_err_and(|reason| reason.contains(why))
    }

    /// Whether both take it.
    fn both_take(&self) -> bool {
        self.ours.is_ok() && self.theirs.is_ok()
    }
}

/// Two parsers of the same, and the differences between them that are justified.
struct Comparison<T: 'static> {
    ours: fn(&[u8]) -> Judged<T>,
    theirs: fn(&[u8]) -> Judged<T>,
    listed: &'static [Difference<T>],
}

impl<T: PartialEq + Debug> Comparison<T> {
    /// The listed difference of a text; none if there is no difference at all.
    fn difference(&self, text: &[u8]) -> Result<Option<&'static str>, String> {
        let (ours, theirs) = ((self.ours)(text), (self.theirs)(text));
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => return Ok(None),
            (Err(_), Err(_)) => return Ok(None),
            _ => {}
        }
        let case = Case { text, ours: &ours, theirs: &theirs };
        let listed = self.listed.iter().find(|(_, is_this)| is_this(&case));
        listed
            .map(|(name, _)| Some(*name))
            .ok_or_else(|| format!("we say {ours:?}, smtp-proto says {theirs:?}"))
    }

    /// Compares texts; each is given with whether the grammar made it.
    fn run(&self, mut text: impl FnMut(&mut StdRng) -> (Vec<u8>, bool)) {
        let seed = number("POSTHOUSE_SEED", SEED);
        let count = number("POSTHOUSE_TEXTS", TEXTS);
        let mut random = StdRng::seed_from_u64(seed);
        let (mut seen, mut agreed) = (BTreeSet::new(), 0_u64);
        for _ in 0..count {
            let (text, is_by_the_grammar) = text(&mut random);
            let ours = (self.ours)(&text);
            if is_by_the_grammar && let Err(reason) = &ours {
                panic!("seed {seed}: {:?} is refused: {reason}", String::from_utf8_lossy(&text));
            }
            match self.difference(&text) {
                Ok(Some(name)) => {
                    seen.insert(name);
                }
                Ok(None) => agreed += u64::from(ours.is_ok()),
                Err(_) => {
                    let least = mutilate::shrunk(&text, |text| self.difference(text).is_err());
                    let why = self.difference(&least).unwrap_err();
                    panic!("seed {seed}: {:?}: {why}", String::from_utf8_lossy(&least));
                }
            }
        }
        assert!(agreed > count / 5, "only {agreed} texts of {count} were understood by both");
        // Fewer texts, or others, need not come to everything.
        if (seed, count) != (SEED, TEXTS) {
            return;
        }
        let never: Vec<_> =
            self.listed.iter().map(|(name, _)| *name).filter(|name| !seen.contains(name)).collect();
        assert!(never.is_empty(), "on the list, and never seen: {never:#?}");
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn command_lines_mean_the_same_to_smtp_proto() {
    requests::COMPARISON.run(lines::line);
}

#[test]
fn replies_mean_the_same_to_smtp_proto() {
    replies::REPLIES.run(replies::reply);
}

#[test]
fn answers_to_ehlo_mean_the_same_to_smtp_proto() {
    replies::OFFERS.run(replies::offer);
}
