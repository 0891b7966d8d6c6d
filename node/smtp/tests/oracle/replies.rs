//! Replies and answers to EHLO as our client session understands them, and as smtp-proto does.

use std::fmt::Write as _;

use posthouse_model::{Mailbox, ReversePath};
use posthouse_smtp::client::{
    Cause, Closed, Delivery, Event, Extensions, Loss, Recipient, Session, Settings, SizeLimit, Transaction,
};
use rand::{Rng as _, rngs::StdRng};
use smtp_proto::{EhloResponse, response::parser::ResponseReceiver};

use crate::{
    Case, Comparison, Difference, Judged,
    mutilate::{mutilated, one_of},
};

pub(crate) const REPLIES: Comparison<Reply> =
    Comparison { ours: our_reply, theirs: their_reply, listed: BETWEEN_REPLIES };

pub(crate) const OFFERS: Comparison<Offer> =
    Comparison { ours: our_offer, theirs: their_offer, listed: BETWEEN_OFFERS };

/// Code, enhanced status (all zero if there is none), and the lines of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    code: u16,
    status: [u16; 3],
    text: String,
}

/// The keywords that matter, the limit of SIZE (0 if there is none), and the mechanisms that both know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    keywords: Vec<&'static str>,
    size: u64,
    mechanisms: Vec<&'static str>,
}

const BETWEEN_REPLIES: &[Difference<Reply>] = &[
    ("RFC 5321 §4.2.1: the first digit of a reply is 2 to 5", |case| {
        case.only_we_refuse("Malformed") && !starts(case, &['2', '3', '4', '5'])
    }),
    ("RFC 5321 §4.3.2: 3yz is no answer to the content", |case| {
        case.only_we_refuse("Unexpected") && starts(case, &['3'])
    }),
    ("RFC 5321 §4.2: a space or a hyphen stands behind the code, or nothing", |case| {
        case.only_we_refuse("Malformed") && has_odd_separator(case)
    }),
    ("RFC 5321 §4.2.1: all lines of a reply have the same code", |case| {
        case.only_we_refuse("Malformed") && codes(case).windows(2).any(|pair| pair[0] != pair[1])
    }),
    ("RFC 5321 §4.5.3.1.5: a reply has any number of lines; smtp-proto takes 4 KiB of them", |case| {
        case.only_they_refuse("too long") && case.text.len() > 4096
    }),
    ("RFC 5321 §4.2: a line of text has no control characters: they are shown as `?`", |case| {
        case.both_take() && lines(case).iter().any(|line| line.chars().any(|c| c.is_control() && c != '\t'))
    }),
    ("RFC 2034 §4: a status has the class of the code", |case| {
        case.both_take()
            && of_both(case)
                .is_some_and(|(ours, theirs)| ours.status == [0; 3] && theirs.status[0] != ours.code / 100)
    }),
    ("RFC 3463 §2: numbers of a status have no leading zeros, and at most three digits", |case| {
        case.both_take()
            && statuses(case).iter().any(|status| {
                status.split('.').any(|number| {
                    number.is_empty() || number.len() > 2 || number.len() > 1 && number.starts_with('0')
                })
            })
    }),
    ("RFC 2034 §4: each line of a reply has the same status, or it is text", |case| {
        let found = statuses(case);
        case.both_take()
            && !found.is_empty()
            && (found.len() < lines(case).len() || found.windows(2).any(|pair| pair[0] != pair[1]))
    }),
];

const BETWEEN_OFFERS: &[Difference<Offer>] = &[
    ("RFC 5321 §4.2: a reply may be no more than its code", |case| {
        case.only_they_refuse("unexpected token") && case.text().contains("250\r\n")
    }),
    ("RFC 5321 §4.2.1: any 2yz is a yes", |case| {
        case.only_they_refuse("Invalid response") && starts(case, &['2']) && codes(case)[0] != "250"
    }),
    ("RFC 5321 §4.2: what has control characters is no keyword", |case| {
        case.both_take() && keyword_lines(case).any(|line| line.chars().any(|c| c.is_control() && c != '\t'))
    }),
    ("RFC 5321 §4.1.1.1: white space or the end of the line ends a keyword, and nothing else", |case| {
        case.both_take()
            && keyword_lines(case).any(|line| {
                line.bytes()
                    .find(|b| !b.is_ascii_alphanumeric() && *b != b'-')
                    .is_some_and(|end| !end.is_ascii_whitespace())
            })
    }),
    ("RFC 5321 §4.1.1.1: a keyword may stand behind white space", |case| {
        case.both_take() && keyword_lines(case).any(|line| line.starts_with(char::is_whitespace))
    }),
    (
        "RFC 5321 §4.1.1.1: a keyword goes to its end, and no further: smtp-proto looks at 16 letters, and takes three more",
        |case| {
            keyword_lines(case).any(|line| {
                line.replace('\r', "").to_ascii_uppercase().starts_with("ENHANCEDSTATUSCO")
                    && line.len() != 19
            })
        },
    ),
    ("RFC 5321 §4.1.1: a tab is white space, before a number too", |case| {
        case.both_take() && keyword_lines(case).any(|line| line.contains('\t'))
    }),
    ("RFC 4954 §3: the name of a mechanism has no case, to its last letter", |case| {
        case.both_take()
            && keyword_lines(case).any(|line| {
                let name = line.to_ascii_uppercase().find("SCRAM-SHA-256-PL");
                let tail = name.and_then(|at| line.get(at + 16..)).unwrap_or_default();
                tail.bytes().take(2).any(|b| b.is_ascii_lowercase())
            })
    }),
    ("RFC 1870 §4: what is no number of octets, or none of 64 bits, is no limit", |case| {
        case.both_take()
            && of_both(case).is_some_and(|(ours, theirs)| ours.size == 0 && theirs.size != 0)
            && keyword_lines(case).any(|line| {
                line.to_ascii_uppercase().starts_with("SIZE")
                    && (line.trim_end().len() > 24
                        || !line.trim_end().bytes().skip(5).all(|b| b.is_ascii_digit()))
            })
    }),
];

fn starts<T>(case: &Case<'_, T>, digits: &[char]) -> bool {
    case.text().starts_with(digits)
}

fn of_both<'c, T>(case: &Case<'c, T>) -> Option<(&'c T, &'c T)> {
    case.ours.as_ref().ok().zip(case.theirs.as_ref().ok())
}

/// The lines of a text without code and separator.
fn lines<T>(case: &Case<'_, T>) -> Vec<String> {
    let text = case.text();
    let text = text.strip_suffix('\n').unwrap_or(&text);
    text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).chars().skip(4).collect()).collect()
}

fn keyword_lines<T>(case: &Case<'_, T>) -> impl Iterator<Item = String> {
    lines(case).into_iter().skip(1)
}

fn codes<T>(case: &Case<'_, T>) -> Vec<String> {
    let text = case.text();
    let text = text.strip_suffix('\n').unwrap_or(&text);
    text.split('\n').map(|line| line.chars().take(3).collect()).collect()
}

/// Whether something else than a space, a hyphen or the end stands behind a code.
fn has_odd_separator<T>(case: &Case<'_, T>) -> bool {
    let text = case.text();
    text.split('\n').any(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.chars().nth(3).is_some_and(|separator| !matches!(separator, ' ' | '-'))
    })
}

/// What looks like a status at the head of a line.
fn statuses<T>(case: &Case<'_, T>) -> Vec<String> {
    let heads = lines(case).into_iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned());
    heads
        .filter(|head| head.split('.').count() == 3 && head.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        .collect()
}

fn session() -> Session {
    let mut session = Session::new(Settings::smtp("h.example".parse().unwrap()));
    hear(&mut session, b"220 peer\r\n");
    session
}

/// The peer says something; what the session told.
fn hear(session: &mut Session, octets: &[u8]) -> Vec<Event> {
    let mut told = Vec::new();
    session.written(session.output().len());
    let mut rest = octets;
    while !rest.is_empty() && !session.is_closed() {
        rest = &rest[session.receive(rest)..];
        told.extend(std::iter::from_fn(|| session.next_event()));
    }
    told
}

fn our_reply(octets: &[u8]) -> Judged<Reply> {
    let mut session = session();
    hear(&mut session, b"250 peer\r\n");
    let to: Mailbox = "a@b.example".parse().unwrap();
    session.begin(Transaction::new(ReversePath::Null, vec![Recipient::from(to)], 3));
    for reply in ["250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
        hear(&mut session, reply.as_bytes());
    }
    session.begin_content();
    session.content(b"x\r\n");
    session.finish_content();
    let reply = match hear(&mut session, octets).into_iter().next() {
        Some(Event::Finished(mut all)) => match all.pop() {
            Some(Delivery::Accepted { reply, .. }) => reply,
            Some(Delivery::Refused(refusal)) => refusal.reply,
            Some(Delivery::Lost(Loss { cause: Cause::Protocol(error), .. })) => {
                return Err(format!("{error:?}"));
            }
            other => panic!("{other:?}"),
        },
        None => return Err("more is needed".to_owned()),
        other => panic!("{other:?}"),
    };
    let status =
        reply.status().map(|status| [u16::from(status.class().digit()), status.subject(), status.detail()]);
    let text = reply.lines().collect::<Vec<_>>().join("\n");
    Ok(Reply { code: reply.code().number(), status: status.unwrap_or_default(), text })
}

fn their_reply(octets: &[u8]) -> Judged<Reply> {
    let found = ResponseReceiver::default().parse(&mut octets.iter()).map_err(|error| error.to_string())?;
    Ok(Reply { code: found.code, status: found.esc.map(u16::from), text: found.message })
}

fn our_offer(octets: &[u8]) -> Judged<Offer> {
    let mut session = session();
    match hear(&mut session, octets).into_iter().next() {
        Some(Event::Ready) => {}
        Some(Event::Closed(Closed::Lost(loss))) => return Err(format!("{loss:?}")),
        other => return Err(format!("{other:?}")),
    }
    let Extensions {
        pipelining,
        size,
        eight_bit_mime,
        enhanced_status_codes,
        start_tls,
        chunking,
        binary_mime,
        smtp_utf8,
        dsn,
        require_tls,
        auth,
        limits: _, // not known to smtp-proto
    } = session.extensions();
    let said = [
        pipelining,
        eight_bit_mime,
        enhanced_status_codes,
        start_tls,
        chunking,
        binary_mime,
        smtp_utf8,
        dsn,
        require_tls,
    ];
    let keywords = KEYWORDS.iter().zip(said).filter(|(_, said)| **said).map(|((name, _), _)| *name).collect();
    let size = match size {
        Some(SizeLimit::Octets(limit)) => *limit,
        _ => 0,
    };
    let known = |name: &&str| auth.iter().any(|said| said.eq_ignore_ascii_case(name));
    let mechanisms = MECHANISMS.iter().map(|(name, _)| *name).filter(known).collect();
    Ok(Offer { keywords, size, mechanisms })
}

const KEYWORDS: [(&str, u32); 9] = [
    ("PIPELINING", smtp_proto::EXT_PIPELINING),
    ("8BITMIME", smtp_proto::EXT_8BIT_MIME),
    ("ENHANCEDSTATUSCODES", smtp_proto::EXT_ENHANCED_STATUS_CODES),
    ("STARTTLS", smtp_proto::EXT_START_TLS),
    ("CHUNKING", smtp_proto::EXT_CHUNKING),
    ("BINARYMIME", smtp_proto::EXT_BINARY_MIME),
    ("SMTPUTF8", smtp_proto::EXT_SMTP_UTF8),
    ("DSN", smtp_proto::EXT_DSN),
    ("REQUIRETLS", smtp_proto::EXT_REQUIRE_TLS),
];

const MECHANISMS: [(&str, u64); 9] = [
    ("PLAIN", smtp_proto::AUTH_PLAIN),
    ("LOGIN", smtp_proto::AUTH_LOGIN),
    ("CRAM-MD5", smtp_proto::AUTH_CRAM_MD5),
    ("SCRAM-SHA-1", smtp_proto::AUTH_SCRAM_SHA_1),
    ("SCRAM-SHA-256", smtp_proto::AUTH_SCRAM_SHA_256),
    ("SCRAM-SHA-256-PLUS", smtp_proto::AUTH_SCRAM_SHA_256_PLUS),
    ("XOAUTH2", smtp_proto::AUTH_XOAUTH2),
    ("OAUTHBEARER", smtp_proto::AUTH_OAUTHBEARER),
    ("GSSAPI", smtp_proto::AUTH_GSSAPI),
];

fn their_offer(octets: &[u8]) -> Judged<Offer> {
    let found = EhloResponse::parse(&mut octets.iter()).map_err(|error| error.to_string())?;
    let has = |keyword| found.capabilities & keyword != 0;
    // What needs another keyword is told only with it (RFC 3030 §3, RFC 6531 §3.1).
    let counts = |name: &str| match name {
        "BINARYMIME" => has(smtp_proto::EXT_CHUNKING),
        "SMTPUTF8" => has(smtp_proto::EXT_8BIT_MIME),
        _ => true,
    };
    let keywords =
        KEYWORDS.iter().filter(|(name, flag)| has(*flag) && counts(name)).map(|(name, _)| *name).collect();
    let mechanisms = MECHANISMS
        .iter()
        .filter(|(_, flag)| found.auth_mechanisms & flag != 0)
        .map(|(name, _)| *name)
        .collect();
    Ok(Offer { keywords, size: found.size as u64, mechanisms })
}

const PIECES: &[&[u8]] = &[
    b" ",
    b"-",
    b"\t",
    b"\n",
    b"\r",
    b"2",
    b"250 ",
    b"250-",
    b"550 5.1.1 x",
    b"5.1.1 ",
    b"2.0.0 ",
    b"5.01.1 ",
    b"5.1.100 ",
    b".",
    b"\x07",
    b"\xff",
    "ü".as_bytes(),
    b"=",
    b"SIZE",
    b" +5",
    b"x",
];

/// A reply to the content, and whether it is by the grammar.
pub(crate) fn reply(random: &mut StdRng) -> (Vec<u8>, bool) {
    let code = one_of(random, &["250", "250", "251", "450", "451", "452", "550", "552", "554"]).to_owned();
    let status = match random.random_range(0..3) {
        0 => String::new(),
        _ => format!("{}.{}.{} ", &code[..1], random.random_range(0..8), random.random_range(0..30)),
    };
    let count = random.random_range(1..4);
    let mut text = String::new();
    for line in 1..=count {
        let words =
            one_of(random, &["", "ok", "no such user here", "2.0.0", "see <https://a.example/?b=c>", "über"]);
        let separator = if line < count { "-" } else { " " };
        write!(text, "{code}{separator}{status}{words}\r\n").unwrap();
    }
    if random.random_bool(0.02) {
        let odd = one_of(random, &["354", "199", "600", "999"]);
        return (text.replace(&code, odd).into_bytes(), false);
    }
    if random.random_bool(0.01) {
        text = format!("{}{text}", format!("{code}-{status}much to say\r\n").repeat(600));
        return (text.into_bytes(), true);
    }
    if random.random_bool(0.4) {
        return (text.into_bytes(), true);
    }
    (mutilated(random, text.into_bytes(), PIECES), false)
}

/// An answer to EHLO, and whether it is by the grammar.
pub(crate) fn offer(random: &mut StdRng) -> (Vec<u8>, bool) {
    let mut lines =
        vec![one_of(random, &["peer.example", "peer.example at your service", "[192.0.2.1]"]).to_owned()];
    for _ in 0..random.random_range(0..8) {
        let keywords = [
            "PIPELINING",
            "8BITMIME",
            "8bitmime",
            "EnhancedStatusCodes",
            "STARTTLS",
            "CHUNKING",
            "BINARYMIME",
            "SMTPUTF8",
            "DSN",
            "REQUIRETLS",
            "SIZE",
            "SIZE 0",
            "SIZE 35882577",
            "size 18446744073709551614",
            "AUTH PLAIN LOGIN",
            "AUTH=LOGIN PLAIN",
            "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 CRAM-MD5",
            "auth xoauth2 OAuthBearer GSSAPI",
            "HELP",
            "VRFY",
            "ETRN",
            "X-EXPS GSSAPI",
            "LIMITS RCPTMAX=50",
            "DELIVERBY 240",
            "NO-SOLICITING net.example:ADV",
        ];
        lines.push(one_of(random, &keywords).to_owned());
    }
    let last = lines.len() - 1;
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        write!(text, "250{}{line}\r\n", if place < last { '-' } else { ' ' }).unwrap();
    }
    if random.random_bool(0.02) {
        let (from, to) =
            [("250", "251"), ("250-", "250:"), ("250 ", "550 "), ("250 ", "251 "), ("E 35", "E \t35")]
                [random.random_range(0..5)];
        return (text.replace(from, to).into_bytes(), false);
    }
    if random.random_bool(0.4) {
        return (text.into_bytes(), true);
    }
    (mutilated(random, text.into_bytes(), PIECES), false)
}
