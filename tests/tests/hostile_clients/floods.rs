//! Too much of everything: commands, recipients, content, connections, octets that nobody waits for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use posthouse_tests::process;

use super::house::House;

const EHLO: &str = "EHLO client.test";
const MAIL: &str = "MAIL FROM:<a@src.test>";

/// What a flooder may get rid of before it is not listened to any more: what is read and dropped of a closing connection, a mebibyte, and what two
/// kernels keep of any.
const MOST_OFFERED: usize = 64 * 1024 * 1024;

/// Commands that lead to no mail, and the code of the reply to each.
const IDLE: &[(&str, &str)] = &[
    ("NOOP", "250 "),
    ("RSET", "250 "),
    ("HELP", "214"),
    ("VRFY nobody", "252 "),
    ("EHLO client.test", "250"),
    ("HELO client.test", "250 "),
    ("XYZZY", "500 "),
    ("DATA", "503 "),
    ("BDAT 0", "503 "),
    ("EXPN nobody", "502 "),
    ("MAIL FROM:<", "501 "),
    ("MAIL FROM:<a@src.test> SIZE=99999999", "552 "),
    ("STARTTLS now", "501 "),
];

#[test]
fn commands_without_end_end_the_session_and_say_so() {
    // RFC 5321 §7.8
    let mut house = House::start();
    for (line, code) in IDLE {
        let mut wire = house.connect("smtp");
        wire.reply();
        wire.command(EHLO);
        let mut replies = (0..1000).map(|_| wire.command(line));
        let last = replies.find(|reply| !reply.starts_with(code)).unwrap();
        assert!(last.starts_with("421 4.7.0 "), "{line}: {last}");
        assert_eq!(wire.rest(), "", "{line}");
    }
    house.until_alone();
    assert!(house.all_letters().is_empty());
    house.serves_others();
}

#[test]
fn envelopes_without_content_end_the_session() {
    let house = House::start();
    let mut wire = house.connect("smtp");
    wire.reply();
    wire.command(EHLO);
    let lines = [MAIL, "RCPT TO:<b@dst.test>", "RSET"];
    let mut replies = lines.iter().cycle().take(3000).map(|line| wire.command(line));
    let last = replies.find(|reply| !reply.starts_with("250 ")).unwrap();
    assert!(last.starts_with("421 4.7.0 "), "{last}");
    house.until_alone();
    house.serves_others();
}

#[test]
fn recipients_beyond_the_limit_are_452_and_the_others_get_the_message() {
    // RFC 5321 §4.5.3.1.10
    let house = House::start();
    let mut wire = house.connect("smtp");
    wire.reply();
    wire.command(EHLO);
    wire.command(MAIL);
    let lines: Vec<String> = (0..500).map(|number| format!("RCPT TO:<b{number}@dst.test>\r\n")).collect();
    let lines = lines.concat();
    wire.say(lines.as_bytes());
    let replies: Vec<String> = (0..500).map(|_| wire.reply()).collect();
    assert!(replies[..10].iter().all(|reply| reply.starts_with("250 2.1.5 ")));
    assert!(replies[10..].iter().all(|reply| reply.starts_with("452 4.5.3 ")));
    assert!(wire.command("DATA").starts_with("354 "));
    assert!(wire.command("Subject: x\r\n\r\nhi\r\n.").starts_with("250 "));
    assert_eq!(house.letter().to.len(), 10);
    // Who goes on and on is not sending mail.
    wire.command(MAIL);
    let sent: usize = (0..100).map_while(|_| wire.try_say(lines.as_bytes()).ok()).count();
    let rest = wire.rest();
    assert!(rest.lines().last().unwrap().starts_with("421 4.7.0 "), "{sent} times: {rest}");
    house.until_alone();
    house.serves_others();
}

#[test]
fn octets_without_end_are_not_taken_without_end() {
    let mut house = House::start();
    let content = ["EHLO client.test", MAIL, "RCPT TO:<b@dst.test>", "DATA"].as_slice();
    for (said, octets) in [
        ([].as_slice(), b"x".as_slice()),
        (&[EHLO], b"NOOP\r\n"),
        (&[EHLO], b"\0"),
        (content, b"a line\r\n.\r\n"),
    ] {
        let mut wire = house.connect("smtp");
        wire.reply();
        for line in said {
            wire.command(line);
        }
        let piece = octets.repeat(64 * 1024 / octets.len());
        let mut offered = 0;
        while offered < MOST_OFFERED && wire.try_say(&piece).is_ok() {
            offered += piece.len();
        }
        // The last word may be lost: the connection is reset for what comes behind it.
        assert!(offered < MOST_OFFERED, "{said:?}: all of it was taken");
    }
    house.until_alone();
    assert!(house.all_letters().len() <= 1);
    house.serves_others();
}

#[test]
fn content_that_is_too_large_is_refused_at_its_end_and_takes_no_memory() {
    // RFC 1870 §6.3
    let house = House::start();
    let mut wire = house.connect("smtp");
    wire.reply();
    for line in [EHLO, MAIL, "RCPT TO:<b@dst.test>", "DATA"] {
        wire.command(line);
    }
    let before = house.peak_memory_kib();
    let piece = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(1024);
    for _ in 0..512 {
        wire.say(&piece); // 32 MiB; the limit is one
    }
    assert!(wire.command(".").starts_with("552 5.3.4 "));
    let grown = house.peak_memory_kib() - before;
    assert!(grown < 8 * 1024, "{grown} KiB more");
    assert!(wire.command("NOOP").starts_with("250 "));
    drop(wire);
    house.serves_others();
}

#[test]
fn thousands_of_messages_that_stop_half_way_do_not_fill_the_memory() {
    process::limit_files(None).unwrap();
    let mut house = House::start();
    // Less than a chunk, so that all of it is held; more in all than a node gives to them.
    let half = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(60 * 1024 / 64);
    let mut crowd = Vec::new();
    for _ in 0..4000 {
        let mut wire = house.connect("smtp");
        wire.reply();
        wire.say(format!("{EHLO}\r\n").as_bytes());
        wire.reply();
        wire.say(format!("{MAIL}\r\nRCPT TO:<b@dst.test>\r\nDATA\r\n").as_bytes());
        assert!([wire.reply(), wire.reply(), wire.reply()][2].starts_with("354 "));
        wire.say(&half);
        crowd.push(wire);
    }
    let peak = house.peak_memory_kib();
    assert!(peak < 256 * 1024, "VmHWM {peak} KiB");
    // A small message needs nothing of what they have taken.
    house.serves_others();
    drop(crowd);
    house.until_alone();
    assert!(house.all_letters().is_empty());
}

#[test]
fn a_thousand_connections_that_come_and_go_keep_nobody_waiting() {
    let house = House::start();
    let made = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..250 {
                    let mut wire = house.connect("smtp");
                    made.fetch_add(1, Ordering::Relaxed);
                    match number % 4 {
                        0 => wire.reset(),
                        1 => drop(wire),
                        2 => wire.half_close(),
                        _ => {
                            wire.reply();
                            wire.reset();
                        }
                    }
                }
            });
        }
        for _ in 0..5 {
            house.serves_others();
        }
    });
    assert_eq!(made.load(Ordering::Relaxed), 1000);
    house.until_alone();
}
