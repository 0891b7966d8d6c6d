//! How long 10,000 domains with 100,000 recipients take to compile, from nothing and after an edit, and how much memory it takes: `cargo bench -p
//! posthouse-compiler`. Times are medians of five, of the time that the processor
//! spent: others may be busy on the same machine.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::{fs, hint::black_box, sync::Arc, time::Duration};

use posthouse_compiler::{Compilation, Compiler, Context, Resources, compile};

#[path = "../tests/large/resources.rs"]
mod resources;

/// How often each is measured.
const ROUNDS: usize = 5;

fn main() {
    let mut large = resources::large();
    large.domains.sort_by(|one, other| one.metadata.name.cmp(&other.metadata.name)); // as a reader hands them in
    let (domains, recipients) = (large.domains.len(), resources::RECIPIENTS);
    println!("{domains} domains, {recipients} recipients, medians of {ROUNDS}:");
    println!("  resources alone          {:>8}", high_water());

    let (mut compiler, mut context) = (Compiler::default(), Context::default());
    let first = compiler.compile(&large, &context);
    follow(&mut context, first);
    println!("  with memory and snapshot {:>8}", high_water());
    let mut at = 0;
    let edited = |large: &mut Resources| {
        at += 1;
        let users = &mut Arc::make_mut(&mut large.domains[at * 100]).spec.recipients.as_mut().unwrap().users;
        users.last_mut().unwrap().name = format!("edited{at}");
    };
    println!(
        "  edit of one domain       {:>8.1?}",
        median_edit(&mut compiler, &mut context, &mut large, edited)
    );
    let mut at = 0;
    let edited = |large: &mut Resources| {
        at += 1;
        Arc::make_mut(&mut large.recipients[at * 10]).spec.users.push(format!("edited{at}"));
    };
    let took = median_edit(&mut compiler, &mut context, &mut large, edited);
    println!("  edit of one list         {took:>8.1?}");
    let mut at = 0;
    let edited = |large: &mut Resources| {
        at += 1;
        Arc::make_mut(&mut large.domains[at * 100 + 1]).spec.local_delivery = None;
    };
    let took = median_edit(&mut compiler, &mut context, &mut large, edited);
    println!("  one domain more refused  {took:>8.1?}");
    println!("  with ten edits more      {:>8}", high_water());

    println!("  from nothing             {:>8.1?}", median(|| compile(&large, &context)));
    let snapshot = Arc::clone(context.previous.values().next().unwrap());
    println!("  its encoding             {:>8.1?}", median(|| snapshot.encode().unwrap()));
    for domain in &mut large.domains {
        Arc::make_mut(domain).spec.local_delivery = None;
    }
    println!("  with all domains refused {:>8.1?}", median(|| compile(&large, &context)));
}

/// What one compilation leaves to the next one.
fn follow(context: &mut Context, compilation: Compilation) {
    context.claims = compilation.claims;
    context.previous = compilation.snapshots;
}

/// How long a compilation takes after each of some edits, what it leaves behind included.
fn median_edit(
    compiler: &mut Compiler,
    context: &mut Context,
    resources: &mut Resources,
    mut edit: impl FnMut(&mut Resources),
) -> Duration {
    let mut took = [Duration::ZERO; ROUNDS];
    for took in &mut took {
        edit(resources);
        let begun = processor_time();
        let compilation = black_box(compiler.compile(resources, context));
        follow(context, compilation);
        *took = processor_time().saturating_sub(begun);
    }
    took.sort();
    took[ROUNDS / 2]
}

fn median<T>(mut measured: impl FnMut() -> T) -> Duration {
    let mut took = [Duration::ZERO; ROUNDS];
    for took in &mut took {
        let begun = processor_time();
        let outcome = black_box(measured());
        *took = processor_time().saturating_sub(begun);
        drop(outcome);
    }
    took.sort();
    took[ROUNDS / 2]
}

/// What the processor has spent on this thread so far, as the kernel says it.
fn processor_time() -> Duration {
    let spent = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(spent.split(' ').next().unwrap().parse().unwrap())
}

/// The most memory that the process has had so far, as the kernel says it.
fn high_water() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.map_or("unknown".to_owned(), |kib| format!("{} MiB", kib / 1024))
}
