//! A plain SMTP client for tests and the quickstart: it sends exactly what it is told and shows exactly what came back.
//!
//! It is not the product's sender and shares no code with it, so that the one can be tested by the other. Blocking I/O.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// RFC 5321 §4.5.3.2.6: a server may take ten minutes to acknowledge the data; no test waits longer than this for any reply.
const REPLY_TIMEOUT: Duration = Duration::from_mins(1);

/// A whole reply, as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The three digits.
    pub code: u16,
    /// The lines without code and separator.
    pub lines: Vec<String>,
}

impl Reply {
    /// 2xx and 3xx.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.code, self.lines.join(" / "))
    }
}

/// One session.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
    /// The server's greeting.
    pub greeting: Reply,
}

impl Client {
    /// Connects and reads the greeting.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let greeting = read_reply(&mut stream)?;
        Ok(Self { stream, greeting })
    }

    /// Sends one command and reads its reply.
    pub fn command(&mut self, line: &str) -> Result<Reply> {
        self.raw(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends octets as they are.
    pub fn raw(&mut self, octets: &[u8]) -> Result<()> {
        Ok(self.stream.get_mut().write_all(octets)?)
    }

    /// Reads one reply.
    pub fn reply(&mut self) -> Result<Reply> {
        read_reply(&mut self.stream)
    }

    /// A whole transaction after EHLO; `content` has CRLF line ends and no dots stuffed. Returns the first reply that refused, or the last.
    pub fn send(&mut self, from: &str, to: &[&str], content: &[u8]) -> Result<Reply> {
        let mut commands = vec![format!("MAIL FROM:<{from}>")];
        commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        commands.push("DATA".to_owned());
        for command in commands {
            let reply = self.command(&command)?;
            if !reply.is_positive() {
                self.command("RSET")?;
                return Ok(reply);
            }
        }
        self.raw(&stuffed(content))?;
        self.reply()
    }
}

/// RFC 5321 §4.5.2: a line that begins with a dot gets another one, and a lone dot ends the data.
#[must_use]
pub fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len() + 8);
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        if line.first() == Some(&b'.') {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    if !wire.is_empty() && !wire.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

fn read_reply(stream: &mut BufReader<TcpStream>) -> Result<Reply> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            bail!("the server closed the connection");
        }
        let line = line.trim_end_matches(['\r', '\n']);
        let (Some(code), rest) =
            (line.get(..3).and_then(|code| code.parse().ok()), line.get(3..).unwrap_or_default())
        else {
            bail!("no reply: {line:?}");
        };
        let last = !rest.starts_with('-');
        lines.push(rest.get(1..).unwrap_or_default().to_owned());
        if last {
            return Ok(Reply { code, lines });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_stuffed_and_the_data_ends_with_a_lone_one() {
        assert_eq!(stuffed(b"a\r\n.b\r\n"), b"a\r\n..b\r\n.\r\n");
        assert_eq!(stuffed(b"no end"), b"no end\r\n.\r\n");
        assert_eq!(stuffed(b""), b".\r\n");
    }
}
