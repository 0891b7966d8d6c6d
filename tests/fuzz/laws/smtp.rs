//! What holds of any octets on an SMTP connection, from either side, and of any text as an address or a header: they are read without a panic and
//! soon, nothing depends on how they were cut, nothing grows without bound, and what is read has one form. Pure.
//!
//! The first octet of an input for a session says how it is cut; turns are separated by [`TURN`]: what comes before a turn has been answered.

use std::time::{Duration, Instant};

use posthouse_model::{Domain, Envid, ForwardPath, Mailbox, Notify, OriginalRecipient, Reply, ReversePath};
use posthouse_smtp::{
    client::{self, Body, Recipient, StartTls, Transaction},
    content::{HeaderObserver, Lines, MimeHeaders},
    server::{self, Tls},
};

/// Between two turns of a session.
const TURN: u8 = 0x1e;

/// The longest that some kilobytes may take, on a machine that does much else and with every check that a build can have.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most octets that wait to be written, whatever the other side says: some replies, and a chunk of content.
const OUTPUT: usize = 64 << 10;

/// Which law an input breaks, if it breaks one; nothing if the input stands for nothing.
pub(crate) fn broken(target: &str, input: &[u8]) -> Option<Result<(), String>> {
    let began = Instant::now();
    let held = match target {
        "receiver" => receiver(input)?,
        "sender" => sender(input)?,
        "address" => address(str::from_utf8(input).ok()?),
        "header" => header(input)?,
        _ => return None,
    };
    let took = began.elapsed();
    Some(held.and_then(|()| if took > PATIENCE { Err(format!("it took {took:?}")) } else { Ok(()) }))
}

/// A client says anything to the server session.
fn receiver(input: &[u8]) -> Option<Result<(), String>> {
    let (cut, rest) = input.split_first()?;
    let whole = serve(rest, usize::MAX, Tls::Absent);
    let cut = serve(rest, usize::from(*cut).max(1), Tls::Absent);
    // With STARTTLS what comes behind it is dropped, so it matters what came together: nothing else is asked.
    let tls = serve(rest, usize::MAX, Tls::Required);
    Some(match (whole, cut, tls) {
        (Err(law), ..) | (_, Err(law), _) | (.., Err(law)) => Err(law),
        // A client that did not wait for its turn is closed on when that is seen: in one piece DATA is not even asked about.
        (Ok(whole), Ok(cut), _) if is_violation(&whole) && is_violation(&cut) => Ok(()),
        (Ok(whole), Ok(cut), _) if whole != cut => Err(format!("cut, it is {cut:?} instead of {whole:?}")),
        _ => Ok(()),
    })
}

fn is_violation((_, told): &Play) -> bool {
    told.last().is_some_and(|last| last == "Closed(Violation)")
}

/// What the session said and told.
type Play = (Vec<u8>, Vec<String>);

fn serve(octets: &[u8], piece: usize, tls: Tls) -> Result<Play, String> {
    let mut settings = server::Settings::new("h.example");
    settings.message_size = Some(4000);
    settings.recipients = 3;
    settings.tls = tls;
    let mut session = server::Session::new(settings);
    let (mut said, mut told, mut content) = (Vec::new(), Vec::new(), Vec::new());
    session.greet();
    for turn in octets.split(|octet| *octet == TURN) {
        said.extend_from_slice(session.output());
        session.written(session.output().len());
        if session.is_in_handshake() {
            session.secured();
        }
        for mut part in turn.chunks(piece.min(turn.len()).max(1)) {
            while !part.is_empty() {
                let taken = session.receive(part);
                part = part.get(taken..).unwrap_or_default();
                pump(&mut session, &mut told, &mut content);
                if session.output().len() > OUTPUT {
                    return Err(format!("{} octets wait to be written", session.output().len()));
                }
                if taken == 0 {
                    // Replies must be written first, or the session reads no more in clear.
                    if session.output().is_empty() {
                        break;
                    }
                    said.extend_from_slice(session.output());
                    session.written(session.output().len());
                    pump(&mut session, &mut told, &mut content);
                }
            }
        }
    }
    said.extend_from_slice(session.output());
    if !said.is_ascii() {
        return Err("a reply is beyond ASCII".to_owned());
    }
    Ok((said, told))
}

fn pump(session: &mut server::Session, told: &mut Vec<String>, content: &mut Vec<u8>) {
    while let Some(event) = session.next_event() {
        let event = match event {
            server::Event::Content(piece) => {
                content.extend_from_slice(piece);
                continue;
            }
            server::Event::Data => {
                content.clear();
                "data".to_owned()
            }
            server::Event::ContentEnd(summary) => format!("{summary:?} {content:?}"),
            other => format!("{other:?}"),
        };
        told.push(event);
        if session.is_asking() {
            let code = if told.len() % 9 == 8 { "550 no" } else { "250 ok" };
            if let Ok(reply) = code.parse::<Reply>() {
                session.answer(&reply);
            }
        }
    }
}

/// A server says anything to the client session. Whether a reply came before or after this side acted is not the same, so nothing is said of
/// different cuts but that each keeps to the law.
fn sender(input: &[u8]) -> Option<Result<(), String>> {
    let (cut, rest) = input.split_first()?;
    Some(call(rest, usize::MAX, *cut).and_then(|()| call(rest, usize::from(cut >> 2).max(1), *cut)))
}

fn call(octets: &[u8], piece: usize, flags: u8) -> Result<(), String> {
    let hello: Domain = "h.example".parse().map_err(|_| "a domain is none")?;
    let mut settings =
        if flags & 1 == 0 { client::Settings::smtp(hello) } else { client::Settings::lmtp(hello) };
    settings.starttls = StartTls::IfOffered;
    let body = if flags & 2 == 0 { Body::SevenBit } else { Body::Binary };
    let mut session = client::Session::new(settings);
    let mut said = Vec::new();
    let (mut begun, mut finished, mut closed) = (0, 0, 0);
    for turn in octets.split(|octet| *octet == TURN) {
        for part in turn.chunks(piece.min(turn.len()).max(1)) {
            let mut part = part;
            while !part.is_empty() && !session.is_closed() {
                let taken = session.receive(part);
                part = part.get(taken..).unwrap_or_default();
                while let Some(event) = session.next_event() {
                    match event {
                        client::Event::Ready if begun < 3 => {
                            begun += 1;
                            let recipients = ["a@b.example", "c@d.example"].map(str::parse::<Mailbox>);
                            let recipients: Result<Vec<Recipient>, _> =
                                recipients.into_iter().map(|to| to.map(Recipient::from)).collect();
                            let recipients = recipients.map_err(|error| error.to_string())?;
                            session.begin(Transaction::new(ReversePath::Null, recipients, 3).with_body(body));
                        }
                        client::Event::Ready => session.quit(),
                        client::Event::StartTls => session.upgraded(),
                        client::Event::ContentDue => {
                            session.begin_content();
                            session.content(b".\r\n");
                            if !session.is_held() {
                                session.finish_content();
                            }
                        }
                        client::Event::Finished(all) => {
                            finished += 1;
                            if all.len() != 2 {
                                return Err(format!("{} outcomes for two recipients", all.len()));
                            }
                        }
                        client::Event::Closed(_) => closed += 1,
                    }
                }
                if session.output().len() > OUTPUT {
                    return Err(format!("{} octets wait to be written", session.output().len()));
                }
            }
        }
        said.extend_from_slice(session.output());
        session.written(session.output().len());
    }
    session.connection_lost();
    while let Some(event) = session.next_event() {
        match event {
            client::Event::Finished(_) => finished += 1,
            client::Event::Closed(_) => closed += 1,
            _ => {}
        }
    }
    if finished != begun || closed != 1 {
        return Err(format!("{begun} transactions, {finished} outcomes, {closed} ends"));
    }
    if said.is_ascii() { Ok(()) } else { Err("a command is beyond ASCII".to_owned()) }
}

/// A text as whatever stands between brackets, or behind a parameter's `=`.
fn address(text: &str) -> Result<(), String> {
    one_form::<Mailbox>(text)?;
    one_form::<Domain>(text)?;
    one_form::<ReversePath>(text)?;
    one_form::<ForwardPath>(text)?;
    one_form::<Envid>(text)?;
    one_form::<OriginalRecipient>(text)?;
    if let Ok(notify) = text.parse::<Notify>()
        && Notify::from_bits(notify.bits()) != notify
    {
        return Err(format!("{notify:?} is another one in a record"));
    }
    if let Ok(original) = text.parse::<OriginalRecipient>()
        && let Some(ascii) = original.to_ascii()
    {
        let again: OriginalRecipient =
            ascii.as_str().parse().map_err(|error| format!("{ascii} is no original recipient: {error}"))?;
        if !again.is_ascii() || again.address() != original.address() {
            return Err(format!("{original} is not {again}"));
        }
    }
    if let Ok(envid) = text.parse::<Envid>()
        && !envid.decoded().bytes().all(|octet| octet == b' ' || octet.is_ascii_graphic())
    {
        return Err(format!("{envid} means more than can be printed"));
    }
    if let Ok(mailbox) = text.parse::<Mailbox>()
        && let Some(ascii) = mailbox.to_ascii()
    {
        let again: Mailbox =
            ascii.to_string().parse().map_err(|error| format!("{ascii} is no mailbox: {error}"))?;
        if again != mailbox || !again.to_string().is_ascii() {
            return Err(format!("{mailbox} is not {again}"));
        }
    }
    Ok(())
}

fn one_form<T: std::str::FromStr + ToString>(text: &str) -> Result<(), String> {
    let Ok(parsed) = text.parse::<T>() else { return Ok(()) };
    let form = parsed.to_string();
    match form.parse::<T>() {
        Ok(again) if again.to_string() == form => Ok(()),
        _ => Err(format!("{form:?} is not read as it was written")),
    }
}

/// Octets as the content of a message, in two cuts.
fn header(input: &[u8]) -> Option<Result<(), String>> {
    let (cut, content) = input.split_first()?;
    let look = |piece: usize| {
        let (mut headers, mut mime, mut lines) = (HeaderObserver::new(), MimeHeaders::new(), Lines::new());
        let mut bad = None;
        for part in content.chunks(piece) {
            headers.observe(part);
            mime.observe(part);
            if bad.is_none() {
                bad = lines.check(part).err();
            }
        }
        (headers.received(), headers.into_marks(), mime.is_beyond_ascii(), bad)
    };
    let (whole, cut) = (look(content.len().max(1)), look(usize::from(*cut).max(1)));
    Some(if whole == cut { Ok(()) } else { Err(format!("cut, it is {cut:?} instead of {whole:?}")) })
}
