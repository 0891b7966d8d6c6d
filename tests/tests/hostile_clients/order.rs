//! Commands in every order, and lines that are none, at every place of a session.

use super::house::{House, Wire};

const EHLO: &str = "EHLO client.test";
const MAIL: &str = "MAIL FROM:<a@src.test>";
const RCPT: &str = "RCPT TO:<b@dst.test>";

/// What was said at a place of a session, and what may be said next of that which makes a message.
const PLACES: &[(&[&str], &[&str])] = &[
    (&[], &[]),
    (&[EHLO], &[MAIL]),
    (&[EHLO, MAIL], &[RCPT]),
    (&[EHLO, MAIL, RCPT], &[RCPT, "DATA", "BDAT 0", "BDAT 0 LAST"]),
    (&[EHLO, MAIL, RCPT, "BDAT 0"], &["BDAT 0", "BDAT 0 LAST"]),
];

const MAKES_A_MESSAGE: [&str; 5] = [MAIL, RCPT, "DATA", "BDAT 0", "BDAT 0 LAST"];

/// Says all of this, each behind the reply to the one before.
fn at(house: &House, listener: &str, said: &[&str]) -> Wire {
    let mut wire = house.connect(listener);
    assert!(wire.reply().starts_with("220 "));
    for line in said {
        assert!(wire.command(line).starts_with("250"), "{said:?}");
    }
    wire
}

/// The session is of use again: a message goes through it.
fn goes_on(house: &House, wire: &mut Wire, place: &str) {
    for (line, code) in
        [(EHLO, "250"), ("MAIL FROM:<after@src.test>", "250 "), (RCPT, "250 "), ("DATA", "354 ")]
    {
        let reply = wire.command(line);
        assert!(reply.starts_with(code), "{place}, {line}: {reply}");
    }
    assert!(wire.command("Subject: x\r\n\r\nhi\r\n.").starts_with("250 "), "{place}");
    assert_eq!(house.letter().from, "after@src.test", "{place}");
    assert!(wire.command("QUIT").starts_with("221 "), "{place}");
}

#[test]
fn commands_out_of_order_are_503_and_the_session_goes_on() {
    // RFC 5321 §4.1.4, RFC 3030 §2
    let mut house = House::start();
    for (said, legal) in PLACES {
        for command in MAKES_A_MESSAGE.iter().filter(|command| !legal.contains(command)) {
            let place = format!("{command} after {said:?}");
            let mut wire = at(&house, "smtp", said);
            let reply = wire.command(command);
            assert!(reply.starts_with("503 5.5.1 "), "{place}: {reply}");
            goes_on(&house, &mut wire, &place);
        }
    }
    assert!(house.all_letters().is_empty());
}

#[test]
fn lines_that_are_no_commands_are_500_and_the_session_goes_on() {
    // RFC 5321 §4.2.4, §4.5.3.1.4
    let house = House::start();
    let long = format!("NOOP {}", "x".repeat(60_000));
    for (said, _) in PLACES {
        for line in ["\u{0}", "", "\u{1}\u{2}\u{7f}", "\u{e4}\u{f6}", "XYZZY", " EHLO client.test", &long] {
            let place = format!("{:?} after {said:?}", &line[..line.len().min(20)]);
            let mut wire = at(&house, "smtp", said);
            let reply = wire.command(line);
            assert!(reply.starts_with("500 5.5."), "{place}: {reply}");
            goes_on(&house, &mut wire, &place);
        }
    }
}

#[test]
fn what_cannot_be_a_mistake_ends_the_session_at_once() {
    let mut house = House::start();
    for listener in ["smtp", "smtps"] {
        for (said, _) in PLACES {
            for (line, code) in [
                // RFC 5321 §2.3.8
                ("NOOP\nNOOP\n".to_owned(), "500 5.5.2 "),
                ("NOOP\rNOOP\r\n".to_owned(), "500 5.5.2 "),
                // §7.8: a browser that somebody else makes speak
                ("GET / HTTP/1.1\r\nHost: gateway.test\r\n\r\n".to_owned(), "554 5.5.1 "),
                ("POST / HTTP/1.1\r\n\r\nMAIL FROM:<evil@src.test>\r\n".to_owned(), "554 5.5.1 "),
                // RFC 3030 §2: how much follows is not known
                ("BDAT much\r\n".to_owned(), "501 5.5.4 "),
                ("BDAT 99999999999999999999 LAST\r\n".to_owned(), "552 5.3.4 "),
                // A line that has no end
                ("x".repeat(100_000), "500 5.5.2 "),
            ] {
                let place = format!("{listener}, {:?} after {said:?}", &line[..line.len().min(20)]);
                let mut wire = at(&house, listener, said);
                wire.say(line.as_bytes());
                let rest = wire.rest();
                assert!(rest.starts_with(code), "{place}: {rest}");
                assert_eq!(rest.lines().count(), 1, "{place}: {rest}");
            }
        }
    }
    house.until_alone();
    assert!(house.all_letters().is_empty());
    house.serves_others();
}

#[test]
fn who_talks_before_the_greeting_or_does_not_wait_is_not_served() {
    // RFC 5321 §4.3.1, RFC 2920 §3.1
    let mut house = House::start();
    let message = format!("{EHLO}\r\n{MAIL}\r\n{RCPT}\r\nDATA\r\nSubject: x\r\n\r\nhi\r\n.\r\nQUIT\r\n");
    for (said, octets) in [
        ([].as_slice(), message.as_str()),
        ([].as_slice(), "EHLO client.test\r\nMAIL FROM:<a@src.test>\r\n"),
        ([EHLO, MAIL, RCPT].as_slice(), "DATA\r\nSubject: x\r\n\r\nhi\r\n.\r\n"),
    ] {
        let mut wire = at(&house, "smtp", said);
        wire.say(octets.as_bytes());
        let rest = wire.rest();
        let last = rest.lines().last().unwrap();
        assert!(last.starts_with("554 5.5.0 "), "{octets:?} after {said:?}: {rest}");
    }
    assert!(house.all_letters().is_empty());
    house.serves_others();
}
