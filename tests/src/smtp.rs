//! A plain SMTP client for tests and the quickstart: it sends exactly what it is told and shows exactly what came back.
//!
//! It is not the product's sender and shares no code with it, so that the one can be tested by the other. Blocking I/O.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::CertificateDer;

use crate::wire::{self, Stream, Trust};

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
    // None only while a handshake is made of it, or after one that failed.
    stream: Option<BufReader<Stream>>,
    /// The server's greeting.
    pub greeting: Reply,
}

impl Client {
    /// Connects and reads the greeting.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::over(Stream::Clear(open(address)?))
    }

    /// Connects from an address of this machine and reads the greeting.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Result<Self> {
        let stream = wire::connect_from(source, address)?;
        stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        Self::over(Stream::Clear(stream))
    }

    /// Connects, says these octets first (as a load balancer does), and reads the greeting.
    pub fn connect_saying(address: SocketAddr, first: &[u8]) -> Result<Self> {
        let mut stream = open(address)?;
        stream.write_all(first)?;
        Self::over(Stream::Clear(stream))
    }

    /// Connects, makes a TLS handshake (RFC 8314) that asks for `name`, and reads the greeting.
    pub fn connect_tls(address: SocketAddr, name: &str, trust: &Trust) -> Result<Self> {
        Self::over(Stream::Clear(open(address)?).call_tls(name, trust)?)
    }

    /// Reads the greeting of a connection.
    pub fn over(stream: Stream) -> Result<Self> {
        let mut stream = BufReader::new(stream);
        let greeting = read_reply(&mut stream)?;
        Ok(Self { stream: Some(stream), greeting })
    }

    /// Connects and says EHLO.
    pub fn hello(address: SocketAddr) -> Result<Self> {
        let mut client = Self::connect(address)?;
        let hello = client.command("EHLO client.test")?;
        ensure!(hello.is_positive(), "EHLO: {hello}");
        Ok(client)
    }

    /// Says STARTTLS and makes the handshake; EHLO is due again.
    pub fn start_tls(&mut self, name: &str, trust: &Trust) -> Result<()> {
        let reply = self.command("STARTTLS")?;
        ensure!(reply.code == 220, "STARTTLS: {reply}");
        self.handshake(name, trust)
    }

    /// Makes the handshake after a 220.
    pub fn handshake(&mut self, name: &str, trust: &Trust) -> Result<()> {
        let stream = self.stream.take().context("the handshake has failed before")?;
        // RFC 3207 §4.2: the first octets after the 220 are the handshake's.
        ensure!(
            stream.buffer().is_empty(),
            "in clear after 220: {:?}",
            String::from_utf8_lossy(stream.buffer())
        );
        self.stream = Some(BufReader::new(stream.into_inner().call_tls(name, trust)?));
        Ok(())
    }

    /// The certificate that the server showed, if the session is encrypted.
    #[must_use]
    pub fn certificate(&self) -> Option<CertificateDer<'static>> {
        self.stream.as_ref()?.get_ref().certificate()
    }

    /// Sends one command and reads its reply.
    pub fn command(&mut self, line: &str) -> Result<Reply> {
        self.raw(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends octets as they are.
    pub fn raw(&mut self, octets: &[u8]) -> Result<()> {
        let stream = self.stream.as_mut().context("the handshake failed")?.get_mut();
        stream.write_all(octets)?;
        Ok(stream.flush()?)
    }

    /// Reads one reply.
    pub fn reply(&mut self) -> Result<Reply> {
        read_reply(self.stream.as_mut().context("the handshake failed")?)
    }

    /// A whole transaction after EHLO; `content` has CRLF line ends and no dots stuffed. Returns the first reply that refused, or the last.
    pub fn send(&mut self, from: &str, to: &[&str], content: &[u8]) -> Result<Reply> {
        let to: Vec<String> = to.iter().map(|to| format!("<{to}>")).collect();
        self.send_with(&format!("<{from}>"), &to, content)
    }

    /// The same with parameters: `<a@src.test> BODY=8BITMIME`.
    pub fn send_with(&mut self, from: &str, to: &[impl AsRef<str>], content: &[u8]) -> Result<Reply> {
        if let Some(refusal) = self.envelope(from, to)? {
            return Ok(refusal);
        }
        let reply = self.command("DATA")?;
        if !reply.is_positive() {
            self.command("RSET")?;
            return Ok(reply);
        }
        self.raw(&stuffed(content))?;
        self.reply()
    }

    /// The same by BDAT (RFC 3030), in chunks of so many octets.
    pub fn send_chunks(
        &mut self,
        from: &str,
        to: &[impl AsRef<str>],
        content: &[u8],
        chunk: usize,
    ) -> Result<Reply> {
        if let Some(refusal) = self.envelope(from, to)? {
            return Ok(refusal);
        }
        for piece in content.chunks(chunk) {
            self.raw(&[format!("BDAT {}\r\n", piece.len()).as_bytes(), piece].concat())?;
            let reply = self.reply()?;
            if !reply.is_positive() {
                return Ok(reply);
            }
        }
        self.command("BDAT 0 LAST")
    }

    /// MAIL and RCPTs; the refusal, if there is one.
    fn envelope(&mut self, from: &str, to: &[impl AsRef<str>]) -> Result<Option<Reply>> {
        let mut commands = vec![format!("MAIL FROM:{from}")];
        commands.extend(to.iter().map(|to| format!("RCPT TO:{}", to.as_ref())));
        for command in commands {
            let reply = self.command(&command)?;
            if !reply.is_positive() {
                self.command("RSET")?;
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }
}

fn open(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
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

fn read_reply(stream: &mut BufReader<Stream>) -> Result<Reply> {
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
