//! The memory that clients make a node hold for messages that are not complete, in all sessions together (decision 0014). A session has a little
//! of its own; what it needs beyond is taken from here, and waited for or refused while it is not there. Counts, and does no I/O.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};

/// All of it. With it go the places' own shares, and both are far below what a node is usually given.
const OCTETS: usize = 128 * 1024 * 1024;

/// How long content waits for memory that others use, before its message is told to come later: a sender waits for longer.
const WAIT: Duration = Duration::from_mins(1);

/// What one permit stands for, in octets.
const UNIT: usize = 64;

/// The memory of a node.
#[derive(Clone, Debug)]
pub struct Memory(Arc<Semaphore>);

/// Some of it; given back when dropped.
#[derive(Debug)]
pub struct Share(OwnedSemaphorePermit);

impl Memory {
    /// All of it.
    #[must_use]
    pub fn new() -> Self {
        Self::of(OCTETS)
    }

    fn of(octets: usize) -> Self {
        Self(Arc::new(Semaphore::new(octets / UNIT)))
    }

    /// Takes so many octets; none if they are not there now.
    #[must_use]
    pub fn try_take(&self, octets: usize) -> Option<Share> {
        Arc::clone(&self.0).try_acquire_many_owned(units(octets)).ok().map(Share)
    }

    /// Takes so many octets as soon as they are there, in the order of those who ask; none if that takes too long.
    pub async fn take(&self, octets: usize) -> Option<Share> {
        let taking = Arc::clone(&self.0).acquire_many_owned(units(octets));
        time::timeout(WAIT, taking).await.ok()?.ok().map(Share)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Share {
    /// Adds more of the same memory: a node has but one.
    pub fn grow(&mut self, more: Self) {
        self.0.merge(more.0);
    }
}

fn units(octets: usize) -> u32 {
    u32::try_from(octets.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_taken_is_not_there_until_it_is_given_back() {
        let memory = Memory::of(10 * UNIT);
        let mut first = memory.try_take(4 * UNIT).unwrap();
        first.grow(memory.try_take(5 * UNIT - 1).unwrap());
        assert!(memory.try_take(UNIT + 1).is_none());
        let waiting = tokio::spawn({
            let memory = memory.clone();
            async move { memory.take(2 * UNIT).await }
        });
        drop(first);
        assert!(waiting.await.unwrap().is_some());
    }
}
