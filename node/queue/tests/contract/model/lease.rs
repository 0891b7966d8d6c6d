//! The model's leases: which answers to a request are right, and one of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use posthouse_model::{EntryId, Incarnation, Timestamp};
use posthouse_queue::{Lane, LeaseRequest, Leased, StoreError};

use super::{Item, Place, State};

/// One entry of an answer to a lease request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) id: EntryId,
    pub(crate) attend: bool,
    pub(crate) probe: bool,
}

impl State {
    pub(crate) fn lease(
        &mut self,
        request: &LeaseRequest,
        now: Timestamp,
    ) -> Result<Vec<Leased>, StoreError> {
        self.living(request.who, now)?;
        let choices = self.choose(request, now);
        if let Err(complaint) = self.legal_lease(request, now, &choices) {
            panic!("the model contradicts itself: {complaint}");
        }
        Ok(choices.into_iter().map(|choice| self.take(request.who, choice, now)).collect())
    }

    /// An answer to the request.
    fn choose(&mut self, request: &LeaseRequest, now: Timestamp) -> Vec<Choice> {
        let max = request.max as usize;
        if request.claim.is_some() {
            let mut claimed = self.claimed(request);
            claimed.truncate(max);
            return claimed.into_iter().map(|id| Choice { id, attend: false, probe: false }).collect();
        }
        self.ripen(now);
        let attended = self.to_attend(now).into_iter().take(max);
        let mut choices: Vec<Choice> = attended.map(|id| Choice { id, attend: true, probe: false }).collect();
        let mut lanes: Vec<(u64, Lane, Vec<EntryId>)> = self
            .ready(now)
            .into_iter()
            .map(|(lane, ids)| (self.lanes.get(&lane).map_or(0, |state| state.served), lane, ids))
            .collect();
        lanes.sort();
        for (_, lane, mut ids) in lanes {
            let Some((limit, probe)) = self.lane_limit(&lane, request, now) else { continue };
            ids.retain(|id| choices.iter().all(|choice| choice.id != *id));
            ids.truncate(limit.min(max.saturating_sub(choices.len())));
            choices.extend(ids.into_iter().map(|id| Choice { id, attend: false, probe }));
        }
        choices
    }

    /// What a claim's lease finds, in hold order.
    fn claimed(&self, request: &LeaseRequest) -> Vec<EntryId> {
        let mut found: Vec<(u64, EntryId)> = self
            .items
            .iter()
            .filter(|(_, item)| {
                self.claim_of(item)
                    .is_some_and(|claim| Some(claim.id) == request.claim && claim.who == request.who)
            })
            .filter_map(|(id, item)| match item.place {
                Place::Held { sequence, .. } => Some((sequence, *id)),
                _ => None,
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// What has to be looked at, the longest waiting first.
    fn to_attend(&self, now: Timestamp) -> Vec<EntryId> {
        let mut found: Vec<(Timestamp, EntryId)> = self
            .items
            .iter()
            .filter(|(_, item)| item.entry.attend_at <= now && self.claim_of(item).is_none())
            .filter(|(_, item)| !matches!(item.place, Place::Incoming(_) | Place::Active { .. }))
            .map(|(id, item)| (item.entry.attend_at, *id))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// What is due, by lane, in the order to lease it.
    fn ready(&self, now: Timestamp) -> BTreeMap<Lane, Vec<EntryId>> {
        let mut due: Vec<(u8, Timestamp, EntryId, Lane)> = self
            .items
            .iter()
            .filter_map(|(id, item)| {
                let since = self.due_since(item, now)?;
                Some((item.entry.priority, since, *id, item.entry.lane()))
            })
            .collect();
        due.sort();
        let mut ready: BTreeMap<Lane, Vec<EntryId>> = BTreeMap::new();
        for (_, _, id, lane) in due {
            ready.entry(lane).or_default().push(id);
        }
        ready
    }

    /// Since when an entry is due, by its place, the time or a release.
    pub(crate) fn due_since(&self, item: &Item, now: Timestamp) -> Option<Timestamp> {
        match item.place {
            Place::Due { since } => Some(since),
            Place::Deferred { until } if until <= now => Some(until),
            Place::Held { .. } => self.freed(item),
            _ => None,
        }
    }

    /// How many entries a lane gives to this request, and whether as a probe.
    fn lane_limit(&self, lane: &Lane, request: &LeaseRequest, now: Timestamp) -> Option<(usize, bool)> {
        if request.skip.contains(&lane.id()) {
            return None;
        }
        let state = self.lanes.get(lane).copied().unwrap_or_default();
        match state.back_off {
            None => Some((request.max_per_lane as usize, false)),
            Some(until) if until <= now && state.probe.is_none() => {
                Some((1.min(request.max_per_lane as usize), true))
            }
            Some(_) => None,
        }
    }

    /// Whether these are a right answer to the request.
    pub(crate) fn legal_lease(
        &self,
        request: &LeaseRequest,
        now: Timestamp,
        choices: &[Choice],
    ) -> Result<(), String> {
        let max = request.max as usize;
        if choices.len() > max {
            return Err(format!("{} entries where {max} were asked for", choices.len()));
        }
        if request.claim.is_some() {
            // Only a sentence looks at the order: the hold sequences that one step gives to several entries are in no order of theirs.
            let claimed = self.claimed(request);
            let among = choices.iter().all(|choice| claimed.contains(&choice.id));
            return if among && choices.len() == claimed.len().min(max) {
                Ok(())
            } else {
                Err(format!("the claim has {claimed:?}, leased were {choices:?}"))
            };
        }
        let attend = self.to_attend(now);
        let attended: Vec<EntryId> =
            choices.iter().filter(|choice| choice.attend).map(|choice| choice.id).collect();
        if let Some(other) = attended.iter().find(|id| !attend.contains(id)) {
            return Err(format!("{other} was leased to attend to, but its time has not come"));
        }
        if attended.len() < attend.len().min(max) {
            return Err(format!("{attend:?} are to be attended to, leased for that were {attended:?}"));
        }
        if choices.iter().skip(attended.len()).any(|choice| choice.attend) {
            return Err("what is to be attended to comes first".into());
        }
        let room_left = choices.len() < max;
        let ready = self.ready(now);
        let due: BTreeSet<EntryId> = ready.values().flatten().copied().collect();
        for choice in choices.iter().filter(|choice| !choice.attend) {
            if !due.contains(&choice.id) {
                return Err(format!("{} is not due", choice.id));
            }
        }
        for (lane, mut ids) in ready {
            ids.retain(|id| !attended.contains(id));
            let found: Vec<Choice> =
                choices.iter().filter(|choice| !choice.attend && ids.contains(&choice.id)).copied().collect();
            self.legal_lane(&lane, &ids, &found, room_left, request, now)?;
        }
        Ok(())
    }

    fn legal_lane(
        &self,
        lane: &Lane,
        due: &[EntryId],
        found: &[Choice],
        room_left: bool,
        request: &LeaseRequest,
        now: Timestamp,
    ) -> Result<(), String> {
        let shown = format!("lane {} {} {:?}", lane.queue, lane.next_hop, lane.source);
        let Some((limit, probe)) = self.lane_limit(lane, request, now) else {
            return if found.is_empty() {
                Ok(())
            } else {
                Err(format!("{shown} is skipped, backed off or probed, leased were {found:?}"))
            };
        };
        let ids: Vec<EntryId> = found.iter().map(|choice| choice.id).collect();
        let rank = |id: &EntryId| due.iter().position(|other| other == id);
        let before = |first: &EntryId, second: &EntryId| {
            let (first_item, second_item) = (&self.items[first], &self.items[second]);
            if first_item.open_since || second_item.open_since {
                first_item.entry.priority < second_item.entry.priority
            } else {
                rank(first) < rank(second)
            }
        };
        let left: Vec<EntryId> = due.iter().filter(|id| !ids.contains(id)).copied().collect();
        let out_of_turn = ids
            .iter()
            .enumerate()
            .any(|(place, id)| ids.iter().skip(place + 1).chain(&left).any(|later| before(later, id)));
        if out_of_turn {
            let told: Vec<String> = due.iter().map(|id| self.tell(*id, now)).collect();
            return Err(format!("{shown} has due, in order, {}; leased were {ids:?}", told.join(", ")));
        }
        // A lane that was emptied after it was backed off may be forgotten: then it is open.
        let forgotten = self.lanes.get(lane).is_some_and(|state| state.emptied);
        let open = found.iter().all(|choice| !choice.probe);
        let (limit, probe) = if probe && forgotten && open { (ids.len(), false) } else { (limit, probe) };
        if ids.len() > limit {
            return Err(format!("{shown} may give {limit}, leased were {ids:?}"));
        }
        if found.iter().any(|choice| choice.probe != probe) {
            return Err(format!("{shown}: probe should be {probe}: {found:?}"));
        }
        if room_left && ids.len() < limit.min(due.len()) {
            return Err(format!("{shown} has due {due:?} and room for {limit}, leased were {ids:?} only"));
        }
        Ok(())
    }

    /// An entry's place in its lane, for a complaint.
    fn tell(&self, id: EntryId, now: Timestamp) -> String {
        let item = &self.items[&id];
        let since = self.due_since(item, now).unwrap_or_default();
        let open = if item.open_since { " or so" } else { "" };
        format!("{id} (priority {}, due for {} ms{open})", item.entry.priority, now.0.saturating_sub(since.0))
    }

    /// Leases one entry.
    pub(crate) fn take(&mut self, who: Incarnation, choice: Choice, now: Timestamp) -> Leased {
        let Choice { id, attend, probe } = choice;
        // What a claim leases, or what is attended to, does not tell of its lane.
        let by_lane = !attend && self.claim_of(&self.items[&id]).is_none();
        // A deferred one that is leased by hand goes back to what it was, whether its time has come or not.
        if !matches!(self.items[&id].place, Place::Deferred { .. }) {
            self.ripen_one(id, now);
        }
        let item = &self.items[&id];
        let held = matches!(item.place, Place::Held { .. }) && self.claim_of(item).is_none();
        let token = self.next_token();
        // Released within its claim: its hold may end with the release, which takes effect later, or with this lease.
        let released =
            self.items.get(&id).and_then(|item| self.release_of(item)).map(|recorded| recorded.release.at);
        let item = self.items.get_mut(&id).unwrap();
        if let Place::Held { since, .. } = item.place {
            item.entry.held_ms += now.0.saturating_sub(since.0);
            item.open_ms += released.map_or(0, |at| now.0.saturating_sub(at.0));
        }
        let before = Box::new(item.place.clone());
        item.place = Place::Active { who, token, leased_at: now, before };
        let lane = item.entry.lane();
        let entry = Arc::new(item.entry.clone());
        if by_lane {
            self.turn += 1;
        }
        let turn = self.turn;
        let state = self.lanes.entry(lane).or_default();
        if probe {
            state.probe = Some(id);
        } else if state.emptied && by_lane && state.back_off.is_some_and(|until| until <= now) {
            state.back_off = None; // it was forgotten
        }
        if by_lane {
            state.served = turn;
        }
        let message = &self.messages[&id.message];
        let (message, content) = (Arc::clone(&message.meta), message.content.clone());
        Leased { entry, message, content, token, attend, probe, held }
    }

    pub(crate) fn lease_entry(
        &mut self,
        who: Incarnation,
        id: EntryId,
        now: Timestamp,
    ) -> Result<Option<Leased>, StoreError> {
        self.living(who, now)?;
        let Some(item) = self.items.get(&id) else { return Ok(None) };
        let busy = matches!(item.place, Place::Incoming(_) | Place::Active { .. });
        if busy || self.claim_of(item).is_some() {
            return Ok(None);
        }
        // Whatever its lane: the lane's turn and its probe are not touched, so it is leased as what is attended to is.
        let leased = self.take(who, Choice { id, attend: true, probe: false }, now);
        Ok(Some(Leased { attend: false, ..leased }))
    }
}
