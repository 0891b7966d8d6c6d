//! Taking back what incarnations had that departed or died.

use posthouse_model::{Incarnation, Timestamp};

use super::super::{
    EmbeddedStore,
    core::{Inner, Until},
    log::Blobs,
};
use crate::store::{Reaped, StoreError};

/// Leases that one reap takes back, and messages that it confirms.
const REAP: usize = 250;

/// How long a release's id is known: far longer than one is repeated or resumed.
const RELEASE_LIFE_MS: u64 = 7 * 86_400_000;

impl EmbeddedStore {
    /// Ends an incarnation and takes back all that it had.
    pub(super) async fn end_incarnation(
        &self,
        who: Incarnation,
        now: Timestamp,
    ) -> Result<Reaped, StoreError> {
        self.step(Until::Synced, |inner| {
            let mut reaped = Reaped::default();
            inner.state.hear(now);
            take_back(inner, who, usize::MAX, now, &mut reaped)?;
            Ok(reaped)
        })
        .await
    }

    /// Takes back a part of what dead incarnations had, and prunes what is over.
    pub(super) async fn take_over(&self, now: Timestamp) -> Result<Reaped, StoreError> {
        let reaped = self
            .step(Until::Synced, |inner| {
                let mut reaped = Reaped::default();
                inner.state.hear(now);
                for who in inner.state.dead(now) {
                    let done = usize::try_from(reaped.leases + reaped.activated).unwrap_or(usize::MAX);
                    let Some(left) = REAP.checked_sub(done).filter(|left| *left > 0) else { break };
                    take_back(inner, who, left, now, &mut reaped)?;
                }
                inner.state.prune(now, Timestamp(now.0.saturating_sub(RELEASE_LIFE_MS)));
                inner.state.prune_departed(now);
                inner.state.prune_rates(now);
                inner.state.forget_idle(now);
                Ok(reaped)
            })
            .await?;
        self.blocking(move |shared| {
            if let Err(error) = shared.files.prune(now) {
                tracing::warn!(%error, "chunks that nobody enqueued cannot be removed");
            }
        })
        .await?;
        Ok(reaped)
    }
}

/// Takes back what an incarnation had, `budget` of each kind at most.
fn take_back(
    inner: &mut Inner,
    who: Incarnation,
    budget: usize,
    now: Timestamp,
    reaped: &mut Reaped,
) -> Result<(), StoreError> {
    reaped.incarnations += u64::from(inner.state.end(who, now));
    let effects = inner.state.confirm_orphans(who, budget, now, reaped);
    inner.commit(effects, &Blobs::default(), false)?;
    let leases = inner.state.some_leases(who, budget);
    inner.return_leases(&leases);
    reaped.leases += leases.len() as u64;
    inner.state.forget_ended(who);
    Ok(())
}
