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

fn method() -> impl Strategy<Value = Method> {
    proptest::sample::select(vec![Mechanism::Login, Mechanism::CramMd5]).prop_map(Method::Only)
}

/// What a session tells, and says, when a peer says `replies`, each cut in pieces that come as soon as everything before was written.
fn against(body: Body, auth: Option<Method>, replies: &[&[u8]], piece: usize) -> (Vec<Event>, Vec<u8>) {
    let mut settings = Settings::smtp("h.example".parse().unwrap());
    settings.starttls = StartTls::IfOffered;
    settings.authentication = auth.map(|method| {
        Authentication::new(method, "tim", "tanstaaftanstaaf", [7; NONCE_LENGTH])
            .unwrap()
            .with_consent_to_clear(true)
    });
    let mut session = Session::new(settings);
    let (mut told, mut said) = (Vec::new(), Vec::new());
    let (mut work, mut content) = (2, None);
    for octets in replies.iter().flat_map(|reply| reply.chunks(piece)) {
        session.receive(octets);
        loop {
            while let Some(event) = session.next_event() {
                match event {
                    Event::Ready if work > 0 => {
                        work -= 1;
                        let recipients = ["a@b", "c@d"].map(recipient).to_vec();
                        session.begin(Transaction::new("<>".parse().unwrap(), recipients, 3).with_body(body));
                    }
                    Event::Ready => session.quit(),
                    Event::StartTls => session.upgraded(),
                    Event::ContentDue => {
                        session.begin_content();
                        content = Some(3);
                    }
                    Event::Finished(_) => content = None,
                    Event::Closed(_) => {}
                }
                told.push(event);
            }
            while let Some(pieces) = content.take_if(|_| !session.is_held()) {
                if pieces == 0 {
                    session.finish_content();
                } else {
                    session.content(b"x\r\n");
                    content = Some(pieces - 1);
                }
                said.extend_from_slice(session.output());
                session.written(session.output().len());
            }
            if session.output().is_empty() {
                break;
            }
            said.extend_from_slice(session.output());
            session.written(session.output().len());
        }
    }
    session.connection_lost();
    told.extend(std::iter::from_fn(|| session.next_event()));
    (told, said)
}

const GREETING: &str = "220 a\r\n";

/// A peer that offers much.
const OFFER: &str = "250-a\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-AUTH LOGIN CRAM-MD5\r\n250 8BITMIME\r\n";

/// The same and STARTTLS.
const OFFER_IN_CLEAR: &str = "250-a\r\n250-STARTTLS\r\n250 PIPELINING\r\n";

proptest! {
    #[test]
    fn whatever_a_peer_says_each_recipient_has_one_outcome_and_the_session_one_end(
        lines in proptest::collection::vec("(220|235|250|250|250|334|354|354|421|450|452|500|502|550|552|554|999)(-| |)([a-z]{0,4}|STARTTLS|AUTH LOGIN)\r?\n", 0..24),
        offered in any::<bool>(),
        binary in any::<bool>(),
        auth in proptest::option::of(method()),
        piece in 1usize..9,
    ) {
        let body = if binary { Body::Binary } else { Body::SevenBit };
        let lines = lines.concat();
        let replies = if offered { vec![GREETING, OFFER, &lines] } else { vec![lines.as_str()] };
        let replies: Vec<&[u8]> = replies.into_iter().map(str::as_bytes).collect();
        let (told, _) = against(body, auth, &replies, piece);
        let begun = told.iter().filter(|event| **event == Event::Ready).count().min(2);
        let finished: Vec<_> =
            told.iter().filter_map(|event| if let Event::Finished(all) = event { Some(all.len()) } else { None }).collect();
        prop_assert_eq!(finished, vec![2; begun]);
        prop_assert_eq!(told.iter().filter(|event| matches!(event, Event::Closed(_))).count(), 1);
        prop_assert!(matches!(told.last(), Some(Event::Closed(_))));
    }

    #[test]
    fn cutting_the_replies_elsewhere_changes_nothing(
        lines in proptest::collection::vec("(220|235|250|250|250|334|354|354|450|550|554) [a-z]{0,4}\r\n", 0..24),
        binary in any::<bool>(),
        auth in proptest::option::of(method()),
        tls in any::<bool>(),
        piece in 1usize..9,
    ) {
        let body = if binary { Body::Binary } else { Body::SevenBit };
        let hello = if tls { [OFFER_IN_CLEAR, "220 go\r\n", OFFER].as_slice() } else { &[OFFER] };
        let replies: Vec<&[u8]> =
            [GREETING].iter().chain(hello).copied().chain(lines.iter().map(String::as_str)).map(str::as_bytes).collect();
        prop_assert_eq!(against(body, auth, &replies, piece), against(body, auth, &replies, usize::MAX));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        against(Body::SevenBit, None, &[&bytes], 3);
    }

    #[test]
    fn what_the_client_sends_is_what_the_server_gets(
        content in "(.{0,20}\r\n|\\.\r\n|\\.\\.[a-z]\r\n){0,20}".prop_filter("short lines", |text| text.len() < CONTENT_LINE),
        tls in any::<bool>(),
        piece in 1usize..40,
    ) {
        let content = content.replace('\n', "\r\n").replace("\r\r\n", "\r\n");
        let content: Vec<u8> = content.split("\r\n").flat_map(|line| [line.replace('\r', "?").as_bytes(), b"\r\n"].concat()).collect();
        prop_assert_eq!(carry(Body::SevenBit, tls, &content, piece), content);
    }

    #[test]
    fn binary_content_comes_as_it_went(content in proptest::collection::vec(any::<u8>(), 0..300), piece in 1usize..40) {
        prop_assert_eq!(carry(Body::Binary, false, &content, piece), content);
    }
}

proptest! {
    #[test]
    fn content_in_chunks_is_exactly_what_was_given(
        content in proptest::collection::vec(any::<u8>(), 0..200),
        piece in 1usize..50,
    ) {
        // RFC 3030 §2
        let mut session = Session::new(Settings::smtp("h.example".parse().unwrap()));
        let hear = |session: &mut Session, replies: &str| {
            session.receive(replies.as_bytes());
            let events: Vec<_> = std::iter::from_fn(|| session.next_event()).collect();
            let said = session.output().to_vec();
            session.written(said.len());
            (events, said)
        };
        hear(&mut session, GREETING);
        hear(&mut session, OFFER);
        session.begin(Transaction::new("<>".parse().unwrap(), vec![recipient("a@b")], 1).with_body(Body::Binary));
        hear(&mut session, "");
        prop_assert_eq!(hear(&mut session, "250 a\r\n250 a\r\n").0, [Event::ContentDue]);
        session.begin_content();
        let (mut taken, mut chunks) = (Vec::new(), 0);
        for octets in content.chunks(piece) {
            session.content(octets);
            chunks += 1;
            let (_, said) = hear(&mut session, "");
            let (command, octets) = said.split_at(said.iter().position(|octet| *octet == b'\n').unwrap() + 1);
            prop_assert_eq!(command, format!("BDAT {}\r\n", octets.len()).into_bytes());
            taken.extend_from_slice(octets);
            if session.is_held() {
                hear(&mut session, "250 a\r\n");
                chunks -= 1;
            }
        }
        prop_assert_eq!(taken, content);
        session.finish_content();
        prop_assert_eq!(hear(&mut session, "").1, b"BDAT 0 LAST\r\n");
        let (told, _) = hear(&mut session, &"250 a\r\n".repeat(chunks + 1));
        let accepted = matches!(told.as_slice(), [Event::Finished(all), Event::Ready] if matches!(all.as_slice(), [Delivery::Accepted { .. }]));
        prop_assert!(accepted, "{:?}", told);
    }
}

/// Sends content from a client session to a server session, inside TLS or not; what the server took.
fn carry(body: Body, tls: bool, content: &[u8], piece: usize) -> Vec<u8> {
    let mut settings = Settings::smtp("c.example".parse().unwrap());
    settings.starttls = if tls { StartTls::Required } else { StartTls::Never };
    let mut client = Session::new(settings);
    let mut settings = server::Settings::new("s.example");
    settings.tls = server::Tls::Offered;
    let mut server = server::Session::new(settings);
    let (mut taken, mut delivered, mut rest) = (Vec::new(), false, None);
    server.greet();
    while !client.is_closed() {
        while let Some(event) = server.next_event() {
            match event {
                server::Event::Content(piece) => taken.extend_from_slice(piece),
                server::Event::Mail(_) | server::Event::Rcpt(_) | server::Event::Data => {
                    server.answer(&reply::done());
                }
                server::Event::StartTls => server.answer(&reply::ready_for_tls()),
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
                    let transaction =
                        Transaction::new("<a@b>".parse().unwrap(), vec![recipient("c@d")], size);
                    client.begin(transaction.with_body(body));
                }
                Event::ContentDue => {
                    client.begin_content();
                    rest = Some(content.chunks(piece));
                }
                Event::Finished(deliveries) => {
                    assert!(matches!(deliveries.as_slice(), [Delivery::Accepted { .. }]), "{deliveries:?}");
                    delivered = true;
                }
                Event::Closed(closed) => assert_eq!(closed, Closed::Quit),
                Event::StartTls => {
                    server.secured();
                    client.upgraded();
                }
            }
        }
        while let Some(mut pieces) = rest.take_if(|_| !client.is_held()) {
            match pieces.next() {
                Some(piece) => {
                    client.content(piece);
                    rest = Some(pieces);
                }
                None => client.finish_content(),
            }
        }
        let length = server.receive(&client.output()[..client.output().len().min(piece)]);
        client.written(length);
    }
    assert_eq!(client.is_encrypted(), tls);
    taken
}
