//! One life of this node in the store: an incarnation, and until when its leases are sure. No I/O.
//!
//! Whoever does something in its name holds it: a life that nobody holds any more has nothing under way that this node knows of.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use posthouse_model::Incarnation;

/// A life.
#[derive(Debug)]
pub struct Life {
    incarnation: Incarnation,
    /// Milliseconds after the node's start until which its leases are sure.
    deadline: AtomicU64,
    retired: AtomicBool,
}

impl Life {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            incarnation: Incarnation(rand::random()),
            deadline: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        })
    }

    /// Its name in the store.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Nothing new is begun in its name: what is under way is brought to its end.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// The store has been told, or has said, that it has ended: nothing is its own any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_retired() && self.deadline.load(Ordering::Relaxed) == 0
    }

    pub(super) fn is_sure(&self, at: Duration) -> bool {
        millis(at) < self.deadline.load(Ordering::Relaxed)
    }

    pub(super) fn sure_until(&self, until: Duration) {
        self.deadline.store(millis(until), Ordering::Relaxed);
    }

    /// Its leases are no longer its own.
    pub(super) fn end(&self) {
        self.deadline.store(0, Ordering::Relaxed);
        self.retired.store(true, Ordering::Relaxed);
    }
}

/// The lives of a node: the present one, and at most one before it that is not over yet.
#[derive(Debug)]
pub(super) struct Lives {
    inner: RwLock<Inner>,
}

#[derive(Debug)]
struct Inner {
    present: Arc<Life>,
    former: Option<Arc<Life>>,
    /// The present one may have been given leases that nobody here knows of.
    doubt: bool,
}

impl Lives {
    pub(super) fn new() -> Self {
        Self { inner: RwLock::new(Inner { present: Life::new(), former: None, doubt: false }) }
    }

    pub(super) fn present(&self) -> Arc<Life> {
        Arc::clone(&self.read().present)
    }

    /// All of them, the present one last.
    pub(super) fn all(&self) -> Vec<Arc<Life>> {
        let inner = self.read();
        inner.former.iter().chain([&inner.present]).map(Arc::clone).collect()
    }

    pub(super) fn doubt(&self, life: &Arc<Life>) {
        let mut inner = self.write();
        inner.doubt |= Arc::ptr_eq(&inner.present, life);
    }

    /// A life that can take over from a present one in doubt: none while the one before it is not over, so that there are never many.
    pub(super) fn successor(&self) -> Option<Arc<Life>> {
        let inner = self.read();
        (inner.doubt && inner.former.is_none()).then(Life::new)
    }

    /// It takes over; the present one begins no more.
    pub(super) fn succeed(&self, successor: Arc<Life>) {
        let mut inner = self.write();
        let former = std::mem::replace(&mut inner.present, successor);
        former.retired.store(true, Ordering::Relaxed);
        inner.former = Some(former);
        inner.doubt = false;
    }

    /// The former life, if nobody does anything in its name any more.
    pub(super) fn finished(&self) -> Option<Arc<Life>> {
        // Nobody can take hold of it anew: only the present one is handed out. The second is the one that is returned.
        self.read().former.as_ref().filter(|former| Arc::strong_count(former) == 1).map(Arc::clone)
    }

    /// The store has ended a life: true if it was the present one; another has begun then.
    pub(super) fn lost(&self, life: &Arc<Life>) -> bool {
        life.end();
        let mut inner = self.write();
        if inner.former.as_ref().is_some_and(|former| Arc::ptr_eq(former, life)) {
            inner.former = None;
        }
        let present = Arc::ptr_eq(&inner.present, life);
        if present {
            inner.present = Life::new();
            inner.doubt = false;
        }
        present
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        // Nobody panics while holding it.
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_in_doubt_is_succeeded_once_and_is_over_when_nobody_holds_it() {
        let lives = Lives::new();
        let first = lives.present();
        assert!(lives.successor().is_none(), "nobody doubts it");
        lives.doubt(&first);
        lives.succeed(lives.successor().unwrap());
        assert!(first.is_retired() && !lives.present().is_retired());
        assert!(lives.finished().is_none(), "somebody holds it");

        let second = lives.present();
        lives.doubt(&first);
        lives.doubt(&second);
        assert!(lives.successor().is_none(), "the one before is not over");
        drop(first);
        let finished = lives.finished().unwrap();
        assert!(!lives.lost(&finished));
        lives.succeed(lives.successor().unwrap());
        assert!(second.is_retired());
    }

    #[test]
    fn a_doubt_about_a_former_life_is_no_doubt_about_the_present_one() {
        let lives = Lives::new();
        let first = lives.present();
        assert!(lives.lost(&first));
        lives.doubt(&first);
        assert!(lives.successor().is_none());
        assert!(!first.is_sure(Duration::ZERO));
    }

    #[test]
    fn leases_are_sure_up_to_the_deadline_and_not_after_the_end() {
        let lives = Lives::new();
        let life = lives.present();
        assert!(!life.is_sure(Duration::ZERO), "before the first heartbeat");
        life.sure_until(Duration::from_secs(9));
        assert!(life.is_sure(Duration::from_millis(8_999)) && !life.is_sure(Duration::from_secs(9)));
        life.end();
        assert!(!life.is_sure(Duration::ZERO));
    }
}
