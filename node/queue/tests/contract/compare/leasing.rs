//! Leases of entries and of jobs on both: the model says whether the store chose rightly, and takes the same.

use std::sync::Arc;

use posthouse_model::{EntryId, Incarnation};
use posthouse_queue::{Content, LeaseRequest, LeaseToken, Leased, Store};

use super::{Attempt, Pair, Run, Trouble, differs, lost, same_entry, unexpected};
use crate::contract::model::Choice;

impl Pair {
    pub(super) async fn lease(&mut self, request: &LeaseRequest) -> Result<(), Trouble> {
        let stored = match &self.store {
            Some(store) => Some(lost(store.lease(request, self.now).await)?.map_err(unexpected)?),
            None => None,
        };
        if let Some(leased) = &stored {
            let choice =
                |leased: &Leased| Choice { id: leased.entry.id, attend: leased.attend, probe: leased.probe };
            self.choices = leased.iter().map(choice).collect();
        }
        let choices = self.choices.clone();
        if let Err(complaint) = self.model.state().legal_lease(request, self.now, &choices) {
            return differs(complaint);
        }
        if request.claim.is_none() {
            self.model.state().ripen(self.now);
        }
        for (place, choice) in choices.into_iter().enumerate() {
            let expected = self.model.state().take(request.who, choice, self.now);
            let found = stored.as_ref().and_then(|leased| leased.get(place));
            self.attempt(request.who, expected, found)?;
        }
        let tokens: Vec<LeaseToken> = stored.iter().flatten().map(|leased| leased.token).collect();
        self.tokens_grow(&tokens)
    }

    /// Notes an attempt, after a look at what both leased.
    pub(super) fn attempt(
        &mut self,
        who: Incarnation,
        expected: Leased,
        found: Option<&Leased>,
    ) -> Result<(), Trouble> {
        let id = expected.entry.id;
        if let Some(found) = found {
            let state = &mut *self.model.state();
            let item = state.items.get_mut(&id).unwrap();
            same_entry(&found.entry, &expected.entry)?;
            if found.entry.held_ms.abs_diff(expected.entry.held_ms) > item.open_ms {
                let (found, expected) = (found.entry.held_ms, expected.entry.held_ms);
                return differs(format!("{id} was held for {found} ms, the model says {expected} ms"));
            }
            item.entry.held_ms = found.entry.held_ms;
            item.open_ms = 0;
            if found.held != expected.held {
                let (found, expected) = (found.held, expected.held);
                return differs(format!("{id} was leased as held: {found}, the model says {expected}"));
            }
            if found.message != expected.message {
                return differs(format!(
                    "{id}: message {:?}, the model has {:?}",
                    found.message, expected.message
                ));
            }
            let content = match (&found.content, &expected.content) {
                (Content::Inline(found), Content::Inline(expected)) => found == expected,
                (found, expected) => found == expected,
            };
            if !content {
                return differs(format!("{id}: other content"));
            }
        }
        let stored = found.map(|found| (Arc::clone(&found.entry), found.token));
        let Leased { entry, token, .. } = expected;
        self.attempts.push(Attempt { who, entry, token, stored });
        Ok(())
    }

    pub(super) async fn lease_entry(&mut self, who: Incarnation, id: EntryId) -> Result<(), Trouble> {
        let stored = match &self.store {
            Some(store) => Some(lost(store.lease_entry(who, id, self.now).await)?.map_err(unexpected)?),
            None => None,
        };
        let expected = self.model.lease_entry(who, id, self.now).await.map_err(unexpected)?;
        if let Some(stored) = &stored
            && stored.is_some() != expected.is_some()
        {
            return differs(format!("{id} leased by hand: {stored:?}, the model says {expected:?}"));
        }
        let stored = stored.flatten();
        if let Some(expected) = expected {
            self.attempt(who, expected, stored.as_ref())?;
        }
        let tokens: Vec<LeaseToken> = stored.iter().map(|leased| leased.token).collect();
        self.tokens_grow(&tokens)
    }

    pub(super) async fn lease_jobs(&mut self, who: Incarnation, max: u8) -> Result<(), Trouble> {
        let max = u32::from(max);
        let stored = match &self.store {
            Some(store) => Some(lost(store.lease_jobs(who, max, self.now).await)?.map_err(unexpected)?),
            None => None,
        };
        let expected = self.model.lease_jobs(who, max, self.now).await.map_err(unexpected)?;
        if let Some(stored) = &stored
            && !stored.iter().map(|run| &run.job).eq(expected.iter().map(|run| &run.job))
        {
            return differs(format!("leased jobs {stored:?}, the model says {expected:?}"));
        }
        for (place, run) in expected.into_iter().enumerate() {
            let stored = stored.as_ref().and_then(|stored| stored.get(place)).map(|run| run.token);
            self.runs.push(Run { who, key: run.job.key, token: run.token, stored });
        }
        Ok(())
    }
}
