//! Taking a message in: what is large is sealed first, then one step, which is on disk before it is answered.

use posthouse_model::{Incarnation, Timestamp};

use super::super::{
    EmbeddedStore,
    core::Until,
    effect::{Effect, Phase},
    log::Blobs,
    state::intake::Prepared,
};
use crate::{
    message::{NewContent, NewMessage},
    store::{Enqueued, StoreError},
};

impl EmbeddedStore {
    /// Takes a message in.
    pub(super) async fn take_in(
        &self,
        who: Incarnation,
        message: NewMessage,
        fast: &[u16],
        now: Timestamp,
    ) -> Result<Enqueued, StoreError> {
        let (id, entries) = (message.id, message.entries.len());
        let known = || Enqueued { leases: vec![None; entries], duplicate: true };
        self.look(|inner| inner.state.require_alive(who, now))?;
        let prepared = Prepared::new(message)?;
        if self.look(|inner| inner.state.admit(who, id, now))? {
            // Perhaps there, and not yet on disk.
            self.step(Until::Synced, |_| Ok(())).await?;
            return Ok(known());
        }
        let chunked = if let NewContent::Chunks(chunks) = prepared.message.content {
            let meta = prepared.message.meta.clone();
            self.blocking(move |shared| shared.files.seal(id, &meta, chunks)).await??;
            true
        } else {
            false
        };
        self.shared.room_to_write().await?;
        self.step(Until::Synced, |inner| {
            if inner.state.admit(who, id, now)? {
                return Ok(known());
            }
            if !fast.is_empty() {
                // What is due by now closes the fast path, whether or not a lease has moved it.
                let moved = inner.state.move_on(now);
                inner.commit(moved, &Blobs::default(), false)?;
            }
            let mut blobs = Blobs::default();
            let row = prepared.row(&mut blobs, false, |entry| Phase::Incoming { mode: entry.mode });
            let open = inner.state.open(&prepared, fast);
            let mut effects = vec![Effect::Message(row)];
            if !open.is_empty() {
                let entries = open.iter().map(|index| (id.into(), *index)).collect();
                effects.push(Effect::Leased { who: who.0, entries });
            }
            inner.commit(effects, &blobs, true)?;
            let leases = inner.state.own(who, &prepared, &open, now);
            let leases = leases.into_iter().map(|picked| picked.map(|picked| picked.token)).collect();
            if chunked {
                self.shared.files.enqueued(id);
            }
            Ok(Enqueued { leases, duplicate: false })
        })
        .await
    }
}
