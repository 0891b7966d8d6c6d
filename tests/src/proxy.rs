//! A TCP proxy in front of a store. It loses an answer: the request has been carried out, and who asked never hears of it. It keeps everybody
//! out while somebody looks at the store alone. Blocking I/O.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Result;

/// A proxy that passes everything on, but the answers it was told to lose.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    /// The next answer that has these octets is lost, and its connection with it.
    needle: Mutex<Option<Vec<u8>>>,
    lost: AtomicUsize,
    /// New connections are closed at once.
    shut: AtomicBool,
    ending: AtomicBool,
}

impl Proxy {
    /// Listens on an ephemeral loopback port.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            needle: Mutex::default(),
            lost: AtomicUsize::new(0),
            shut: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Ok(Self { address, shared })
    }

    /// `redis://127.0.0.1:N`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on a new connection is closed at once; those that there are go on.
    pub fn shut(&self) {
        self.shared.shut.store(true, Ordering::Release);
    }

    /// New connections are passed on again.
    pub fn open(&self) {
        self.shared.shut.store(false, Ordering::Release);
    }

    /// The next answer with these octets in it is lost.
    pub fn lose_answer_with(&self, needle: &[u8]) {
        *self.shared.needle() = Some(needle.to_vec());
    }

    /// How many answers were lost.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address)); // the accepting thread looks at the flag after each connection
    }
}

impl Shared {
    fn needle(&self) -> std::sync::MutexGuard<'_, Option<Vec<u8>>> {
        self.needle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what has come is to be lost; only once.
    fn is_lost(&self, came: &[u8]) -> bool {
        let mut needle = self.needle();
        let found =
            needle.as_ref().is_some_and(|needle| came.windows(needle.len()).any(|part| part == needle));
        if found {
            *needle = None;
            self.lost.fetch_add(1, Ordering::Release);
        }
        found
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ending.load(Ordering::Acquire) {
            return;
        }
        let Ok(client) = client else { continue };
        if shared.shut.load(Ordering::Acquire) {
            continue;
        }
        let Ok(server) = TcpStream::connect(shared.upstream) else { continue };
        let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { continue };
        let answers = Arc::clone(shared);
        // Each ends when either side closes: a copy that ends shuts both down.
        thread::spawn(move || copy(from_client, server, |_| false));
        thread::spawn(move || copy(from_server, client, |came| answers.is_lost(came)));
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, lost: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 256 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let came = buffer.get(..read).unwrap_or_default();
        if lost(came) || to.write_all(came).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
