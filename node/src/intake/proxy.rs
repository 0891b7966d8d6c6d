//! The PROXY protocol, versions 1 and 2, as a server reads it: the client's address, said by a load balancer in front of everything else, before
//! the greeting and before TLS (its specification §2). Parsing is pure; reading takes not one octet more than the header has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// What version 2 begins with (§2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What version 1 begins with (§2.1).
const WORD: &[u8] = b"PROXY ";

/// The longest line of version 1 with its CRLF (§2.1).
const LINE: usize = 107;

/// The most octets behind the head of version 2: an address, and TLVs that nobody needs to be longer (§2.2 allows 65,535).
const TAIL: usize = 4096;

/// What a load balancer says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxied {
    /// A client's, from this address.
    From(SocketAddr),
    /// The load balancer's own: it looks whether the server is there (`LOCAL`, `UNKNOWN`).
    Itself,
}

/// Why a header is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The connection ended before it was whole.
    #[error("the connection ended within the PROXY header: {0}")]
    Read(#[from] std::io::Error),
    /// There is none.
    #[error("it does not begin with a PROXY header")]
    Absent,
    /// It is not as its specification says.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(&'static str),
}

/// Reads a header.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Proxied, ProxyError> {
    // The shortest line of version 1 has 15 octets, and version 2 begins with 16.
    let mut head = [0; SIGNATURE.len()];
    stream.read_exact(&mut head).await?;
    if head == SIGNATURE {
        return version_2(stream).await;
    }
    if !head.starts_with(WORD) {
        return Err(ProxyError::Absent);
    }
    let mut line = head.to_vec();
    // Octet by octet: what follows the line is not ours to take.
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE {
            return Err(ProxyError::Malformed("the line is longer than 107 octets"));
        }
        line.push(stream.read_u8().await?);
    }
    let text = str::from_utf8(&line).map_err(|_| ProxyError::Malformed("the line is not ASCII"))?;
    parse_line(text.trim_end_matches("\r\n"))
}

/// A line of version 1 without its CRLF: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 25`.
fn parse_line(line: &str) -> Result<Proxied, ProxyError> {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Ok(Proxied::Itself),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, destination, source_port, destination_port] => {
            let source: IpAddr = source.parse().map_err(|_| ProxyError::Malformed("no source address"))?;
            let destination: IpAddr =
                destination.parse().map_err(|_| ProxyError::Malformed("no destination address"))?;
            let is_of_family = |address: IpAddr| address.is_ipv4() == (*family == "TCP4");
            if !is_of_family(source) || !is_of_family(destination) {
                return Err(ProxyError::Malformed("an address of the other family"));
            }
            let port = port(source_port)?;
            self::port(destination_port)?;
            Ok(Proxied::From(SocketAddr::new(source, port)))
        }
        _ => Err(ProxyError::Malformed("not PROXY TCP4, TCP6 or UNKNOWN")),
    }
}

/// §2.1: no leading zero, no sign.
fn port(text: &str) -> Result<u16, ProxyError> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(ProxyError::Malformed("no port"))
}

async fn version_2(stream: &mut (impl AsyncRead + Unpin)) -> Result<Proxied, ProxyError> {
    let [command, family] = [stream.read_u8().await?, stream.read_u8().await?];
    let length = usize::from(stream.read_u16().await?);
    if length > TAIL {
        return Err(ProxyError::Malformed("longer than 4096 octets"));
    }
    let mut tail = vec![0; length];
    stream.read_exact(&mut tail).await?;
    parse_version_2(command, family, &tail)
}

fn parse_version_2(command: u8, family: u8, tail: &[u8]) -> Result<Proxied, ProxyError> {
    match command {
        0x20 => return Ok(Proxied::Itself), // §2.2: LOCAL, whatever follows
        0x21 => {}
        _ => return Err(ProxyError::Malformed("neither LOCAL nor PROXY of version 2")),
    }
    let short = ProxyError::Malformed("shorter than its addresses");
    match family {
        0x11 => {
            let Some(([a, b, c, d, _, _, _, _, high, low, _, _], _)) = tail.split_first_chunk::<12>() else {
                return Err(short);
            };
            let address = Ipv4Addr::new(*a, *b, *c, *d);
            Ok(Proxied::From(SocketAddr::new(address.into(), u16::from_be_bytes([*high, *low]))))
        }
        0x21 => {
            let (Some((source, _)), Some(port)) = (tail.split_first_chunk::<16>(), tail.get(32..34)) else {
                return Err(short);
            };
            if tail.len() < 36 {
                return Err(short);
            }
            let port = port.iter().fold(0, |port, octet| port << 8 | u16::from(*octet));
            Ok(Proxied::From(SocketAddr::new(Ipv6Addr::from(*source).into(), port)))
        }
        // §2.2: a receiver that does not support a family may treat it as a connection of unknown origin
        0x00 => Ok(Proxied::Itself),
        _ => Err(ProxyError::Malformed("not TCP over IPv4 or IPv6")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from(text: &str) -> Proxied {
        Proxied::From(text.parse().unwrap())
    }

    /// What is read, and what is left for the session.
    async fn read_all(octets: &[u8]) -> (Result<Proxied, ProxyError>, Vec<u8>) {
        let mut stream = octets;
        let found = read(&mut stream).await;
        (found, stream.to_vec())
    }

    fn version_2(command: u8, family: u8, tail: &[u8]) -> Vec<u8> {
        let length = u16::try_from(tail.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, tail, b"EHLO"].concat()
    }

    #[tokio::test]
    async fn a_line_tells_the_client_and_leaves_what_follows() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 198.51.100.1 56324 25\r\n", from("192.0.2.1:56324")),
            ("PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n", from("[2001:db8::1]:65535")),
            ("PROXY UNKNOWN\r\n", Proxied::Itself),
            ("PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Proxied::Itself),
        ] {
            let (found, left) = read_all(format!("{line}EHLO").as_bytes()).await;
            assert_eq!((found.unwrap(), left.as_slice()), (expected, b"EHLO".as_slice()), "{line}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        for line in [
            "EHLO client.example\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 025\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 99999 25\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 1 25\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 25\r\n",
            "PROXY TCP4 192.0.2.1",
        ] {
            assert!(read_all(line.as_bytes()).await.0.is_err(), "{line}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        assert!(matches!(read_all(long.as_bytes()).await.0, Err(ProxyError::Malformed(_))));
    }

    #[tokio::test]
    async fn version_2_tells_the_same_in_octets() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0, 25, 3, 0, 1, 0];
        let (found, left) = read_all(&version_2(0x21, 0x11, &v4)).await;
        assert_eq!((found.unwrap(), left.as_slice()), (from("192.0.2.1:56324"), b"EHLO".as_slice()));
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 7;
        assert_eq!(read_all(&version_2(0x21, 0x21, &v6)).await.0.unwrap(), from("[::1]:7"));
        assert_eq!(read_all(&version_2(0x20, 0x00, &[])).await.0.unwrap(), Proxied::Itself);
        for bad in [
            version_2(0x21, 0x11, &v4[..11]),
            version_2(0x21, 0x21, &v6[..35]),
            version_2(0x11, 0x11, &v4),
            version_2(0x21, 0x12, &v4),
            version_2(0x21, 0x11, &[0; TAIL + 1]),
        ] {
            assert!(read_all(&bad).await.0.is_err());
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read_or_refused_without_panic(
            octets in proptest::collection::vec(any::<u8>(), 0..60),
            version in 0..3u8,
        ) {
            let head: &[u8] = match version { 0 => b"", 1 => b"PROXY TCP4 ", _ => &SIGNATURE };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read_all(&[head, &octets].concat()));
        }
    }
}
