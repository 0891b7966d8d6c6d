//! Every step of a session, broken off in every way, in clear and in TLS.

use super::house::{House, Wire};

/// What a client says one after the other, and the code of the reply that it waits for; 0 where none is due yet.
type Step = (&'static str, u16);

const EHLO: Step = ("EHLO client.test\r\n", 250);
const MAIL: Step = ("MAIL FROM:<SENDER>\r\n", 250);
const RCPT: Step = ("RCPT TO:<b@dst.test>\r\n", 250);
const DATA: Step = ("DATA\r\n", 354);
const HALF: Step = ("Subject: x\r\n\r\nhalf of a mess", 0);
const ALMOST: Step = ("Subject: x\r\n\r\nhi\r\n.", 0);
const DOT: Step = ("Subject: x\r\n\r\nhi\r\n.\r\n", 250);

/// Where a client may be when it breaks off.
const STEPS: &[(&str, &[Step])] = &[
    ("after the greeting", &[]),
    ("within EHLO", &[("EHLO clie", 0)]),
    ("after EHLO", &[EHLO]),
    ("within MAIL", &[EHLO, ("MAIL FROM:<SEND", 0)]),
    ("after MAIL", &[EHLO, MAIL]),
    ("after RCPT", &[EHLO, MAIL, RCPT]),
    ("after RSET", &[EHLO, MAIL, RCPT, ("RSET\r\n", 250)]),
    ("after DATA", &[EHLO, MAIL, RCPT, DATA]),
    ("within the content", &[EHLO, MAIL, RCPT, DATA, HALF]),
    ("within the final dot", &[EHLO, MAIL, RCPT, DATA, ALMOST]),
    ("within a chunk", &[EHLO, MAIL, RCPT, ("BDAT 10000 LAST\r\nSubject: x\r\n", 0)]),
    ("between two chunks", &[EHLO, MAIL, RCPT, ("BDAT 12\r\nSubject: x\r\n", 250)]),
    ("after the acknowledgement", &[EHLO, MAIL, RCPT, DATA, DOT]),
    (
        "within the next message",
        &[EHLO, MAIL, RCPT, DATA, DOT, ("MAIL FROM:<again@src.test>\r\n", 250), RCPT, DATA, HALF],
    ),
];

/// How it breaks off.
#[derive(Clone, Copy, Debug)]
enum Sabotage {
    /// RST.
    Reset,
    /// Gone, and its system says so.
    Close,
    /// It says no more, but listens.
    HalfClose,
    /// RST behind octets that nobody has read.
    ResetBehindOctets,
}

const SABOTAGES: [Sabotage; 4] =
    [Sabotage::Reset, Sabotage::Close, Sabotage::HalfClose, Sabotage::ResetBehindOctets];

impl Sabotage {
    fn strike(self, mut wire: Wire, place: &str) {
        match self {
            Self::Reset => wire.reset(),
            Self::Close => drop(wire),
            Self::HalfClose => {
                wire.half_close();
                // Nobody is there to be told anything; the session is over.
                assert_eq!(wire.rest(), "", "{place}");
            }
            Self::ResetBehindOctets => {
                wire.say(b"x".repeat(5000).as_slice());
                wire.reset();
            }
        }
    }
}

#[test]
fn a_session_that_breaks_off_at_any_step_leaves_nothing_but_what_was_acknowledged() {
    let mut house = House::start();
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for listener in ["smtp", "smtps"] {
        for (step, says) in STEPS {
            for sabotage in SABOTAGES {
                let place = format!("{listener}, {step}, {sabotage:?}");
                number += 1;
                let sender = format!("m{number}@src.test");
                let mut wire = house.connect(listener);
                assert!(wire.reply().starts_with("220 "), "{place}");
                for (line, code) in *says {
                    wire.say(line.replace("SENDER", &sender).as_bytes());
                    if *code > 0 {
                        let reply = wire.reply();
                        assert!(reply.starts_with(&code.to_string()), "{place}: {reply}");
                        if line.ends_with("\r\n.\r\n") {
                            acknowledged.push(sender.clone());
                        }
                    }
                }
                sabotage.strike(wire, &place);
            }
        }
    }
    house.until_alone();
    let mut arrived: Vec<String> = house.all_letters().into_iter().map(|letter| letter.from).collect();
    arrived.sort();
    acknowledged.sort();
    assert_eq!(arrived, acknowledged);
    assert_eq!(acknowledged.len(), 2 * 2 * SABOTAGES.len());
    house.serves_others();
}

#[test]
fn a_reset_between_the_final_dot_and_its_reply_leaves_the_message_once_or_not_at_all() {
    let mut house = House::start();
    for number in 0..40 {
        let mut wire = house.connect(if number % 2 == 0 { "smtp" } else { "smtps" });
        wire.reply();
        for line in
            ["EHLO client.test", &format!("MAIL FROM:<m{number}@src.test>"), "RCPT TO:<b@dst.test>", "DATA"]
        {
            wire.command(line);
        }
        wire.say(b"Subject: x\r\n\r\nhi\r\n.\r\n");
        wire.reset();
    }
    house.until_alone();
    let mut arrived: Vec<String> = house.all_letters().into_iter().map(|letter| letter.from).collect();
    let all = arrived.len();
    arrived.sort();
    arrived.dedup();
    assert_eq!(arrived.len(), all, "{arrived:?}");
    // RFC 5321 §4.2.5: what arrived whole is taken; that nobody hears the 250 does not take it back.
    assert!(all > 0, "the dot was there before the reset");
    house.serves_others();
}
