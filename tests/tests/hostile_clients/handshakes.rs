//! TLS and PROXY headers that are none, break off, or have no end.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;

use posthouse_tests::wire::provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::house::{House, Wire};

/// A `ClientHello` as a client of our time says it.
fn client_hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(config), ServerName::try_from("gateway.test").unwrap()).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

/// What comes instead of a handshake.
fn sabotages() -> Vec<(&'static str, Vec<u8>)> {
    let hello = client_hello();
    let mut bent = hello.clone();
    for octet in bent.iter_mut().skip(9) {
        *octet ^= 0x55;
    }
    vec![
        ("nothing", Vec::new()),
        ("SMTP in clear", b"EHLO client.test\r\nMAIL FROM:<a@src.test>\r\nRCPT TO:<b@dst.test>\r\n".to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("noise", (0..1000u32).map(|number| u8::try_from(number * 7 % 251).unwrap()).collect()),
        ("noise without end", b"\xff".repeat(1024 * 1024)),
        ("zeros without end", vec![0; 1024 * 1024]),
        ("half a ClientHello", hello[..hello.len() / 2].to_vec()),
        ("a bent ClientHello", bent),
        ("two of them", [hello.as_slice(), &hello].concat()),
        ("a ClientHello and SMTP in clear", [hello.as_slice(), b"EHLO client.test\r\n"].concat()),
        ("records of nothing without end", b"\x16\x03\x01\x00\x00".repeat(100_000)),
        ("an alert", b"\x15\x03\x01\x00\x02\x02\x28".to_vec()),
    ]
}

#[test]
fn a_handshake_that_breaks_in_any_way_ends_the_connection_and_nothing_else() {
    let mut house = House::start();
    let mut broken = 0.0;
    for listener in ["smtps", "smtp"] {
        for (name, octets) in sabotages() {
            for resets in [true, false] {
                let place =
                    format!("{listener}, {name}, {}", if resets { "then RST" } else { "then no more" });
                let mut wire = house.connect_in_clear(listener);
                if listener == "smtp" {
                    wire.reply();
                    wire.command("EHLO client.test");
                    assert!(wire.command("STARTTLS").starts_with("220 "), "{place}");
                }
                let _ = wire.try_say(&octets); // it may have been closed before all was said
                broken += 1.0;
                if resets {
                    wire.reset();
                    continue;
                }
                let _ = wire.try_half_close();
                // RFC 8446 §6.2: an alert, or nothing; in clear it is no reply of SMTP's.
                let rest = wire.rest();
                assert!(!rest.contains("SMTP") && !rest.contains("\r\n250"), "{place}: {rest}");
            }
        }
    }
    house.until_alone();
    let counted = house.metrics().sum("posthouse_handshakes_failed_total", &[]);
    assert!((counted - broken).abs() < f64::EPSILON, "{counted} of {broken}");
    assert!(house.all_letters().is_empty());
    house.serves_others();
    drop(house.connect("smtps"));
}

#[test]
fn what_is_no_tls_within_tls_ends_the_session() {
    let mut house = House::start();
    for octets in [b"NOOP\r\n".as_slice(), &[0; 100], b"\x17\x03\x03\x00\x10aaaaaaaaaaaaaaaa"] {
        for said in
            [[].as_slice(), &["EHLO client.test", "MAIL FROM:<a@src.test>", "RCPT TO:<b@dst.test>", "DATA"]]
        {
            let mut wire = house.connect("smtps");
            wire.reply();
            for line in said {
                wire.command(line);
            }
            wire.say_below_tls(octets);
            assert!(!wire.rest().contains("250"));
        }
    }
    house.until_alone();
    assert!(house.all_letters().is_empty());
    house.serves_others();
}

#[test]
fn a_proxy_header_without_an_end_or_broken_off_ends_the_connection() {
    let mut house = House::start();
    let endless = [b"PROXY TCP4 ".as_slice(), &b"1".repeat(1024 * 1024)].concat();
    // Version 2 with 65,535 octets of more.
    let long = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".as_slice(), &b"\0".repeat(65_535)].concat();
    let mut refused = 0.0;
    for octets in [
        endless.as_slice(),
        &long,
        b"PROXY TCP4 127.0.0.1 127.0.",
        b"\r\n\r\n\0\r\nQUIT\n\x21",
        b"EHLO client.test\r\n",
        b"",
    ] {
        for resets in [true, false] {
            let mut wire = house.connect("proxied");
            let _ = wire.try_say(octets);
            refused += 1.0;
            if resets {
                wire.reset();
                continue;
            }
            let _ = wire.try_half_close();
            assert_eq!(wire.rest(), "");
        }
    }
    house.until_alone();
    let counted = house.metrics().sum("posthouse_proxy_refused_total", &[]);
    assert!((counted - refused).abs() < f64::EPSILON, "{counted} of {refused}");
    assert!(house.all_letters().is_empty());
    house.serves_others();
}

impl Wire {
    /// Octets beside the encryption.
    fn say_below_tls(&mut self, octets: &[u8]) {
        let mut socket: &TcpStream = self.socket();
        socket.write_all(octets).unwrap();
    }
}
