//! What the operations have in common: a step under the core's lock, the wait after it, file work where it may block.

use super::super::{
    EmbeddedStore,
    core::{Done, Inner, Shared, Until},
    effect::Effect,
    log::Blobs,
    state::Slot,
};
use crate::store::StoreError;

impl EmbeddedStore {
    /// Does a step and waits for what it has to wait for.
    pub(super) async fn step<T>(
        &self,
        until: Until,
        step: impl FnOnce(&mut Inner) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (value, done) = self.shared.step(until, step)?;
        wait(done).await?;
        Ok(value)
    }

    /// Does what changes nothing for good.
    pub(super) fn look<T>(
        &self,
        look: impl FnOnce(&mut Inner) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.shared.step(Until::Applied, look).map(|(value, _)| value)
    }

    /// Commits effects and waits until they are on disk.
    pub(super) async fn change(
        &self,
        plan: impl FnOnce(&mut Inner) -> Result<Vec<Effect>, StoreError>,
    ) -> Result<(), StoreError> {
        self.step(Until::Synced, |inner| {
            let effects = plan(inner)?;
            inner.commit(effects, &Blobs::default(), false)
        })
        .await
    }

    /// Does file work where it may block.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .map_err(|error| StoreError::Unavailable(format!("file work was cut off: {error}")))
    }

    /// Does an act on a whole queue, a part at a time, so that nobody waits long in between.
    pub(super) async fn walk(
        &self,
        part: impl Fn(&Inner, Slot) -> (u64, Vec<Effect>, Option<Slot>),
    ) -> Result<u64, StoreError> {
        let (mut changed, mut from) = (0, Some(0));
        while let Some(slot) = from {
            let until = if changed > 0 { Until::Written } else { Until::Applied };
            let (more, next) = self
                .step(until, |inner| {
                    let (more, effects, next) = part(inner, slot);
                    inner.commit(effects, &Blobs::default(), false)?;
                    Ok((more, next))
                })
                .await?;
            changed += more;
            from = next;
        }
        self.step(Until::Synced, |_| Ok(())).await?;
        Ok(changed)
    }
}

async fn wait(done: Done) -> Result<(), StoreError> {
    match done {
        None => Ok(()),
        Some(done) => {
            done.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the store was closed".to_owned())))
        }
    }
}
