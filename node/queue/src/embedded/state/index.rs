//! The orders in which entries are found: an entry is taken out of all of them before it changes and put back after. Pure.

use std::collections::BTreeSet;

use posthouse_model::{QueueName, Timestamp};

use super::{DueKey, LaneSlot, Listed, QueueSlot, Slot, State};
use crate::{embedded::effect::Phase, entry::LaneId, hold::QueueMode};

/// How long an empty lane is known to be backed off after its time: then its next mail finds it open.
const BACK_OFF_MEMORY_MS: u64 = 86_400_000;

impl State {
    /// Puts an entry into the orders that its state asks for, and counts it.
    pub(crate) fn index(&mut self, slot: Slot) {
        self.place(slot, true);
    }

    /// Takes an entry out of every order and count.
    pub(crate) fn unindex(&mut self, slot: Slot) {
        self.place(slot, false);
    }

    fn place(&mut self, slot: Slot, there: bool) {
        let Some(entry) = self.slots.at(slot) else { return };
        let Some(queue) = self.queues.at_mut(entry.queue) else { return };
        let change = |count: &mut u64| *count = if there { *count + 1 } else { count.saturating_sub(1) };
        let (phase, leased, attend_at) = (entry.head.phase, entry.leased, entry.head.attend_at);
        let (queue_number, lane_number) = (entry.queue, entry.lane);
        if let Phase::Held { reason, .. } = phase {
            change(&mut queue.of_mut(reason).phases);
        }
        if leased {
            change(&mut queue.active);
            return;
        }
        let message_id = self.messages.at(entry.message).map(|m| m.id.to_bytes()).unwrap_or_default();
        match phase {
            Phase::Incoming { .. } => {
                change(&mut queue.incoming);
                return; // nobody attends to what is not confirmed
            }
            Phase::Due { since } => {
                change(&mut queue.due);
                let key =
                    DueKey { priority: entry.head.priority, since, id: message_id, index: entry.index, slot };
                if let Some(lane) = self.lanes.at_mut(lane_number) {
                    if there {
                        lane.due.insert(key);
                        self.woken = true;
                    } else {
                        lane.due.remove(&key);
                    }
                }
                self.list_lane(lane_number);
            }
            Phase::Deferred { at } => {
                change(&mut queue.deferred);
                if there {
                    self.deferred.insert((at, slot));
                } else {
                    self.deferred.remove(&(at, slot));
                }
            }
            Phase::Held { reason, sequence, .. } => {
                let held = queue.of_mut(reason);
                if there {
                    held.entries.insert(sequence, slot);
                } else {
                    held.entries.remove(&sequence);
                }
                if sequence <= held.high() {
                    change(&mut queue.due);
                    if there {
                        self.draining.insert(queue_number);
                        self.woken = true;
                    }
                } else {
                    change(&mut held.kept);
                }
            }
        }
        if let Phase::Deferred { .. } | Phase::Held { .. } = phase
            && let Some(queue) = self.queues.at_mut(queue_number)
        {
            if there {
                queue.waiting.insert((message_id, slot));
            } else {
                queue.waiting.remove(&(message_id, slot));
            }
        }
        if there {
            self.attend.insert((attend_at, slot));
        } else {
            self.attend.remove(&(attend_at, slot));
        }
    }

    /// Puts a lane where it belongs by what it has and whether it is backed off.
    pub(crate) fn list_lane(&mut self, number: u32) {
        let Some(lane) = self.lanes.at_mut(number) else { return };
        let wanted = match (lane.due.is_empty(), lane.until, lane.probe) {
            (true, _, _) | (_, Some(_), Some(_)) => Listed::Nowhere,
            (false, None, _) => Listed::Ready(lane.served),
            (false, Some(until), None) => Listed::Backed(until),
        };
        let was = std::mem::replace(&mut lane.listed, wanted);
        if was == wanted {
            return;
        }
        self.unlist(was, number);
        match wanted {
            Listed::Nowhere => false,
            Listed::Ready(served) => self.ready.insert((served, number)),
            Listed::Backed(until) => self.backed.insert((until, number)),
        };
    }

    /// Puts the lanes whose back-off is over among the ready ones, for their probe.
    pub(crate) fn list_probes(&mut self, now: Timestamp) {
        while let Some((until, number)) = self.backed.first().copied()
            && until <= now
        {
            self.backed.remove(&(until, number));
            if let Some(lane) = self.lanes.at_mut(number) {
                lane.listed = Listed::Ready(lane.served);
                self.ready.insert((lane.served, number));
            }
        }
    }

    fn unlist(&mut self, listed: Listed, number: u32) {
        match listed {
            Listed::Nowhere => false,
            Listed::Ready(served) => self.ready.remove(&(served, number)),
            Listed::Backed(until) => self.backed.remove(&(until, number)),
        };
    }

    /// The number of a queue, which is made known if it was not.
    pub(crate) fn queue_number(&mut self, name: &QueueName) -> u32 {
        if let Some(number) = self.queue_names.get(name) {
            return *number;
        }
        let number = self.queues.insert(QueueSlot {
            name: name.clone(),
            mode: QueueMode::default(),
            entries: 0,
            incoming: 0,
            due: 0,
            deferred: 0,
            active: 0,
            reasons: Default::default(),
            waiting: BTreeSet::new(),
            claim: None,
        });
        self.queue_names.insert(name.clone(), number);
        number
    }

    /// The number of a lane, which is made known if it was not.
    pub(crate) fn lane_number(&mut self, id: LaneId) -> u32 {
        if let Some(number) = self.lane_ids.get(&id) {
            return *number;
        }
        let number = self.lanes.insert(LaneSlot {
            id,
            due: BTreeSet::new(),
            entries: 0,
            until: None,
            probe: None,
            served: 0,
            listed: Listed::Nowhere,
        });
        self.lane_ids.insert(id, number);
        number
    }

    /// Forgets lanes and queues that have nothing left to say.
    pub(crate) fn forget_idle(&mut self, now: Timestamp) {
        let idle = |lane: &LaneSlot| {
            lane.entries == 0
                && lane.until.is_none_or(|until| now.0.saturating_sub(until.0) > BACK_OFF_MEMORY_MS)
        };
        let lanes: Vec<u32> =
            self.lanes.iter().filter(|(_, lane)| idle(lane)).map(|(number, _)| number).collect();
        for number in lanes {
            if let Some(lane) = self.lanes.at_mut(number)
                && lane.until.take().is_some()
            {
                let id = lane.id;
                self.dirty_small.insert(super::Small::Lane(id));
            }
            self.forget_lane(number);
        }
        let queues: Vec<u32> =
            self.queues.iter().filter(|(_, queue)| queue.entries == 0).map(|(number, _)| number).collect();
        for number in queues {
            self.forget_queue(number);
        }
    }

    fn forget_lane(&mut self, number: u32) {
        if let Some(lane) = self.lanes.at(number)
            && lane.entries == 0
            && lane.until.is_none()
        {
            let (id, listed) = (lane.id, lane.listed);
            self.unlist(listed, number);
            self.lane_ids.remove(&id);
            self.lanes.remove(number);
        }
    }

    fn forget_queue(&mut self, number: u32) {
        if let Some(queue) = self.queues.at(number)
            && queue.entries == 0
            && queue.mode == QueueMode::default()
            && queue.claim.is_none()
        {
            let name = queue.name.clone();
            self.queue_names.remove(&name);
            self.draining.remove(&number);
            self.queues.remove(number);
        }
    }
}
