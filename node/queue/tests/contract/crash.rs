//! Crashes: SIGKILL at a random point of a random sequence; what is there afterwards is what the model has, with the operation that was under
//! way done or not. Either the server is killed (its log is synced always), or a child process that has the store open: this very program,
//! started again with [`CHILD`] set, which says each operation over a pipe when it is done.
//!
//! `POSTHOUSE_CRASHES` says how many crashes there are (20); seeds are those of the random operations.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use libtest_mimic::{Failed, Trial};
use posthouse_model::EntryId;
use posthouse_queue::Store;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    compare::{Pair, Trouble},
    model::Choice,
    operation::{Op, sequence},
    property::{report, setting, wanted},
    world::{Fixture, run, wall_clock},
};

/// Names the folder, the seed and the first moment to the child that is to be killed.
const CHILD: &str = "POSTHOUSE_QUEUE_CRASH_CHILD";

/// Operations before the kill at most, and after the crash.
const BEFORE: usize = 150;
const AFTER: usize = 50;

/// A fixture whose server can be killed at any moment.
pub(crate) trait Crashing: Fixture {
    /// The server's process id.
    fn process(&mut self) -> u32;
}

/// When to kill.
struct Moment {
    /// After so many operations.
    operations: usize,
    /// And so much later.
    span: Duration,
}

impl Moment {
    fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed ^ 0xdead);
        let span = Duration::from_micros(random.random_range(0..3_000));
        Self { operations: random.random_range(5..BEFORE - 20), span }
    }

    /// Kills this process, which the caller started, when the moment has come.
    fn kill(&self, process: u32) {
        // Spinning: sleeping would round the moment up, and the point of it is to be any moment.
        let begun = Instant::now();
        while begun.elapsed() < self.span {
            std::hint::spin_loop();
        }
        let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }
}

/// The crash trial of a store in a server.
pub(crate) fn of_a_server<F: Crashing>(store: &str, lend: impl Fn() -> F + Send + 'static) -> Trial {
    Trial::test(format!("{store}::crash::nothing_confirmed_is_lost_when_the_server_is_killed"), move || {
        each_crash(|seed| run(kill_server(&mut lend(), seed)))
    })
}

/// The crash trial of a store in a process.
pub(crate) fn of_a_process(store: &str, open: fn(&Path) -> Arc<dyn Store>) -> Trial {
    Trial::test(format!("{store}::crash::nothing_confirmed_is_lost_when_the_process_is_killed"), move || {
        each_crash(|seed| {
            let folder = tempfile::Builder::new().prefix("posthouse-queue-").tempdir()?;
            run(kill_child(folder.path(), seed, open))
        })
    })
}

fn each_crash(crash: impl Fn(u64) -> Result<(), Failed>) -> Result<(), Failed> {
    let (_, first) = wanted();
    let crashes = setting("POSTHOUSE_CRASHES").unwrap_or(20);
    eprintln!("{crashes} crashes: POSTHOUSE_SEED={first}");
    (first..first + crashes).try_for_each(crash)
}

async fn kill_server(fixture: &mut impl Crashing, seed: u64) -> Result<(), Failed> {
    let store = fixture.fresh().await;
    let base = store.time().await.unwrap().0;
    let ops = sequence(seed, BEFORE);
    let failed = |done: usize, trouble| told(seed, &ops[..done], trouble);
    let mut pair = Pair::begin(Some(Arc::clone(&store)), base).await.map_err(|trouble| failed(0, trouble))?;
    let (moment, process) = (Moment::of(seed), fixture.process());
    let mut killer = None;
    let mut doubt = Vec::new();
    let mut done = 0;
    for op in &ops {
        if done == moment.operations {
            let moment = Moment::of(seed);
            killer = Some(std::thread::spawn(move || moment.kill(process)));
        }
        let before = pair.fork();
        match pair.apply(op).await {
            Ok(()) => done += 1,
            Err(Trouble::Lost(_)) if killer.is_some() => {
                doubt = either_way(before, op).await;
                break;
            }
            Err(trouble) => return Err(failed(done + 1, trouble)),
        }
    }
    killer.unwrap().join().unwrap();
    doubt.push(pair.fork());
    drop(pair);
    let store = fixture.restart(store).await;
    compare_after(store, doubt, seed, &ops[..(done + 1).min(ops.len())]).await
}

async fn kill_child(folder: &Path, seed: u64, open: fn(&Path) -> Arc<dyn Store>) -> Result<(), Failed> {
    let base = wall_clock();
    let ops = sequence(seed, BEFORE);
    let moment = Moment::of(seed);
    let mut child = Command::new(std::env::current_exe()?)
        .env(CHILD, format!("{seed} {base} {}", folder.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut done: Vec<String> = said.by_ref().take(moment.operations).collect();
    moment.kill(child.id());
    done.extend(said);
    child.wait()?;
    if let Some(complaint) = done.iter().find_map(|line| line.strip_prefix("differs ")) {
        return Err(told(seed, &ops[..done.len()], Trouble::Differs(complaint.to_owned())));
    }
    // A line that was cut short by the kill was not said.
    let done: Vec<&str> =
        done.iter().map_while(|line| line.strip_prefix("done ")?.strip_suffix('.')).collect();
    let failed = |place: usize, trouble| told(seed, &ops[..place], trouble);
    let mut pair = Pair::begin(None, base).await.map_err(|trouble| failed(0, trouble))?;
    for (place, (op, choices)) in ops.iter().zip(&done).enumerate() {
        pair.choices = choices.split_whitespace().map(parse_choice).collect();
        pair.apply(op).await.map_err(|trouble| failed(place + 1, trouble))?;
    }
    let mut doubt = match ops.get(done.len()) {
        Some(op) => either_way(pair.fork(), op).await,
        None => Vec::new(),
    };
    doubt.push(pair);
    compare_after(open(folder), doubt, seed, &ops[..(done.len() + 1).min(ops.len())]).await
}

/// What may be there if this operation was under way.
async fn either_way(before: Pair, op: &Op) -> Vec<Pair> {
    let mut after = before.fork();
    // Without a store a lease follows no choices; what it leased is given back at the end of the incarnations in any case.
    match after.apply(op).await {
        Ok(()) => vec![before, after],
        Err(_) => vec![before],
    }
}

/// Compares the store as it was found with what may be there, and goes on with what is.
async fn compare_after(store: Arc<dyn Store>, doubt: Vec<Pair>, seed: u64, ops: &[Op]) -> Result<(), Failed> {
    let now = doubt.iter().map(Pair::everybody_dead).max().unwrap();
    Pair::reap_store(&*store, now).await.map_err(|trouble| told(seed, ops, trouble))?;
    let (mut fitting, mut complaints) = (Vec::new(), Vec::new());
    for mut pair in doubt {
        match pair.find(Arc::clone(&store), now).await {
            Ok(()) => fitting.push(pair),
            Err(trouble) => complaints.push(trouble),
        }
    }
    match fitting.pop() {
        // Whether the operation in doubt was done cannot be told from outside, and what follows would depend on it.
        Some(pair) if fitting.iter().any(|other| other.unseen() != pair.unseen()) => return Ok(()),
        Some(pair) => return go_on(pair, seed, ops).await,
        None => {}
    }
    if complaints.len() > 1 && matches!(ops.last(), Some(Op::Retry { .. } | Op::Hold { .. })) {
        // What is done to a whole queue is done a part at a time (store.rs): some of it may be done and some not.
        return Ok(());
    }
    let complaints = complaints.into_iter().map(|trouble| format!("{trouble:?}")).collect::<Vec<_>>();
    let complaint = format!("killed, and neither way fits:\n      {}", complaints.join("\n      "));
    Err(told(seed, ops, Trouble::Differs(complaint)))
}

async fn go_on(mut pair: Pair, seed: u64, before: &[Op]) -> Result<(), Failed> {
    let mut ops = before.to_vec();
    pair.revive().await.map_err(|trouble| told(seed, &ops, trouble))?;
    for op in sequence(seed ^ 0xaf7e4, AFTER) {
        ops.push(op.clone());
        pair.apply(&op).await.map_err(|trouble| match trouble {
            Trouble::Differs(how) => {
                told(seed, &ops, Trouble::Differs(format!("{how} (killed after {} of these)", before.len())))
            }
            lost @ Trouble::Lost(_) => told(seed, &ops, lost),
        })?;
    }
    Ok(())
}

fn told(seed: u64, ops: &[Op], trouble: Trouble) -> Failed {
    let complaint = match trouble {
        Trouble::Differs(how) => how,
        Trouble::Lost(why) => format!("the store went away: {why}"),
    };
    report(seed, ops, &complaint).into()
}

/// The child that is killed.
pub(crate) struct Child {
    seed: u64,
    base: u64,
    folder: PathBuf,
}

impl Child {
    /// If this process is one.
    pub(crate) fn from_env() -> Option<Self> {
        let text = std::env::var(CHILD).ok()?;
        let mut words = text.splitn(3, ' ');
        let mut next = || words.next().unwrap();
        Some(Self { seed: next().parse().unwrap(), base: next().parse().unwrap(), folder: next().into() })
    }

    /// Does the sequence, and says after each operation that it is done and what a lease chose.
    pub(crate) fn run(self, open: fn(&Path) -> Arc<dyn Store>) -> ExitCode {
        let mut out = std::io::stdout();
        run(async {
            let mut pair = Pair::begin(Some(open(&self.folder)), self.base).await.unwrap();
            for op in sequence(self.seed, BEFORE) {
                pair.choices.clear();
                match pair.apply(&op).await {
                    Ok(()) => {
                        let choices: Vec<String> = pair.choices.iter().map(show_choice).collect();
                        writeln!(out, "done {}.", choices.join(" ")).unwrap();
                    }
                    Err(Trouble::Differs(how) | Trouble::Lost(how)) => {
                        writeln!(out, "differs {how}").unwrap();
                        break;
                    }
                }
                out.flush().unwrap();
            }
        });
        ExitCode::SUCCESS
    }
}

fn show_choice(choice: &Choice) -> String {
    format!("{}/{}/{}", choice.id, u8::from(choice.attend), u8::from(choice.probe))
}

fn parse_choice(text: &str) -> Choice {
    let mut words = text.split('/');
    let mut next = || words.next().unwrap();
    let id: EntryId = next().parse().unwrap();
    Choice { id, attend: next() == "1", probe: next() == "1" }
}
