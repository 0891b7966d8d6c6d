//! The two directions of the socket: frames out, frames in, descriptors with them. It does I/O on the socket.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSlice, IoSliceMut},
    marker::PhantomData,
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use tokio::{io::Interest, net::UnixStream};

use super::{ControlError, MAX_FRAME, MAX_SOCKETS, frame::Message};

/// Room for the descriptors of one frame.
const ANCILLARY_SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_SOCKETS));

/// How much is read at once: most frames are far shorter.
const READ_SIZE: usize = 4096;

/// The sending direction.
pub struct Sender<M> {
    socket: Arc<UnixStream>,
    /// What a cancelled send left: the frame goes on where it stopped before another one begins.
    unsent: Option<Unsent>,
    direction: PhantomData<fn(M)>,
}

struct Unsent {
    octets: Vec<u8>,
    sent: usize,
    descriptors: Vec<OwnedFd>,
}

impl<M: Message> Sender<M> {
    pub(super) fn new(socket: Arc<UnixStream>) -> Self {
        Self { socket, unsent: None, direction: PhantomData }
    }

    /// Sends one message; returns when the kernel has all of it.
    pub async fn send(&mut self, message: M) -> Result<(), ControlError> {
        let (octets, descriptors) = message.encode()?;
        self.flush().await?;
        self.unsent = Some(Unsent { octets, sent: 0, descriptors });
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), ControlError> {
        while let Some(unsent) = &mut self.unsent {
            self.socket.writable().await?;
            match self.socket.try_io(Interest::WRITABLE, || unsent.write(&self.socket)) {
                Ok(()) if unsent.sent < unsent.octets.len() => {}
                Ok(()) => self.unsent = None,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_gone(&error) => return Err(ControlError::Gone),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Unsent {
    /// Writes what the socket takes; the descriptors go with the first octets.
    fn write(&mut self, socket: &UnixStream) -> io::Result<()> {
        let rest = self.octets.get(self.sent..).unwrap_or_default();
        let borrowed: Vec<_> = self.descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); ANCILLARY_SPACE];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !borrowed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(io::Error::other("too many descriptors for one frame"));
        }
        let written = sendmsg(socket, &[IoSlice::new(rest)], &mut ancillary, SendFlags::NOSIGNAL)?;
        self.sent += written;
        self.descriptors.clear();
        Ok(())
    }
}

/// The receiving direction.
pub struct Receiver<M> {
    socket: Arc<UnixStream>,
    /// Octets that have arrived and make no whole frame yet.
    octets: Vec<u8>,
    /// How many of them are known to hold no line end.
    searched: usize,
    /// Descriptors that have arrived and no frame has taken yet. They come with the first octet of the frame that names them, or before.
    descriptors: VecDeque<OwnedFd>,
    direction: PhantomData<fn() -> M>,
}

impl<M: Message> Receiver<M> {
    pub(super) fn new(socket: Arc<UnixStream>) -> Self {
        Self { socket, octets: Vec::new(), searched: 0, descriptors: VecDeque::new(), direction: PhantomData }
    }

    /// The next message; nothing when the other side is gone. After an error the stream cannot be trusted any more.
    pub async fn receive(&mut self) -> Result<Option<M>, ControlError> {
        loop {
            if let Some(line) = self.take_line() {
                return M::decode(&line, &mut self.descriptors).map(Some);
            }
            if self.octets.len() >= MAX_FRAME {
                return Err(ControlError::FrameTooLong);
            }
            let socket = Arc::clone(&self.socket);
            socket.readable().await?;
            match socket.try_io(Interest::READABLE, || self.read(&socket)) {
                // Half a frame is no message: whoever was about to say it is gone.
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_gone(&error) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            if self.descriptors.len() > MAX_SOCKETS {
                return Err(ControlError::WrongSockets);
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let unsearched = self.octets.get(self.searched..)?;
        let Some(end) = unsearched.iter().position(|octet| *octet == b'\n') else {
            self.searched = self.octets.len();
            return None;
        };
        let rest = self.octets.split_off(self.searched + end + 1);
        self.searched = 0;
        Some(std::mem::replace(&mut self.octets, rest))
    }

    fn read(&mut self, socket: &UnixStream) -> io::Result<usize> {
        let mut octets = [0; READ_SIZE];
        let mut space = [MaybeUninit::uninit(); ANCILLARY_SPACE];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(socket, &mut [IoSliceMut::new(&mut octets)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other(
                "descriptors were lost: too many at once, or none left in this process",
            ));
        }
        self.octets.extend_from_slice(octets.get(..received.bytes).unwrap_or_default());
        Ok(received.bytes)
    }
}

/// Whether an error only says that the other side is gone: a reset means that it went without reading all we said.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::PIPE, Errno::CONNRESET].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

impl<M> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl<M> fmt::Debug for Receiver<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
