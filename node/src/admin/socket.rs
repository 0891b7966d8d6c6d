//! The socket of a running node: one request a connection, as a line of JSON, answered with a line of JSON. Only its owner may connect.

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    time,
};
use tokio_util::sync::CancellationToken;

use super::{Answer, Operator, Request};

/// The longest request: a target and a reason.
const REQUEST_LENGTH: u64 = 16 * 1024;

/// The longest answer: a list of 100,000 entries with many recipients.
const ANSWER_LENGTH: u64 = 256 * 1024 * 1024;

/// How long a connected client may take to say its request.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket that is removed when the node ends.
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Opens the socket; one that a killed node left behind is replaced.
    pub fn open(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        // Whoever can open the socket can read and delete mail.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers requests until `stop`.
    pub async fn serve(self, operator: Arc<Operator>, stop: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let operator = Arc::clone(&operator);
                    tokio::spawn(async move {
                        // A client that went away hurts nobody but itself.
                        let _ = answer(stream, &operator).await;
                    });
                }
                // Out of file descriptors, most likely: others will be closed.
                Err(_) => time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Left behind, it would only be replaced by the next node.
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn answer(stream: UnixStream, operator: &Operator) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    time::timeout(PATIENCE, (&mut stream).take(REQUEST_LENGTH).read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => operator.carry_out(&request).await,
        Err(error) => Answer::Failed {
            error: format!("the node does not understand the request ({error})"),
            refused: true,
        },
    };
    let mut reply = serde_json::to_vec(&answer)?;
    reply.push(b'\n');
    stream.get_mut().write_all(&reply).await
}

/// Asks the node behind a socket.
pub async fn ask(path: &Path, request: &Request) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(path).await?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut reply = Vec::new();
    BufReader::new(stream).take(ANSWER_LENGTH).read_until(b'\n', &mut reply).await?;
    serde_json::from_slice(&reply)
        .map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, "the node ended before it answered"))
}
