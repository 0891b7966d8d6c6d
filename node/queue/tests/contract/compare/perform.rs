//! What each random operation is, done to both.

use posthouse_model::Timestamp;
use posthouse_queue::{
    Act, CHUNK_SIZE, ClaimId, JobRun, LeaseRequest, Release, ReleaseId, ReleaseScope, Store, Withdrawn,
};

use super::{Pair, Trouble, equal, fact, hop_text, job_text, lost, pick, queue_text};
use crate::contract::model::{Place, State};
use crate::contract::operation::{Op, Part, TICK, mode_of};
use crate::contract::world::{in_chunks, new_entry, queue_name};

impl Pair {
    pub(super) async fn perform(&mut self, op: &Op) -> Result<(), Trouble> {
        let now = self.now;
        match op {
            Op::Advance { ticks } => self.advance(u64::from(*ticks), None).await,
            Op::Reap => self.reap().await,
            Op::Die { node } => {
                let node = usize::from(*node);
                self.advance(800, Some(node)).await?;
                self.advance(800, Some(node)).await?;
                self.reap().await?;
                self.bury(node);
                self.nodes[node] = self.incarnate().await?;
                Ok(())
            }
            Op::Depart { node } => {
                let who = self.nodes[usize::from(*node)];
                self.same(async |store| store.depart(who, now).await).await?;
                self.bury(usize::from(*node));
                self.nodes[usize::from(*node)] = self.incarnate().await?;
                Ok(())
            }
            Op::Enqueue { node, parts, named, fast, chunks, activate } => {
                let who = self.nodes[usize::from(*node)];
                let mut letter = self.letter(parts, *named);
                if *chunks {
                    for (index, chunk) in (0..).zip(in_chunks(&mut letter, CHUNK_SIZE + 100)) {
                        self.same(async |store| store.put_chunk(letter.id, index, chunk.clone(), now).await)
                            .await?;
                    }
                }
                let fast = if *fast { self.unambiguous(&letter) } else { Vec::new() };
                self.enqueue(who, &letter, &fast).await?;
                let id = letter.id;
                self.letters.push(letter);
                if *activate {
                    self.same(async |store| store.activate(&[id], now).await).await?;
                }
                Ok(())
            }
            Op::EnqueueAgain { node, letter } => {
                let Some(letter) = self.known_letter(*letter) else { return Ok(()) };
                let who = self.nodes[usize::from(*node)];
                self.same(async |store| {
                    let enqueued = store.enqueue(who, letter.clone(), &[], now).await?;
                    Ok((enqueued.duplicate, enqueued.leases.iter().flatten().count()))
                })
                .await
                .map(drop)
            }
            Op::EnqueueWrong { node, fault } => {
                let who = self.nodes[usize::from(*node)];
                let part = Part {
                    queue: 0,
                    hop: 0,
                    sourced: false,
                    recipients: 1,
                    priority: 4,
                    generation: 0,
                    attend: 60_000,
                };
                let mut letter = self.letter(&[part], 1);
                match fault % 4 {
                    0 => letter.meta.crc32 ^= 1,
                    1 => letter.meta.size += 1,
                    2 => letter.entries.clear(),
                    _ => letter.entries[0].recipients.clear(),
                }
                self.same(async |store| store.enqueue(who, letter.clone(), &[], now).await).await.map(drop)
            }
            Op::Activate { letter } => {
                let Some(id) = pick(&self.letters, *letter).map(|letter| letter.id) else { return Ok(()) };
                self.same(async |store| store.activate(&[id], now).await).await.map(drop)
            }
            Op::Withdraw { letter } => {
                let Some(id) = self.known_letter(*letter).map(|letter| letter.id) else { return Ok(()) };
                let withdrawn = self.same(async |store| store.withdraw(id, now).await).await?;
                if withdrawn == Some(Withdrawn::Removed) {
                    self.retire(|attempt| attempt.entry.id.message == id);
                }
                Ok(())
            }
            Op::WithdrawUnknown => {
                let id = self.new_id();
                self.same(async |store| store.withdraw(id, now).await).await.map(drop)
            }
            Op::DropChunks { letter } => {
                let Some(id) = pick(&self.letters, *letter).map(|letter| letter.id) else { return Ok(()) };
                self.same(async |store| store.drop_chunks(id).await).await.map(drop)
            }
            Op::Lease { node, max, per_lane, skip } => {
                let skip = skip
                    .map(|(queue, hop)| new_entry(&queue_text(queue), &hop_text(hop), &[], now).lane().id());
                self.lease(&LeaseRequest {
                    who: self.nodes[usize::from(*node)],
                    max: u32::from(*max),
                    max_per_lane: u32::from(*per_lane),
                    skip: skip.into_iter().collect(),
                    claim: None,
                })
                .await
            }
            Op::LeaseClaimed { queue, max } => {
                let Some((id, who)) = self.claims.get(queue).copied() else { return Ok(()) };
                self.lease(&LeaseRequest {
                    who,
                    max: u32::from(*max),
                    max_per_lane: u32::from(*max),
                    skip: Vec::new(),
                    claim: Some(id),
                })
                .await
            }
            Op::LeaseEntry { node, entry } => {
                let Some(id) = self.nth_entry(*entry) else { return Ok(()) };
                self.lease_entry(self.nodes[usize::from(*node)], id).await
            }
            Op::Settle { lease, end } => {
                if self.attempts.is_empty() {
                    return Ok(());
                }
                let attempt = self.attempts.remove(usize::from(*lease) % self.attempts.len());
                self.settle(&attempt, end).await?;
                self.late.push(attempt);
                Ok(())
            }
            Op::SettleLate { lease, end } => {
                let Some(attempt) = pick(&self.late, *lease).cloned() else { return Ok(()) };
                self.settle(&attempt, end).await
            }
            Op::Modes { queues, generation } => {
                let generation = self.told().saturating_add_signed(i64::from(*generation));
                let modes: Vec<_> = queues
                    .iter()
                    .map(|queue| (queue_name(&queue_text(*queue)), mode_of(*queue, generation).hold))
                    .collect();
                self.same(async |store| store.set_queue_modes(generation, &modes, now).await).await.map(drop)
            }
            Op::Release { queue, reason } => {
                let scope = queue
                    .map_or(ReleaseScope::All, |queue| ReleaseScope::Queue(queue_name(&queue_text(queue))));
                let id = ReleaseId(u128::from(self.name()).to_be_bytes());
                let release = Release { id, scope, reason: *reason, at: now };
                let claimed = self
                    .model
                    .state()
                    .items
                    .values()
                    .any(|item| State::reaches(&release, &item.entry.queue) && self.model_claims(item));
                self.releases.push(release.clone());
                // How many of the claimed it frees, and when they count, is not said.
                self.same(async |store| {
                    let freed = store.release(&release).await?;
                    Ok(if claimed { 0 } else { freed })
                })
                .await
                .map(drop)
            }
            Op::ReleaseAgain { release } => {
                let Some(release) = pick(&self.releases, *release).cloned() else { return Ok(()) };
                self.same(async |store| store.release(&release).await.map(drop)).await.map(drop)
            }
            Op::Claim { node, queue, other } => {
                let name = queue_name(&queue_text(*queue));
                let fresh = (ClaimId(u128::from(self.name()).to_be_bytes()), self.nodes[usize::from(*node)]);
                let (id, who) = match self.claims.get(queue) {
                    Some(same) if !other => *same,
                    _ => fresh,
                };
                let claim = self
                    .same(async |store| {
                        let claim = store.claim(who, id, &name, 1_000, now).await?;
                        Ok(claim.map(|mut claim| {
                            claim.entries.sort_unstable();
                            claim
                        }))
                    })
                    .await?;
                if let Some(Some(claim)) = claim {
                    self.claims.insert(*queue, (claim.id, claim.who));
                }
                Ok(())
            }
            Op::Unclaim { queue } => {
                let Some((id, _)) = self.claims.remove(queue) else { return Ok(()) };
                let name = queue_name(&queue_text(*queue));
                self.same(async |store| store.unclaim(id, &name).await).await.map(drop)
            }
            Op::Act { entry, act } => {
                let Some(id) = self.nth_entry(*entry) else { return Ok(()) };
                let unclear = {
                    let state = self.model.state();
                    let item = &state.items[&id];
                    // Whether a retry ends a hold is not said.
                    *act == Act::Retry
                        && matches!(item.place, Place::Held { .. })
                        && state.freed(item).is_none()
                };
                if unclear {
                    return Ok(());
                }
                self.same(async |store| store.act(id, *act, now).await).await.map(drop)
            }
            Op::Retry { queue } => self.retry(queue.map(|queue| queue_name(&queue_text(queue)))).await,
            Op::Hold { queue } => {
                let name = queue.map(|queue| queue_name(&queue_text(queue)));
                self.same(async |store| store.hold(name.as_ref(), now).await).await.map(drop)
            }
            Op::Permits { node, hop, wanted } => {
                let (who, hop) = (self.nodes[usize::from(*node)], hop_text(*hop));
                self.same(async |store| store.take_permits(who, &hop, u32::from(*wanted), 10, now).await)
                    .await
                    .map(drop)
            }
            Op::ReturnPermits { node, hop, permits } => {
                let (who, hop) = (self.nodes[usize::from(*node)], hop_text(*hop));
                self.same(async |store| store.return_permits(who, &hop, u32::from(*permits)).await)
                    .await
                    .map(drop)
            }
            Op::Rate { hop, wanted } => {
                let key = hop_text(*hop);
                self.same(async |store| store.take_rate(&key, u32::from(*wanted), 10, 10_001, now).await)
                    .await
                    .map(drop)
            }
            Op::Reserve { node, bytes } => {
                let who = self.nodes[usize::from(*node)];
                self.same(async |store| store.reserve(who, u64::from(*bytes), Some(1_000), now).await)
                    .await
                    .map(drop)
            }
            Op::PutFact { key, value, ticks } => {
                let (kind, key) = fact(*key);
                let until = self.beside(*ticks);
                let value = value.to_string();
                self.same(async |store| store.put_fact(kind, key, &value, until).await).await.map(drop)
            }
            Op::Fact { key } => {
                let (kind, key) = fact(*key);
                self.same(async |store| store.fact(kind, key, now).await).await.map(drop)
            }
            Op::DropFact { key } => {
                let (kind, key) = fact(*key);
                self.same(async |store| store.drop_fact(kind, key).await).await.map(drop)
            }
            Op::PlanJob { key, ticks } => {
                // A millisecond apart from key to key: no two at the same time.
                let nominal = now.0.saturating_add_signed(i64::from(*ticks) * 7) + u64::from(*key) + 1;
                let key = job_text(*key);
                self.same(async |store| store.plan_job(&key, Timestamp(nominal)).await).await?;
                self.same(async |store| store.job(&key).await).await.map(drop)
            }
            Op::DropJob { key } => {
                let key = job_text(*key);
                self.same(async |store| store.drop_job(&key).await).await.map(drop)
            }
            Op::LeaseJobs { node, max } => self.lease_jobs(self.nodes[usize::from(*node)], *max).await,
            Op::FinishJob { lease, ran, missed, next } => {
                let Some(run) = pick(&self.runs, *lease).cloned() else { return Ok(()) };
                let key_number = run.key.bytes().last().map_or(0, |digit| u64::from(digit - b'0'));
                let end = JobRun {
                    started: ran.then_some(now),
                    missed: missed.then_some(Timestamp(now.0 - 1)),
                    next: next.map(|ticks| Timestamp(now.0 + u64::from(ticks) * TICK + key_number + 1)),
                };
                let stored = match &self.store {
                    Some(store) => {
                        let token = run.stored.unwrap_or(run.token);
                        Some(lost(store.finish_job(run.who, &run.key, token, &end).await)?)
                    }
                    None => None,
                };
                let expected = self.model.finish_job(run.who, &run.key, run.token, &end).await;
                equal("the end of a job", stored, expected)?;
                self.same(async |store| store.job(&run.key).await).await.map(drop)
            }
        }
    }
}
