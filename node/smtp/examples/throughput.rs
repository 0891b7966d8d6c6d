//! How fast content goes through the server session and the client's encoder, in memory: `cargo run --release -p posthouse-smtp --example throughput`.
//! A sanity check by eye, not a test: the target is above 1 GB/s for each.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, missing_docs)]

use std::{hint::black_box, time::Instant};

use posthouse_smtp::{
    content::Encoder,
    reply,
    server::{Event, Session, Settings},
};

const TOTAL: usize = 2_000_000_000;

fn main() {
    for (name, line) in [("76-octet lines", 76), ("998-octet lines", 998), ("20-octet lines", 20)] {
        let line = [vec![b'x'; line], b"\r\n".to_vec()].concat();
        let content: Vec<u8> = line.iter().copied().cycle().take(60_000 / line.len() * line.len()).collect();
        println!("{name}: receive {:.2} GB/s, send {:.2} GB/s", receive(&content), send(&content));
    }
}

fn receive(content: &[u8]) -> f64 {
    let mut session = Session::new(Settings::new("mail.example.com"));
    session.greet();
    for line in ["EHLO c\r\n", "MAIL FROM:<>\r\n", "RCPT TO:<a@example.com>\r\n", "DATA\r\n"] {
        session.written(session.output().len());
        session.receive(line.as_bytes());
        while session.next_event().is_some() {
            if session.is_asking() {
                session.answer(&reply::done());
            }
        }
    }
    session.written(session.output().len());
    let (start, mut sent, mut seen) = (Instant::now(), 0, 0);
    while sent < TOTAL {
        let mut rest = content;
        while !rest.is_empty() {
            let taken = session.receive(rest);
            rest = rest.get(taken..).unwrap_or_default();
            while let Some(event) = session.next_event() {
                if let Event::Content(piece) = event {
                    seen += black_box(piece).len();
                }
            }
        }
        sent += content.len();
    }
    seen as f64 / 1e9 / start.elapsed().as_secs_f64()
}

fn send(content: &[u8]) -> f64 {
    let (mut encoder, mut wire, mut sent) = (Encoder::new(), Vec::new(), 0);
    let start = Instant::now();
    while sent < TOTAL {
        wire.clear();
        encoder.encode(content, &mut wire);
        black_box(&wire);
        sent += content.len();
    }
    sent as f64 / 1e9 / start.elapsed().as_secs_f64()
}
