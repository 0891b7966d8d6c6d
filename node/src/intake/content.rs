//! The content of one message on its way into the store: small ones in memory, larger ones chunk by chunk, one copy at a time.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use posthouse_model::{MessageId, Timestamp};
use posthouse_queue::{CHUNK_SIZE, NewContent, Store, StoreError};

use super::memory::{Memory, Share};

/// Room taken at first: most mail fits, and a session that sends nothing large costs no more.
const FIRST_ROOM: usize = 8 * 1024;

/// Content that is being written.
pub struct ContentWriter {
    store: Arc<dyn Store>,
    id: MessageId,
    buffer: BytesMut,
    chunks: u32,
    size: u64,
    crc32: crc32fast::Hasher,
    memory: Memory,
    /// For a chunk: content above the first room has one.
    share: Option<Share>,
}

/// Content that is complete.
pub struct Written {
    /// What to enqueue.
    pub content: NewContent,
    /// Octets.
    pub size: u64,
    /// CRC-32 (IEEE).
    pub crc32: u32,
}

impl ContentWriter {
    /// Empty content of a message.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, id: MessageId, memory: Memory) -> Self {
        let buffer = BytesMut::with_capacity(FIRST_ROOM);
        let crc32 = crc32fast::Hasher::new();
        Self { store, id, buffer, chunks: 0, size: 0, crc32, memory, share: None }
    }

    /// Adds a piece. Waits for the store while a full chunk is written: one is in flight per session, so a slow store slows the client. Waits
    /// for memory, too, where many send at once.
    pub async fn push(&mut self, mut piece: &[u8], now: Timestamp) -> Result<(), StoreError> {
        self.size += piece.len() as u64;
        self.crc32.update(piece);
        while !piece.is_empty() {
            if self.buffer.len() == CHUNK_SIZE {
                self.flush(now).await?;
            }
            let (fits, rest) = piece.split_at(piece.len().min(CHUNK_SIZE - self.buffer.len()));
            self.make_room(fits.len()).await?;
            self.buffer.extend_from_slice(fits);
            piece = rest;
        }
        Ok(())
    }

    /// Ends the content.
    pub async fn finish(mut self, now: Timestamp) -> Result<Written, (Self, StoreError)> {
        let content = if self.chunks == 0 {
            NewContent::Inline(std::mem::take(&mut self.buffer).freeze())
        } else {
            if let Err(error) = self.flush(now).await {
                return Err((self, error));
            }
            NewContent::Chunks(self.chunks)
        };
        Ok(Written { content, size: self.size, crc32: self.crc32.finalize() })
    }

    /// Drops what was written: the message will not be enqueued. Chunks that cannot be dropped now go away by themselves.
    pub async fn drop_content(self) {
        if self.chunks > 0 {
            let _ = self.store.drop_chunks(self.id).await;
        }
    }

    async fn flush(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let chunk: Bytes = self.buffer.split().freeze();
        self.store.put_chunk(self.id, self.chunks, chunk, now).await?;
        self.chunks += 1;
        Ok(())
    }

    /// Grows the buffer to what small mail needs, or at once to a whole chunk: never by doubling past it.
    async fn make_room(&mut self, more: usize) -> Result<(), StoreError> {
        let needed = self.buffer.len() + more;
        if needed <= self.buffer.capacity() {
            return Ok(());
        }
        let target = if needed <= FIRST_ROOM { FIRST_ROOM } else { CHUNK_SIZE };
        if target > FIRST_ROOM && self.share.is_none() {
            let share = self.memory.take(CHUNK_SIZE).await;
            self.share = Some(share.ok_or_else(|| StoreError::Full("no memory for the content".to_owned()))?);
        }
        self.buffer.reserve(target - self.buffer.len());
        Ok(())
    }
}
