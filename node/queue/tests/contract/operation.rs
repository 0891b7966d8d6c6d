//! Random operations in a small universe, so that they meet: three queues, three next hops, three nodes, and whatever letters there are.
//!
//! An operation names letters, entries and leases by a number that is taken modulo how many there are, so a sequence stays a sequence when
//! some of it is taken away.

use posthouse_queue::{Act, HoldReason, QueueMode};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// How many queues, next hops and nodes there are.
pub(crate) const QUEUES: u8 = 3;
pub(crate) const HOPS: u8 = 3;
pub(crate) const NODES: u8 = 3;

/// Spans are whole multiples of this, and times to come lie beside them, so that nothing happens at the very moment that something ends:
/// the contract does not say which comes first then.
pub(crate) const TICK: u64 = 7;

/// One entry of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) queue: u8,
    pub(crate) hop: u8,
    pub(crate) sourced: bool,
    pub(crate) recipients: u8,
    pub(crate) priority: u8,
    /// How far its snapshot's generation is from the one whose modes were told last.
    pub(crate) generation: i8,
    /// Ticks until it has to be looked at.
    pub(crate) attend: u16,
}

/// What becomes of a leased entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Two bits and a half for each recipient: which outcome.
    pub(crate) outcomes: u16,
    pub(crate) rest: Rest,
    pub(crate) lane: Word,
    /// Ticks until the rest is tried, and until it has to be looked at.
    pub(crate) ticks: u16,
    pub(crate) warned: bool,
    pub(crate) child: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    GiveBack,
    Defer,
    HoldAgain,
    Quarantine,
    Split,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    None,
    Works,
    BackOff,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Advance {
        ticks: u16,
    },
    Reap,
    Die {
        node: u8,
    },
    Depart {
        node: u8,
    },
    Enqueue {
        node: u8,
        parts: Vec<Part>,
        named: u8,
        fast: bool,
        chunks: bool,
        activate: bool,
    },
    EnqueueAgain {
        node: u8,
        letter: u16,
    },
    EnqueueWrong {
        node: u8,
        fault: u8,
    },
    Activate {
        letter: u16,
    },
    Withdraw {
        letter: u16,
    },
    WithdrawUnknown,
    DropChunks {
        letter: u16,
    },
    Lease {
        node: u8,
        max: u8,
        per_lane: u8,
        skip: Option<(u8, u8)>,
    },
    LeaseClaimed {
        queue: u8,
        max: u8,
    },
    LeaseEntry {
        node: u8,
        entry: u16,
    },
    Settle {
        lease: u16,
        end: End,
    },
    SettleLate {
        lease: u16,
        end: End,
    },
    /// A telling of these queues, by a generation this far from the one that was told last.
    Modes {
        queues: Vec<u8>,
        generation: i8,
    },
    Release {
        queue: Option<u8>,
        reason: HoldReason,
    },
    ReleaseAgain {
        release: u16,
    },
    Claim {
        node: u8,
        queue: u8,
        other: bool,
    },
    Unclaim {
        queue: u8,
    },
    Act {
        entry: u16,
        act: Act,
    },
    Retry {
        queue: Option<u8>,
    },
    Hold {
        queue: Option<u8>,
    },
    Permits {
        node: u8,
        hop: u8,
        wanted: u8,
    },
    ReturnPermits {
        node: u8,
        hop: u8,
        permits: u8,
    },
    Rate {
        hop: u8,
        wanted: u8,
    },
    Reserve {
        node: u8,
        bytes: u16,
    },
    PutFact {
        key: u8,
        value: u8,
        ticks: u16,
    },
    Fact {
        key: u8,
    },
    DropFact {
        key: u8,
    },
    PlanJob {
        key: u8,
        ticks: i16,
    },
    DropJob {
        key: u8,
    },
    LeaseJobs {
        node: u8,
        max: u8,
    },
    FinishJob {
        lease: u16,
        ran: bool,
        missed: bool,
        next: Option<u16>,
    },
}

/// What the snapshot of this generation says of a queue: the same generation always says the same.
pub(crate) fn mode_of(queue: u8, generation: u64) -> QueueMode {
    let hold = match (u64::from(queue) * 31 + generation * 7) % 5 {
        0 => Some(HoldReason::OnRequest),
        1 => Some(HoldReason::Scheduled),
        2 => Some(HoldReason::Connectivity),
        _ => None,
    };
    QueueMode { hold: if generation == 0 { None } else { hold }, generation }
}

/// A sequence of this many operations.
pub(crate) fn sequence(seed: u64, length: usize) -> Vec<Op> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..length).map(|_| operation(&mut random)).collect()
}

/// Makes an operation of one kind.
type Make = fn(&mut StdRng) -> Op;

fn operation(random: &mut StdRng) -> Op {
    let choices: [(u32, Make); 35] = [
        (10, |r| Op::Advance { ticks: r.random_range(1..1_200) }),
        (1, |_| Op::Reap),
        (2, |r| Op::Die { node: node(r) }),
        (1, |r| Op::Depart { node: node(r) }),
        (26, enqueue),
        (2, |r| Op::EnqueueAgain { node: node(r), letter: r.random() }),
        (1, |r| Op::EnqueueWrong { node: node(r), fault: r.random() }),
        (6, |r| Op::Activate { letter: r.random() }),
        (3, |r| Op::Withdraw { letter: r.random() }),
        (1, |_| Op::WithdrawUnknown),
        (1, |r| Op::DropChunks { letter: r.random() }),
        (20, |r| Op::Lease {
            node: node(r),
            max: r.random_range(1..6),
            per_lane: r.random_range(1..4),
            skip: r.random_bool(0.2).then(|| (queue(r), hop(r))),
        }),
        (4, |r| Op::LeaseClaimed { queue: queue(r), max: r.random_range(1..4) }),
        (2, |r| Op::LeaseEntry { node: node(r), entry: r.random() }),
        (30, |r| Op::Settle { lease: r.random(), end: end(r) }),
        (3, |r| Op::SettleLate { lease: r.random(), end: end(r) }),
        (6, |r| Op::Modes {
            queues: (0..QUEUES).filter(|_| r.random_bool(0.5)).collect(),
            generation: *[-1, 0, 1, 1, 2].choose(r).unwrap(),
        }),
        (8, |r| Op::Release { queue: r.random_bool(0.8).then(|| queue(r)), reason: reason(r) }),
        (1, |r| Op::ReleaseAgain { release: r.random() }),
        (4, |r| Op::Claim { node: node(r), queue: queue(r), other: r.random() }),
        (3, |r| Op::Unclaim { queue: queue(r) }),
        (6, |r| Op::Act {
            entry: r.random(),
            act: *[Act::Hold, Act::Release, Act::Retry].choose(r).unwrap(),
        }),
        (2, |r| Op::Retry { queue: r.random_bool(0.7).then(|| queue(r)) }),
        (1, |r| Op::Hold { queue: r.random_bool(0.9).then(|| queue(r)) }),
        (2, |r| Op::Permits { node: node(r), hop: hop(r), wanted: r.random_range(1..8) }),
        (1, |r| Op::ReturnPermits { node: node(r), hop: hop(r), permits: r.random_range(1..8) }),
        (1, |r| Op::Rate { hop: hop(r), wanted: r.random_range(1..8) }),
        (1, |r| Op::Reserve { node: node(r), bytes: r.random_range(1..600) }),
        (1, |r| Op::PutFact {
            key: r.random_range(0..4),
            value: r.random(),
            ticks: r.random_range(1..3_000),
        }),
        (1, |r| Op::Fact { key: r.random_range(0..4) }),
        (1, |r| Op::DropFact { key: r.random_range(0..4) }),
        (2, |r| Op::PlanJob { key: r.random_range(0..4), ticks: r.random_range(-100..2_000) }),
        (1, |r| Op::DropJob { key: r.random_range(0..4) }),
        (2, |r| Op::LeaseJobs { node: node(r), max: r.random_range(1..3) }),
        (2, |r| Op::FinishJob {
            lease: r.random(),
            ran: r.random(),
            missed: r.random(),
            next: r.random_bool(0.8).then(|| r.random_range(1..2_000)),
        }),
    ];
    let total: u32 = choices.iter().map(|(weight, _)| weight).sum();
    let mut left = random.random_range(0..total);
    for (weight, make) in choices {
        if left < weight {
            return make(random);
        }
        left -= weight;
    }
    unreachable!("less than the sum of the weights")
}

fn enqueue(random: &mut StdRng) -> Op {
    let parts = (0..random.random_range(1..4_u8)).map(|_| Part {
        queue: queue(random),
        hop: hop(random),
        sourced: random.random_bool(0.2),
        recipients: random.random_range(1..4),
        priority: *[4, 4, 4, 0, 9].choose(random).unwrap(),
        generation: *[0, 0, 0, 0, -1, 1].choose(random).unwrap(),
        attend: if random.random_bool(0.2) { random.random_range(1..3_000) } else { 60_000 },
    });
    Op::Enqueue {
        parts: parts.collect(),
        node: node(random),
        named: random.random_range(1..6),
        fast: random.random_bool(0.4),
        chunks: random.random_bool(0.05),
        activate: random.random_bool(0.7),
    }
}

fn end(random: &mut StdRng) -> End {
    let rests = [Rest::GiveBack, Rest::Defer, Rest::Defer, Rest::HoldAgain, Rest::Quarantine, Rest::Split];
    let words = [Word::None, Word::None, Word::Works, Word::Works, Word::BackOff];
    End {
        outcomes: random.random(),
        rest: *rests.choose(random).unwrap(),
        lane: *words.choose(random).unwrap(),
        ticks: random.random_range(1..3_000),
        warned: random.random_bool(0.2),
        child: random.random_bool(0.15),
    }
}

fn node(random: &mut StdRng) -> u8 {
    random.random_range(0..NODES)
}

fn queue(random: &mut StdRng) -> u8 {
    random.random_range(0..QUEUES)
}

fn hop(random: &mut StdRng) -> u8 {
    random.random_range(0..HOPS)
}

fn reason(random: &mut StdRng) -> HoldReason {
    use HoldReason::{Administrator, Connectivity, OnRequest, Scheduled};
    *[OnRequest, OnRequest, Scheduled, Scheduled, Connectivity, Administrator].choose(random).unwrap()
}
