//! A command line as our server session understands it, and as smtp-proto does.

use std::fmt::Write as _;

use posthouse_model::{ForwardPath, Mailbox};
use posthouse_smtp::server::{Body, Event, Mail, Protocol, Rcpt, Session, Settings, Tls};
use smtp_proto::{MailFrom, RcptTo, Request};

use crate::{Comparison, Judged, differences::LISTED};

pub(crate) const COMPARISON: Comparison<Meaning> = Comparison { ours, theirs, listed: LISTED };

/// What a command line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Hello {
        extended: bool,
        name: String,
    },
    Mail {
        address: String,
        parameters: String,
    },
    Rcpt {
        address: String,
        parameters: String,
    },
    /// How many octets; above [`CHUNK`] it is not looked how many.
    Chunk {
        octets: usize,
        last: bool,
    },
    /// A verb for itself; what follows it is not told to the driver.
    Verb(&'static str),
}

/// The largest chunk that is sent.
const CHUNK: usize = 5000;

fn ours(line: &[u8]) -> Judged<Meaning> {
    let mut settings = Settings::new("h.example");
    settings.tls = Tls::Offered;
    let mut peer = Peer { session: Session::new(settings), meaning: None };
    peer.session.greet();
    peer.say(b"EHLO c\r\n");
    let verb: String = String::from_utf8_lossy(line).trim_start().chars().take(4).collect();
    let before: &[&[u8]] = match verb.to_ascii_uppercase().as_str() {
        "RCPT" | "RSET" => &[b"MAIL FROM:<> SMTPUTF8\r\n"],
        "DATA" => &[b"MAIL FROM:<>\r\n", b"RCPT TO:<a@b>\r\n"],
        "BDAT" => &[b"MAIL FROM:<> BODY=BINARYMIME\r\n", b"RCPT TO:<a@b>\r\n"],
        _ => &[],
    };
    for command in before {
        assert!(peer.say(command).starts_with("250"), "{:?}", peer.meaning);
    }
    peer.meaning = None;
    let mut said = peer.say(&[line, b"\r\n"].concat());
    if said.starts_with(['4', '5']) {
        return Err(said);
    }
    if verb.eq_ignore_ascii_case("BDAT") {
        let mut octets = 0;
        while said.is_empty() && octets <= CHUNK {
            octets += 1;
            said = peer.say(b"x");
        }
        let last = peer.meaning == Some(Meaning::Verb("END"));
        return Ok(Meaning::Chunk { octets, last });
    }
    let of_reply = || match said.get(..3) {
        Some("214") => "HELP",
        Some("221") => "QUIT",
        Some("250") => "NOOP",
        Some("252") => "VRFY",
        other => panic!("{other:?}"),
    };
    Ok(peer.meaning.unwrap_or_else(|| Meaning::Verb(of_reply())))
}

struct Peer {
    session: Session,
    /// What the last command was understood as.
    meaning: Option<Meaning>,
}

impl Peer {
    /// Says something, accepts all that is asked, gives the replies.
    fn say(&mut self, octets: &[u8]) -> String {
        self.session.written(self.session.output().len());
        let mut rest = octets;
        while !rest.is_empty() && !self.session.is_closed() {
            let taken = self.session.receive(rest);
            assert!(taken > 0);
            rest = &rest[taken..];
            while let Some(event) = self.session.next_event() {
                let meaning = match event {
                    Event::Hello(client) => {
                        Meaning::Hello { extended: client.protocol == Protocol::Esmtp, name: client.name }
                    }
                    Event::Mail(mail) => of_mail(&mail),
                    Event::Rcpt(rcpt) => of_rcpt(&rcpt),
                    Event::Data => Meaning::Verb("DATA"),
                    Event::ContentEnd(_) => Meaning::Verb("END"),
                    Event::StartTls => Meaning::Verb("STARTTLS"),
                    Event::Reset => Meaning::Verb("RSET"),
                    _ => continue,
                };
                self.meaning = Some(meaning);
                if self.session.is_asking() {
                    self.session.answer(&"250 2.0.0 OK".parse().unwrap());
                }
            }
        }
        String::from_utf8_lossy(self.session.output()).into_owned()
    }
}

fn of_mail(mail: &Mail) -> Meaning {
    let Mail { reverse_path, size, body, smtputf8, ret, envid } = mail;
    let mut parameters = format!("SIZE={}", size.unwrap_or_default());
    let body = body.map(|body| match body {
        Body::SevenBit => "7BIT",
        Body::EightBitMime => "8BITMIME",
        Body::BinaryMime => "BINARYMIME",
    });
    write!(parameters, " BODY={body:?}").unwrap();
    write!(parameters, " SMTPUTF8={smtputf8} RET={:?}", ret.map(|ret| ret.to_string())).unwrap();
    write!(parameters, " ENVID={:?}", envid.as_ref().map(posthouse_model::Envid::decoded)).unwrap();
    Meaning::Mail { address: reverse_path.mailbox().map(address).unwrap_or_default(), parameters }
}

fn of_rcpt(rcpt: &Rcpt) -> Meaning {
    let Rcpt { forward_path, notify, orcpt } = rcpt;
    let address = match forward_path {
        ForwardPath::Postmaster => String::new(),
        ForwardPath::Mailbox(mailbox) => address(mailbox),
    };
    let orcpt = orcpt.as_ref().map(posthouse_model::OriginalRecipient::address);
    Meaning::Rcpt { address, parameters: format!("NOTIFY={notify} ORCPT={orcpt:?}") }
}

/// Without quotes and backslashes, as smtp-proto tells it.
fn address(mailbox: &Mailbox) -> String {
    format!("{}@{}", mailbox.local().value(), mailbox.domain())
}

fn theirs(line: &[u8]) -> Judged<Meaning> {
    let line = [line, b"\r\n"].concat();
    let mut octets = line.iter();
    let parsed = Request::parse(&mut octets).map_err(|error| error.to_string())?;
    assert_eq!(octets.len(), 0, "they read one line");
    Ok(match parsed {
        Request::Ehlo { host } => Meaning::Hello { extended: true, name: host.into_owned() },
        Request::Helo { host } => Meaning::Hello { extended: false, name: host.into_owned() },
        Request::Mail { from } => their_mail(&from.into_owned()),
        Request::Rcpt { to } => their_rcpt(&to.into_owned()),
        Request::Bdat { chunk_size, is_last } => {
            let octets = chunk_size.min(CHUNK + 1);
            // Of a chunk that is not sent to its end we cannot know that it is the last.
            Meaning::Chunk { octets, last: is_last && octets <= CHUNK }
        }
        other => Meaning::Verb(other.name()),
    })
}

fn their_mail(mail: &MailFrom<String>) -> Meaning {
    let flag = |flags: &[(u64, &'static str)]| {
        flags.iter().find(|(flag, _)| mail.flags & flag != 0).map(|(_, name)| *name)
    };
    let body = flag(&[
        (smtp_proto::MAIL_BODY_7BIT, "7BIT"),
        (smtp_proto::MAIL_BODY_8BITMIME, "8BITMIME"),
        (smtp_proto::MAIL_BODY_BINARYMIME, "BINARYMIME"),
    ]);
    let ret = flag(&[(smtp_proto::MAIL_RET_FULL, "FULL"), (smtp_proto::MAIL_RET_HDRS, "HDRS")]);
    let utf8 = mail.flags & smtp_proto::MAIL_SMTPUTF8 != 0;
    let parameters =
        format!("SIZE={} BODY={body:?} SMTPUTF8={utf8} RET={ret:?} ENVID={:?}", mail.size, mail.env_id);
    Meaning::Mail { address: mail.address.clone(), parameters }
}

fn their_rcpt(rcpt: &RcptTo<String>) -> Meaning {
    let words = [
        (smtp_proto::RCPT_NOTIFY_NEVER, "NEVER"),
        (smtp_proto::RCPT_NOTIFY_SUCCESS, "SUCCESS"),
        (smtp_proto::RCPT_NOTIFY_FAILURE, "FAILURE"),
        (smtp_proto::RCPT_NOTIFY_DELAY, "DELAY"),
    ];
    let notify: Vec<_> =
        words.iter().filter(|(flag, _)| rcpt.flags & flag != 0).map(|(_, word)| *word).collect();
    Meaning::Rcpt {
        address: rcpt.address.clone(),
        parameters: format!("NOTIFY={} ORCPT={:?}", notify.join(","), rcpt.orcpt),
    }
}
