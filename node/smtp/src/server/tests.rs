//! Whole server sessions: nothing depends on how the input is cut, nothing grows without bound, nothing panics.

use proptest::prelude::*;

use super::*;

/// Everything a session said and told, when each turn is cut at the given places and the replies are written after each turn.
fn play(turns: &[Vec<u8>], cuts: &[usize]) -> (String, Vec<String>) {
    let mut settings = Settings::new("h");
    settings.message_size = Some(40);
    settings.recipients = 2;
    settings.failed_commands = Some(5);
    let mut session = Session::new(settings);
    let (mut said, mut told, mut content) = (Vec::new(), Vec::new(), Vec::new());
    session.greet();
    for turn in turns {
        said.extend_from_slice(session.output());
        session.written(session.output().len());
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (turn.len() + 1)).collect();
        places.extend([0, turn.len()]);
        places.sort_unstable();
        for pair in places.windows(2) {
            let mut piece = &turn[pair[0]..pair[1]];
            while !piece.is_empty() {
                let taken = session.receive(piece);
                assert!(taken > 0);
                piece = &piece[taken..];
                while let Some(event) = session.next_event() {
                    let event = match event {
                        Event::Content(piece) => {
                            content.extend_from_slice(piece);
                            continue;
                        }
                        Event::Data => {
                            content.clear();
                            "data".to_owned()
                        }
                        Event::ContentEnd(summary) => format!("{summary:?} {content:?}"),
                        other => format!("{other:?}"),
                    };
                    told.push(event);
                    if session.is_asking() {
                        let code = if told.len() % 7 == 6 { "550 no" } else { "250 ok" };
                        session.answer(&code.parse().unwrap());
                    }
                }
            }
        }
    }
    said.extend_from_slice(session.output());
    (String::from_utf8(said).unwrap(), told)
}

fn command() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => Just(b"MAIL FROM:<a@b>\r\n".to_vec()),
        4 => Just(b"RCPT TO:<c@d>\r\n".to_vec()),
        1 => Just(b"MAIL FROM:<a@b> BODY=BINARYMIME SMTPUTF8\r\n".to_vec()),
        3 => chunk(),
        1 => Just(b"RSET\r\n".to_vec()),
        1 => Just(b"NOOP\r\n".to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..20),
        1 => Just([vec![b'x'; 700], b"\r\n".to_vec()].concat()),
    ]
}

fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let content = "(x|Subject: \u{e9}|\r\n|\r\n|\n|\r){0,12}".prop_map(String::into_bytes);
    (content, any::<bool>(), 0..8usize).prop_map(|(content, last, off)| {
        // Sometimes what is announced is not what comes.
        let announced = if off == 0 { content.len() + 3 } else { content.len() };
        let last = if last { " LAST" } else { "" };
        [format!("BDAT {announced}{last}\r\n").into_bytes(), content].concat()
    })
}

fn turn() -> impl Strategy<Value = Vec<u8>> {
    let commands = || proptest::collection::vec(command(), 0..5).prop_map(|commands| commands.concat());
    prop_oneof![
        commands(),
        commands().prop_map(|commands| [commands, b"EHLO c\r\n".to_vec()].concat()),
        (commands(), Just(b"MAIL FROM:<>\r\nRCPT TO:<c@d>\r\nDATA\r\n".to_vec()))
            .prop_map(|(commands, data)| [commands, data].concat()),
        "(x|\\.|\r\n|\r\n|\r\n\\.|\u{e9}){0,20}\r\n\\.\r\n".prop_map(String::into_bytes),
        "(x|\\.|\r\n|\r\n|\n|\r){0,20}\r\n\\.\r\n".prop_map(String::into_bytes),
        Just([b"x".repeat(5000), b"\r\n.\r\n".to_vec()].concat()),
    ]
}

proptest! {
    #[test]
    fn cutting_the_input_elsewhere_changes_nothing(
        turns in proptest::collection::vec(turn(), 0..12),
        cuts in proptest::collection::vec(any::<usize>(), 0..30),
    ) {
        let turns = [vec![b"EHLO c\r\n".to_vec()], turns].concat();
        prop_assert_eq!(play(&turns, &cuts), play(&turns, &[]));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        play(&[bytes], &[1, 2, 3]);
    }
}

#[test]
fn a_client_that_does_not_read_is_not_served_on() {
    // RFC 2920 §3.2, bounded: replies that nobody takes stop the reading
    let mut settings = Settings::new("h");
    settings.failed_commands = None;
    let mut session = Session::new(settings);
    session.greet();
    session.written(session.output().len());
    let flood = b"HELP\r\n".repeat(100_000);
    let mut taken = 0;
    while taken < flood.len() {
        let length = session.receive(&flood[taken..]);
        taken += length;
        while session.next_event().is_some() {}
        if length == 0 {
            break;
        }
    }
    assert!(taken < 32 * 1024, "{taken} octets were read");
    assert!(session.output().len() < 2 * OUTPUT_BOUND);
    assert!(session.input().is_empty());
}

#[test]
fn content_is_handed_out_where_it_was_read() {
    let mut session = Session::new(Settings::new("h"));
    session.greet();
    for line in ["EHLO c\r\n", "MAIL FROM:<>\r\n", "RCPT TO:<a@b>\r\n", "DATA\r\n"] {
        session.written(session.output().len());
        session.receive(line.as_bytes());
        while session.next_event().is_some() {
            if session.is_asking() {
                session.answer(&reply::done());
            }
        }
    }
    session.written(session.output().len());
    let line = b"0123456789\r\n";
    let mut total = 0;
    for _ in 0..20_000 {
        let space = session.input();
        assert!(space.len() <= CONTENT_INPUT);
        space[..line.len()].copy_from_slice(line);
        session.received(line.len());
        while let Some(event) = session.next_event() {
            let Event::Content(piece) = event else { panic!("{event:?}") };
            total += piece.len();
        }
    }
    assert_eq!(total, 240_000);
}

#[test]
fn input_after_the_end_is_dropped() {
    // The driver reads on for a moment, so that the last reply is not lost to a reset; nothing of that is run.
    let mut session = Session::new(Settings::new("h"));
    session.greet();
    session.written(session.output().len());
    session.receive(b"QUIT\r\nNOOP\r\n");
    assert_eq!(session.next_event(), Some(Event::Closed(ClosedBy::Client)));
    let said = session.output().to_vec();
    for _ in 0..10 {
        assert!(session.receive(&[b'x'; 5000]) > 0);
        assert_eq!(session.next_event(), None);
    }
    assert_eq!(session.output(), said);
}

#[test]
fn the_protocol_has_the_name_of_the_received_line() {
    // RFC 3848
    assert_eq!(Protocol::Esmtp.with_clause(false, false), "ESMTP");
    // RFC 6531 §4.3
    assert_eq!(Protocol::Esmtp.with_clause(true, false), "ESMTPS");
    assert_eq!(Protocol::Esmtp.with_clause(true, true), "UTF8SMTPS");
    assert_eq!(Protocol::Esmtp.with_clause(false, true), "UTF8SMTP");
    assert_eq!(Protocol::Smtp.with_clause(true, false), "SMTP");
}
