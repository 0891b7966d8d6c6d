//! Random sequences of operations on a store beside the model; a sequence that fails is made short and printed as a list.
//!
//! `POSTHOUSE_SEQUENCES` says how many sequences there are (200), `POSTHOUSE_SEED` which (the seed of the first; the next ones follow).

use libtest_mimic::{Failed, Trial};

use super::{
    compare::{Pair, Trouble},
    operation::{Op, sequence},
    world::{Fixture, MakeFixture, run, wall_clock},
};

/// Operations in a sequence.
const LENGTH: usize = 200;

/// How often a failing sequence is tried again in order to make it shorter.
const SHRINKING_RUNS: usize = 300;

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is to be a number, not {text:?}")))
}

/// How many sequences are wanted, and the first one's seed.
pub(crate) fn wanted() -> (u64, u64) {
    let sequences = setting("POSTHOUSE_SEQUENCES").unwrap_or(200);
    (sequences, setting("POSTHOUSE_SEED").unwrap_or_else(|| wall_clock() * 1_000))
}

/// The trial of one store.
pub(crate) fn trials(store: &str, make: &MakeFixture) -> Vec<Trial> {
    let make = MakeFixture::clone(make);
    let tell = move || {
        let (sequences, first) = wanted();
        eprintln!("{sequences} sequences of {LENGTH} operations: POSTHOUSE_SEED={first}");
        run(async {
            let mut fixture = make();
            for seed in first..first + sequences {
                hold_to_the_model(&mut *fixture, seed).await?;
            }
            Ok(())
        })
    };
    vec![Trial::test(format!("{store}::property::random_operations_do_what_the_model_does"), tell)]
}

async fn hold_to_the_model(fixture: &mut dyn Fixture, seed: u64) -> Result<(), Failed> {
    let ops = sequence(seed, LENGTH);
    let Some((length, complaint)) = fails(fixture, &ops).await else { return Ok(()) };
    let (ops, complaint) = shorten(fixture, ops[..length].to_vec(), complaint).await;
    Err(report(seed, &ops, &complaint).into())
}

/// The failing sequence as a list.
pub(crate) fn report(seed: u64, ops: &[Op], complaint: &str) -> String {
    let list: Vec<String> = ops.iter().enumerate().map(|(place, op)| format!("{place:4}  {op:?}")).collect();
    format!(
        "\n{}\n      {complaint}\n(again with POSTHOUSE_SEED={seed} POSTHOUSE_SEQUENCES=1; the list is the sequence made short)\n",
        list.join("\n")
    )
}

/// Runs a sequence on a fresh store; how many operations it took to fail, and how.
async fn fails(fixture: &mut dyn Fixture, ops: &[Op]) -> Option<(usize, String)> {
    let store = fixture.fresh().await;
    let base = store.time().await.unwrap().0;
    let told = |trouble| match trouble {
        Trouble::Differs(how) => how,
        Trouble::Lost(why) => format!("the store went away: {why}"),
    };
    let mut pair = match Pair::begin(Some(store), base).await {
        Ok(pair) => pair,
        Err(trouble) => return Some((0, told(trouble))),
    };
    for (place, op) in ops.iter().enumerate() {
        if let Err(trouble) = pair.apply(op).await {
            return Some((place + 1, told(trouble)));
        }
    }
    pair.end().await.err().map(|trouble| (ops.len(), told(trouble)))
}

/// Takes away whatever is not needed to fail: first halves, then quarters, and so on down to single operations.
async fn shorten(fixture: &mut dyn Fixture, mut ops: Vec<Op>, mut complaint: String) -> (Vec<Op>, String) {
    let mut runs = SHRINKING_RUNS;
    let mut span = ops.len() / 2;
    while span > 0 {
        let mut from = 0;
        while from < ops.len() && runs > 0 {
            runs -= 1;
            let mut fewer = ops.clone();
            fewer.drain(from..(from + span).min(ops.len()));
            match fails(fixture, &fewer).await {
                Some((length, how)) => {
                    fewer.truncate(length);
                    (ops, complaint) = (fewer, how);
                }
                None => from += span,
            }
        }
        span /= 2;
    }
    (ops, complaint)
}
