//! Plays the server against the client session.
//!
//! Directives: `lmtp`, `send-8bit`, `encrypted`, `tls never|offered|required`, `auth auto|MECHANISM USER PASSWORD [in-clear]` change the settings before the greeting; `again` starts another session with the default settings; `from PATH`,
//! `to MAILBOX [NOTIFY=…] [ORCPT=…]` (any number), `size N`, `8bit`, `binary`, `utf8 addresses|headers`, `ret RET`, `envid ENVID`, `content TEXT`,
//! `pieces N` make up the next transaction, `send` begins it (size defaults to that of the content); `abort-content`, `abort-dot` give it up just before its first
//! octet or its final dot; `pause-dot` leaves the final dot out until `dot`; `premature TEXT` arrives before what the session has to say was
//! written, `unheard TEXT` is not looked at yet; `upgraded`, `quit`, `lost`, `timeout` happen; `waits KIND` says which timer runs; `open`, `over`, `spent`, `is-encrypted` and `authenticated-by MECHANISM` say
//! what the session is.

use std::{collections::VecDeque, fmt::Write as _};

use posthouse_model::{Mailbox, Reply};
use posthouse_smtp::client::{
    Authentication, Body, Cause, Closed, Delivery, EightBit, Event, Loss, Mechanism, Method, NONCE_LENGTH,
    Origin, Recipient, Refusal, Session, Settings, StartTls, Transaction, Utf8,
};

use crate::transcript::{Cut, Side, Step, Transcript, expect, octets, unescape};

struct Play {
    settings: Settings,
    session: Option<Session>,
    transaction: Transaction,
    size: Option<u64>,
    /// What must never be seen but on the wire.
    password: Option<String>,
    content: Vec<u8>,
    /// Octets of content in a piece.
    piece: usize,
    /// How much of the content was sent, while it is.
    sent: Option<usize>,
    stop: Stop,
    said: Vec<u8>,
    events: VecDeque<String>,
    place: String,
}

/// Where the driver stops a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Nowhere,
    BeforeContent,
    BeforeDot,
    PauseDot,
}

pub(crate) fn play(transcript: &Transcript, cut: Cut) {
    let mut play = Play::new();
    for (line, step) in &transcript.steps {
        play.place = format!("{}:{line} ({cut:?})", transcript.path);
        match step {
            Step::Say(Side::Server, lines) => play.send(&octets(lines), cut),
            Step::Say(Side::Client, lines) => {
                play.pump();
                play.write();
                expect(&mut play.said, lines, &play.place);
            }
            Step::Event(expected) => {
                play.pump();
                assert_eq!(play.events.pop_front().as_ref(), Some(expected), "{}", play.place);
            }
            Step::Directive(words) => {
                play.directive(&words.iter().map(String::as_str).collect::<Vec<_>>(), cut);
            }
        }
    }
    play.end();
}

impl Play {
    fn new() -> Self {
        Self {
            settings: Settings::smtp("mail.example.com".parse().unwrap()),
            session: None,
            transaction: Self::no_transaction(),
            size: None,
            password: None,
            content: Vec::new(),
            piece: 3,
            sent: None,
            stop: Stop::Nowhere,
            said: Vec::new(),
            events: VecDeque::new(),
            place: String::new(),
        }
    }

    fn no_transaction() -> Transaction {
        Transaction::new("<a@example.com>".parse().unwrap(), Vec::new(), 0)
    }

    fn session(&mut self) -> &mut Session {
        let settings = &self.settings;
        self.session.get_or_insert_with(|| Session::new(settings.clone()))
    }

    fn end(&mut self) {
        self.pump();
        self.write();
        assert!(self.said.is_empty(), "{}: also said {:?}", self.place, String::from_utf8_lossy(&self.said));
        assert!(self.events.is_empty(), "{}: also told {:?}", self.place, self.events);
    }

    fn send(&mut self, octets: &[u8], cut: Cut) {
        self.write();
        for mut piece in cut.pieces(octets) {
            while !piece.is_empty() && !self.session().is_closed() {
                let taken = self.session().receive(piece);
                assert!(taken > 0, "{}: stuck", self.place);
                piece = &piece[taken..];
                self.pump();
            }
        }
    }

    fn write(&mut self) {
        let output = self.session().output().to_vec();
        self.said.extend_from_slice(&output);
        self.session().written(output.len());
    }

    fn pump(&mut self) {
        loop {
            while let Some(event) = self.session().next_event() {
                match event {
                    Event::Ready => self.events.push_back("ready".to_owned()),
                    Event::StartTls => {
                        assert!(self.session().output().is_empty(), "{}", self.place);
                        self.events.push_back("starttls".to_owned());
                    }
                    Event::ContentDue if self.stop == Stop::BeforeContent => self.session().abort(),
                    Event::ContentDue => {
                        self.session().begin_content();
                        self.sent = Some(0);
                    }
                    Event::Finished(deliveries) => {
                        self.sent = None;
                        self.events.extend(deliveries.iter().map(describe_delivery));
                    }
                    Event::Closed(closed) => self.events.push_back(describe_closed(&closed)),
                }
            }
            if !self.send_content() {
                self.check_secrecy();
                return;
            }
        }
    }

    /// Neither what the session told nor what it shows of itself has the password in it.
    fn check_secrecy(&mut self) {
        let Some(password) = self.password.clone() else { return };
        let shown = format!("{:?} {:?} {:?}", self.settings, self.events, self.session);
        let octets = format!("{:?}", password.as_bytes()); // as the octets of a buffer would be shown
        assert!(!shown.contains(&password), "{}: {shown}", self.place);
        assert!(!shown.contains(octets.trim_matches(['[', ']'])), "{}: {shown}", self.place);
    }

    /// Sends the content as far as the session lets; false if there is nothing to send.
    fn send_content(&mut self) -> bool {
        let Some(mut sent) = self.sent.take() else { return false };
        while !self.session().is_held() {
            if sent == self.content.len() {
                match self.stop {
                    Stop::BeforeDot => self.session().abort(),
                    Stop::PauseDot => {}
                    _ => self.session().finish_content(),
                }
                return true;
            }
            let end = self.content.len().min(sent + self.piece);
            let piece = self.content[sent..end].to_vec();
            sent = end;
            self.session().content(&piece);
            self.write();
        }
        self.sent = Some(sent);
        false
    }

    fn directive(&mut self, words: &[&str], cut: Cut) {
        let place = self.place.clone();
        match words {
            ["whole"] => {}
            ["lmtp"] => self.settings = Settings::lmtp("mail.example.com".parse().unwrap()),
            ["encrypted"] => self.settings.encrypted = true,
            ["tls", "never"] => self.settings.starttls = StartTls::Never,
            ["tls", "offered"] => self.settings.starttls = StartTls::IfOffered,
            ["tls", "required"] => self.settings.starttls = StartTls::Required,
            ["auth", method, user, password, consent @ ..] => {
                let method =
                    if *method == "auto" { Method::Auto } else { Method::Only(method.parse().unwrap()) };
                let password = String::from_utf8(unescape(password)).unwrap();
                let authentication = Authentication::new(method, user, &password, [7; NONCE_LENGTH]).unwrap();
                self.password = Some(password);
                self.settings.authentication =
                    Some(authentication.with_consent_to_clear(consent.contains(&"in-clear")));
            }
            ["authenticated-by", name] => {
                assert_eq!(self.session().authenticated_by().map(Mechanism::name), Some(*name), "{place}");
            }
            ["upgraded"] => self.session().upgraded(),
            ["is-encrypted"] => assert!(self.session().is_encrypted(), "{place}"),
            ["send-8bit"] => self.settings.eight_bit = EightBit::Send,
            ["again"] => {
                self.end();
                *self = Self::new();
            }
            ["from", path] => self.transaction.reverse_path = path.parse().unwrap(),
            ["to", mailbox, parameters @ ..] => {
                let mut recipient = Recipient::from(mailbox.parse::<Mailbox>().unwrap());
                for parameter in parameters {
                    match parameter.split_once('=').unwrap() {
                        ("NOTIFY", value) => recipient.notify = value.parse().unwrap(),
                        ("ORCPT", value) => recipient.original = Some(value.parse().unwrap()),
                        other => panic!("{place}: what is {other:?}?"),
                    }
                }
                self.transaction.recipients.push(recipient);
            }
            ["size", number] => self.size = Some(number.parse().unwrap()),
            ["8bit"] => self.transaction.body = Body::EightBit,
            ["binary"] => self.transaction.body = Body::Binary,
            ["utf8", "addresses"] => self.transaction.utf8 = Utf8::Addresses,
            ["utf8", "headers"] => self.transaction.utf8 = Utf8::Headers,
            ["ret", ret] => self.transaction.ret = Some(ret.parse().unwrap()),
            ["envid", envid] => self.transaction.envid = Some(envid.parse().unwrap()),
            ["content", text @ ..] => self.content = unescape(&text.join(" ")),
            ["pieces", number] => self.piece = number.parse().unwrap(),
            ["send"] => {
                self.transaction.size = self.size.take().unwrap_or(self.content.len() as u64);
                let transaction = std::mem::replace(&mut self.transaction, Self::no_transaction());
                self.session().begin(transaction);
            }
            ["abort-content"] => self.stop = Stop::BeforeContent,
            ["abort-dot"] => self.stop = Stop::BeforeDot,
            ["pause-dot"] => self.stop = Stop::PauseDot,
            ["dot"] => {
                self.stop = Stop::Nowhere;
                self.session().finish_content();
            }
            ["abort"] => self.session().abort(),
            ["quit"] => self.session().quit(),
            ["lost"] => self.session().connection_lost(),
            ["timeout"] => self.session().time_out(),
            ["premature", text @ ..] => {
                // What the session has to say is not written before this arrives.
                let octets = unescape(&text.join(" "));
                for piece in cut.pieces(&octets) {
                    self.session().receive(piece);
                    self.pump();
                }
            }
            ["unheard", text @ ..] => {
                self.session().receive(&unescape(&text.join(" ")));
            }
            ["waits", what] => assert_eq!(format!("{:?}", self.session().wait()), *what, "{place}"),
            ["open"] => assert!(!self.session().is_closed(), "{place}"),
            ["spent"] => assert!(self.session().is_spent(), "{place}"),
            ["over"] => {
                self.pump();
                assert!(self.session().is_closed(), "{place}");
            }
            other => panic!("{place}: what is {other:?}?"),
        }
    }
}

fn describe_delivery(delivery: &Delivery) -> String {
    match delivery {
        Delivery::Accepted { reply, dsn: false } => format!("accepted {}", one_line(reply)),
        Delivery::Accepted { reply, dsn: true } => format!("accepted with DSN {}", one_line(reply)),
        Delivery::NotTried => "not tried".to_owned(),
        Delivery::Refused(refusal) => format!("refused {}", describe_refusal(refusal)),
        Delivery::Lost(loss) => format!("lost {}", describe_loss(*loss)),
        Delivery::Aborted => "aborted".to_owned(),
    }
}

fn describe_refusal(refusal: &Refusal) -> String {
    let class = if refusal.is_permanent() { "permanent" } else { "transient" };
    let origin = if refusal.origin == Origin::Local { " locally" } else { "" };
    format!("{class}{origin} {:?} {}", refusal.stage, one_line(&refusal.reply))
}

/// A reply of several lines in one line of a transcript.
fn one_line(reply: &Reply) -> String {
    reply.to_string().replace('\n', "⏎")
}

fn describe_loss(loss: Loss) -> String {
    let mut text = format!("{:?} ", loss.stage);
    let _ = match loss.cause {
        Cause::Protocol(error) => write!(text, "{error:?}"),
        cause => write!(text, "{cause:?}"),
    };
    if loss.final_dot_sent {
        text += " after the final dot";
    }
    text
}

fn describe_closed(closed: &Closed) -> String {
    match closed {
        Closed::Quit => "closed quit".to_owned(),
        Closed::Refused(refusal) => format!("closed {}", describe_refusal(refusal)),
        Closed::Lost(loss) => format!("closed lost {}", describe_loss(*loss)),
        Closed::Aborted => "closed aborted".to_owned(),
    }
}
