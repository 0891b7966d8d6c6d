//! A worker: one connection to one next hop, one message after the other, until there is no more work for a while.

use std::{sync::Arc, time::Duration};

use posthouse_model::{EnhancedStatus, Timestamp};
use posthouse_queue::{LaneSignal, LastReply, Remainder, Settlement};
use posthouse_smtp::client::{Delivery, Origin, Refusal, Stage};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{
    conclude::{conclude, give_back, own_words, rest, their_words},
    connect::connect,
    connection::{Attempt, Connection, Trouble},
    hop::{Hop, Job},
    judge::Found,
    means::Means,
    progress::{Next, Progress},
    settler::Unsettled,
    unreachable::{Said, Unreachable, lost},
};
use crate::{events, node::Node, policy::Policy, presence::Life};

/// How long a connection is kept for more work: saves greetings in a stream of mail, and is soon enough gone for the far end.
const KEEP_IDLE: Duration = Duration::from_secs(4);

/// Messages on one connection: some servers refuse more, and a balance over several hosts comes back this way.
const MOST_MESSAGES: u32 = 1000;

/// How long the cluster's permits of a next hop are waited for before its work is given back for others.
const PERMIT_WAIT: Duration = Duration::from_millis(500);

/// Messages that a worker carries while others wait for its place.
const MESSAGES_PER_TURN: u32 = 50;

/// Works until there is nothing more to do, or until another next hop needs the place.
pub async fn work(node: Arc<Node>, hop: Arc<Hop>, stop: CancellationToken) {
    let mut permit = take_permit(&node, &hop).await;
    let mut connection = None;
    let gives_way = if permit.is_some() {
        node.metrics.connections.inc();
        let gives_way = carry_all(&node, &hop, &mut permit, &mut connection, &stop).await;
        node.metrics.connections.dec();
        gives_way
    } else {
        give_back_all(&node, hop.leave(), LaneSignal::None).await;
        false
    };
    // Before the goodbye: a far end that is slow to say it keeps no other connection from being made.
    if let Some(permit) = permit {
        return_permit(&node, &hop, &permit).await;
    }
    let (places, bounds) = (&node.delivery.places, node.concurrency());
    let next = if gives_way { places.give_way(&hop, bounds) } else { places.give_back(bounds) };
    if let Some(next) = next {
        node.delivery.start_worker(&node, &next);
    }
    if let Some(connection) = connection {
        connection.quit().await;
    }
}

/// The cluster's permission for one more connection to this hop: the life that it was given to.
async fn take_permit(node: &Node, hop: &Hop) -> Option<Arc<Life>> {
    let until = time::Instant::now() + PERMIT_WAIT;
    loop {
        let limit = node.concurrency().per_next_hop;
        let life = node.presence.life();
        match node.store.take_permits(life.incarnation(), &hop.name, 1, limit, node.presence.now()).await {
            Ok(1..) => return Some(life),
            Ok(0) if time::Instant::now() < until => time::sleep(Duration::from_millis(50)).await,
            Ok(_) => return None,
            Err(error) => {
                node.presence.doubt(&life, &error);
                return None;
            }
        }
    }
}

async fn return_permit(node: &Node, hop: &Hop, life: &Arc<Life>) {
    if life.is_over() {
        return; // its permits went with it
    }
    if let Err(error) = node.store.return_permits(life.incarnation(), &hop.name, 1).await {
        // How many it has is not known any more, and one that is given back again would be another's: they all end with the life.
        node.presence.doubt(life, &error);
    }
}

/// Carries jobs; true if another hop waits for the place. Otherwise it has left the hop when it returns.
async fn carry_all(
    node: &Arc<Node>,
    hop: &Arc<Hop>,
    permit: &mut Option<Arc<Life>>,
    connection: &mut Option<Connection>,
    stop: &CancellationToken,
) -> bool {
    let (mut on_connection, mut in_turn) = (0, 0);
    loop {
        if let Some(old) = permit.take_if(|life| life.is_retired()) {
            // The life in whose name the connection is made ends when nobody needs it.
            return_permit(node, hop, &old).await;
            *permit = take_permit(node, hop).await;
            if permit.is_none() {
                give_back_all(node, hop.leave(), LaneSignal::None).await;
                return false;
            }
        }
        let mut next = hop.next();
        if next.is_none() {
            next = wait_for_job(node, hop, connection, stop).await;
        }
        let Some(job) = next else {
            if hop.try_leave() {
                return false;
            }
            continue;
        };
        let policy = node.policy().filter(|_| !stop.is_cancelled());
        let Some(policy) = policy else {
            give_back_all(node, vec![job], LaneSignal::None).await;
            continue;
        };
        if on_connection >= MOST_MESSAGES
            && let Some(old) = connection.take()
        {
            old.quit().await;
            on_connection = 0;
        }
        if let Err(unreachable) = carry(node, &policy, hop, connection, &job).await {
            *connection = None;
            if let Some(job) = hop.step_back(job) {
                down(node, &policy, hop, job, &unreachable).await;
            } else {
                events::HopCrowded { next_hop: &hop.name, reason: &unreachable.reason }.emit();
            }
            return false;
        }
        drop(job);
        on_connection += 1;
        in_turn += 1;
        if !is_still_good(connection).await {
            on_connection = 0;
        }
        if in_turn >= MESSAGES_PER_TURN && node.delivery.places.are_wanted() {
            return true;
        }
    }
}

/// Waits for a job while watching the connection: one that the far end closes is no good for the next message. An idle connection is not kept
/// while another hop has none.
async fn wait_for_job(
    node: &Node,
    hop: &Hop,
    connection: &mut Option<Connection>,
    stop: &CancellationToken,
) -> Option<Job> {
    let until = time::Instant::now() + KEEP_IDLE;
    while let Some(open) = connection {
        if let Some(job) = hop.begin_idle() {
            return Some(job);
        }
        let (woken, closed) = tokio::select! {
            () = hop.woken() => (true, false),
            () = open.closed_while_idle() => (false, true),
            () = time::sleep_until(until) => (false, false),
            () = node.delivery.places.wanted() => (false, false),
            () = stop.cancelled() => (false, false),
        };
        hop.idle_ended();
        if closed {
            *connection = None;
        }
        let job = hop.next();
        if job.is_some() || !woken {
            return job;
        }
        // Somebody else took the job that it was woken for: the connection is still good for the next one.
    }
    None
}

/// Gets the connection ready for the next message; false if there is none any more.
async fn is_still_good(connection: &mut Option<Connection>) -> bool {
    let Some(open) = connection else { return false };
    if open.recover().await {
        return true;
    }
    if let Some(spent) = connection.take() {
        spent.quit().await;
    }
    false
}

/// Attempts one job and settles it; an error means that no host takes mail, and nothing was settled.
async fn carry(
    node: &Arc<Node>,
    policy: &Policy,
    hop: &Arc<Hop>,
    connection: &mut Option<Connection>,
    job: &Job,
) -> Result<(), Unreachable> {
    let means = policy.means(&hop.next_hop)?;
    if let Some(old) = connection.take_if(|open| !open.is_by(&means)) {
        old.quit().await; // it was made with a login or roots that are not in force any more
    }
    let mut progress = Progress::new(job.leased.entry.recipients.len());
    let mut in_doubt = false;
    loop {
        let open = match connection {
            Some(open) => open,
            None => match made(node, policy, hop, &means).await {
                Ok(made) => connection.insert(made),
                Err(_) if progress.has_any() => {
                    // The next job tells what is to be told of the next hop.
                    settle(node, policy, job, progress, LaneSignal::None, in_doubt).await;
                    return Ok(());
                }
                Err(unreachable) => return fail_or_wait(node, policy, hop, job, unreachable).await,
            },
        };
        let places = progress.open();
        match open.deliver(node, job, &places, &mut in_doubt).await {
            Attempt::Stale => *connection = None, // closed while it was idle: says nothing of the message
            Attempt::Broken(trouble) => {
                *connection = None;
                if progress.has_any() {
                    settle(node, policy, job, progress, LaneSignal::None, in_doubt).await;
                } else {
                    settle_broken(node, policy, job, trouble, in_doubt).await;
                }
                return Ok(());
            }
            Attempt::Done(deliveries) => {
                let (host, verdict) = (Arc::clone(&open.host), verdict(&deliveries));
                if deliveries.iter().any(ends_connection) {
                    *connection = None;
                }
                match progress.take(&places, deliveries, &host) {
                    Next::GoOn => {
                        is_still_good(connection).await;
                    }
                    Next::Settle | Next::GiveUp => {
                        let lane = lane_signal(node, policy, hop, verdict);
                        settle(node, policy, job, progress, lane, in_doubt).await;
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// A new connection, counted among those of its hop.
async fn made(
    node: &Node,
    policy: &Policy,
    hop: &Arc<Hop>,
    means: &Means,
) -> Result<Connection, Unreachable> {
    let turn = hop.turn(means).await?;
    let made = connect(node, policy, &hop.next_hop).await;
    hop.tried(means, made.as_ref().err());
    drop(turn);
    made.map(|made| made.counted(hop.opened()))
}

/// Where the recipients' own domain says that it takes no mail, they are told so at once; otherwise the mail waits.
async fn fail_or_wait(
    node: &Arc<Node>,
    policy: &Policy,
    hop: &Hop,
    job: &Job,
    unreachable: Unreachable,
) -> Result<(), Unreachable> {
    let entry = &job.leased.entry;
    let recipients = entry.recipients.iter();
    let found: Option<Vec<Found>> = recipients
        .map(|recipient| {
            let why = unreachable.permanent(&entry.route, &recipient.address)?;
            let said = own_words(node.presence.now(), why.status(), &why.to_string(), "");
            Some(Found::Permanent(said))
        })
        .collect();
    let Some(found) = found else { return Err(unreachable) };
    hop.succeed(); // an answer, if none that one likes
    let settlement = conclude(node, policy, job.lease(), found, LaneSignal::Works).await.settlement;
    settle_plain(node, job, settlement).await;
    Ok(())
}

fn lane_signal(node: &Node, policy: &Policy, hop: &Hop, verdict: Verdict) -> LaneSignal {
    match verdict {
        Verdict::Works => {
            hop.succeed();
            LaneSignal::Works
        }
        // This connection only: mail goes over the others, or it lies in the one message.
        Verdict::Refuses if hop.is_open() => LaneSignal::None,
        Verdict::Breaks if !hop.lost_again() => LaneSignal::None,
        Verdict::Refuses | Verdict::Breaks => {
            LaneSignal::BackOff(hop.fail(node.presence.now(), |outage| policy.retry.interval(outage)))
        }
    }
}

async fn settle(
    node: &Arc<Node>,
    policy: &Policy,
    job: &Job,
    progress: Progress,
    lane: LaneSignal,
    in_doubt: bool,
) {
    let now = node.presence.now();
    let takes_nobody = progress.takes_nobody();
    let found = progress.into_outcomes().into_iter().map(|outcome| match outcome {
        Some((delivery, host)) => found(&delivery, &host, now),
        None if takes_nobody => {
            // RFC 3463 §3.6: X.5.3, too many recipients
            let text = "it takes no recipient, by its own limits";
            Found::Transient(own_words(now, EnhancedStatus::transient(5, 3), text, ""))
        }
        None => Found::NotTried,
    });
    let conclusion = conclude(node, policy, job.lease(), found.collect(), lane).await;
    let delivered_since = (!conclusion.stays).then_some(job.leased.message.received_at);
    let life = Arc::clone(&job.life);
    let unsettled = Unsettled { settlement: conclusion.settlement, life, in_doubt, delivered_since };
    node.delivery.settler.settle(unsettled).await;
}

/// An attempt that ended on this side: no word of the far end about the message.
async fn settle_broken(node: &Arc<Node>, policy: &Policy, job: &Job, trouble: Trouble, in_doubt: bool) {
    let settlement = match trouble {
        Trouble::LeaseUnsure => give_back(node, policy, job.lease(), LaneSignal::None),
        Trouble::ContentLost => {
            events::ContentLost { id: job.leased.entry.id }.emit(&node.metrics);
            rest(node, policy, job.lease(), Remainder::Quarantine, LaneSignal::None)
        }
        Trouble::ContentUnread(error) => {
            // RFC 3463 §3.4: 4.3.0; it counts as an attempt, so that it does not go round at once.
            let text = format!("its content could not be read: {error}");
            let said = own_words(node.presence.now(), EnhancedStatus::transient(3, 0), &text, "");
            let found = vec![Found::Transient(said); job.leased.entry.recipients.len()];
            conclude(node, policy, job.lease(), found, LaneSignal::None).await.settlement
        }
    };
    let life = Arc::clone(&job.life);
    node.delivery.settler.settle(Unsettled { settlement, life, in_doubt, delivered_since: None }).await;
}

/// No host of the next hop takes mail: the lane is backed off, and what waits for this hop goes back without an attempt.
async fn down(node: &Arc<Node>, policy: &Policy, hop: &Arc<Hop>, job: Job, unreachable: &Unreachable) {
    let now = node.presence.now();
    let lane = LaneSignal::BackOff(hop.fail(now, |outage| policy.retry.interval(outage)));
    events::HopDown { next_hop: &hop.name, reason: &unreachable.reason }.emit(&node.metrics);
    let ours = |status| own_words(now, status, &unreachable.reason, &unreachable.host);
    let said = transient(match &unreachable.said {
        Said::Theirs(reply) => their_words(now, reply, &unreachable.host),
        Said::Ours(status) => ours(*status),
        Said::Dns(why) => ours(why.status()),
    });
    let waiting = hop.take_all();
    let found = vec![Found::Transient(said); job.leased.entry.recipients.len()];
    let settlement = conclude(node, policy, job.lease(), found, lane).await.settlement;
    settle_plain(node, &job, settlement).await;
    give_back_all(node, waiting, lane).await;
    give_back_all(node, hop.leave(), lane).await;
}

async fn give_back_all(node: &Arc<Node>, jobs: Vec<Job>, lane: LaneSignal) {
    let Some(policy) = node.policy() else { return };
    for job in jobs {
        settle_plain(node, &job, give_back(node, &policy, job.lease(), lane)).await;
    }
}

async fn settle_plain(node: &Node, job: &Job, settlement: Settlement) {
    let life = Arc::clone(&job.life);
    node.delivery
        .settler
        .settle(Unsettled { settlement, life, in_doubt: false, delivered_since: None })
        .await;
}

fn found(delivery: &Delivery, host: &str, now: Timestamp) -> Found {
    match delivery {
        Delivery::Accepted { reply, dsn } => Found::Taken { said: their_words(now, reply, host), dsn: *dsn },
        Delivery::Refused(refusal) if refusal.is_permanent() => Found::Permanent(said(refusal, host, now)),
        Delivery::Refused(refusal) => Found::Transient(transient(said(refusal, host, now))),
        Delivery::Lost(loss) => Found::Transient(own_words(
            now,
            EnhancedStatus::transient(4, 2),
            &lost(loss.cause, loss.stage),
            host,
        )),
        Delivery::Aborted => {
            Found::Transient(own_words(now, EnhancedStatus::transient(3, 0), "given up before its end", host))
        }
        Delivery::NotTried => Found::NotTried,
    }
}

fn said(refusal: &Refusal, host: &str, now: Timestamp) -> LastReply {
    match refusal.origin {
        Origin::Remote => their_words(now, &refusal.reply, host),
        // RFC 3464 §2.3.6: what we say ourselves is no diagnostic of the far end.
        Origin::Local => {
            let status = refusal.reply.status().unwrap_or(EnhancedStatus::permanent(0, 0));
            own_words(now, status, &refusal.reply.text(), host)
        }
    }
}

/// A refusal that is taken as transient is recorded as one: its class says what we do.
fn transient(mut last: LastReply) -> LastReply {
    if last.status.starts_with('5') {
        last.status.replace_range(0..1, "4");
    }
    last
}

/// What an attempt says of the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It takes mail, or refuses this message.
    Works,
    /// It wants no mail now, whatever the message: it went away before it knew of one, or said 421 then.
    Refuses,
    /// It went away in the middle of the transaction.
    Breaks,
}

fn verdict(deliveries: &[Delivery]) -> Verdict {
    let of_each = |delivery: &Delivery| match delivery {
        Delivery::Lost(loss) if loss.stage <= Stage::Mail => Verdict::Refuses,
        Delivery::Lost(loss) if loss.stage <= Stage::Data => Verdict::Breaks,
        Delivery::Refused(refusal) if refusal.is_farewell() => {
            if refusal.stage <= Stage::Mail {
                Verdict::Refuses
            } else {
                Verdict::Breaks
            }
        }
        _ => Verdict::Works,
    };
    let asked_for = deliveries.iter().filter(|delivery| **delivery != Delivery::NotTried);
    let mut verdicts = asked_for.map(of_each);
    let first = verdicts.next().unwrap_or(Verdict::Works);
    if verdicts.all(|verdict| verdict == first) { first } else { Verdict::Works }
}

/// Whether the far end ended the connection with this.
fn ends_connection(delivery: &Delivery) -> bool {
    match delivery {
        Delivery::Lost(_) | Delivery::Aborted => true,
        Delivery::Refused(refusal) => refusal.stage == Stage::Greeting || refusal.is_farewell(),
        Delivery::Accepted { .. } | Delivery::NotTried => false,
    }
}
