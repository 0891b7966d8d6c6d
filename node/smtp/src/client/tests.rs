//! Whole client sessions: against any peer, and against the server side of this crate.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{content::CONTENT_LINE, reply, server};

#[test]
fn each_wait_is_as_long_as_the_rfc_says() {
    // RFC 5321 §4.5.3.2.1 to §4.5.3.2.6
    for (wait, minutes) in [
        (Wait::Greeting, 5),
        (Wait::Mail, 5),
        (Wait::Rcpt, 5),
        (Wait::Data, 2),
        (Wait::ContentBlock, 3),
        (Wait::FinalDot, 10),
    ] {
        assert_eq!(wait.timeout(), Some(Duration::from_mins(minutes)), "{wait:?}");
    }
    assert_eq!(Wait::Nothing.timeout(), None);
}

fn recipient(address: &str) -> Recipient {
    address.parse::<posthouse_model::Mailbox>().unwrap().into()
}

/// What a session tells when a peer says `replies`, cut in pieces, each as soon as everything before it was written.
fn against(replies: &[u8], piece: usize) -> Vec<Event> {
    let mut session = Session::new(Settings::smtp("h.example".parse().unwrap()));
    let mut told = Vec::new();
    let mut work = 2;
    for octets in replies.chunks(piece) {
        session.receive(octets);
        loop {
            while let Some(event) = session.next_event() {
                match event {
                    Event::Ready if work > 0 => {
                        work -= 1;
                        let recipients = ["a@b", "c@d"].map(recipient).to_vec();
                        session.begin(Transaction::new("<>".parse().unwrap(), recipients, 3));
                    }
                    Event::Ready => session.quit(),
                    Event::ContentDue => {
                        session.begin_content();
                        session.content(b"x\r\n");
                        session.finish_content();
                    }
                    _ => {}
                }
                told.push(event);
            }
            if session.output().is_empty() {
                break;
            }
            session.written(session.output().len());
        }
    }
    session.connection_lost();
    told.extend(std::iter::from_fn(|| session.next_event()));
    told
}

proptest! {
    #[test]
    fn whatever_a_peer_says_each_recipient_has_one_outcome_and_the_session_one_end(
        lines in proptest::collection::vec("(220|250|250|250|354|354|421|450|452|500|502|550|552|554|999)(-| |)[a-z]{0,4}\r?\n", 0..24),
        piece in 1usize..9,
    ) {
        let replies = lines.concat();
        let told = against(replies.as_bytes(), piece);
        let begun = told.iter().filter(|event| **event == Event::Ready).count().min(2);
        let finished: Vec<_> =
            told.iter().filter_map(|event| if let Event::Finished(all) = event { Some(all.len()) } else { None }).collect();
        prop_assert_eq!(finished, vec![2; begun]);
        prop_assert_eq!(told.iter().filter(|event| matches!(event, Event::Closed(_))).count(), 1);
        prop_assert!(matches!(told.last(), Some(Event::Closed(_))));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        against(&bytes, 3);
    }

    #[test]
    fn what_the_client_sends_is_what_the_server_gets(
        content in "(.{0,20}\r\n|\\.\r\n|\\.\\.[a-z]\r\n){0,20}".prop_filter("short lines", |text| text.len() < CONTENT_LINE),
        piece in 1usize..40,
    ) {
        let content = content.replace('\n', "\r\n").replace("\r\r\n", "\r\n");
        let content: Vec<u8> = content.split("\r\n").flat_map(|line| [line.replace('\r', "?").as_bytes(), b"\r\n"].concat()).collect();
        prop_assert_eq!(carry(&content, piece), content);
    }
}

/// Sends content from a client session to a server session; what the server took.
fn carry(content: &[u8], piece: usize) -> Vec<u8> {
    let mut client = Session::new(Settings::smtp("c.example".parse().unwrap()));
    let mut server = server::Session::new(server::Settings::new("s.example"));
    let (mut taken, mut delivered) = (Vec::new(), false);
    server.greet();
    while !client.is_closed() {
        while let Some(event) = server.next_event() {
            match event {
                server::Event::Content(piece) => taken.extend_from_slice(piece),
                server::Event::Mail(_) | server::Event::Rcpt(_) | server::Event::Data => {
                    server.answer(&reply::done());
                }
                server::Event::ContentEnd(_) => server.answer(&reply::queued("ID")),
                _ => {}
            }
        }
        let said = server.output().to_vec();
        server.written(said.len());
        client.receive(&said);
        while let Some(event) = client.next_event() {
            match event {
                Event::Ready if delivered => client.quit(),
                Event::Ready => {
                    let size = content.len() as u64;
                    client.begin(Transaction::new("<a@b>".parse().unwrap(), vec![recipient("c@d")], size));
                }
                Event::ContentDue => {
                    client.begin_content();
                    content.chunks(piece).for_each(|piece| client.content(piece));
                    client.finish_content();
                }
                Event::Finished(deliveries) => {
                    assert!(matches!(deliveries.as_slice(), [Delivery::Accepted { .. }]), "{deliveries:?}");
                    delivered = true;
                }
                Event::Closed(closed) => assert_eq!(closed, Closed::Quit),
            }
        }
        let length = server.receive(&client.output()[..client.output().len().min(piece)]);
        client.written(length);
    }
    taken
}
