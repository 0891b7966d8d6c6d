//! Plays the client against the server session.
//!
//! Directives: `tls KIND` is `offered`, `required` or `active`; `handshake` is made. `size N`, `recipients N`, `failures N|none` change the settings before the greeting; `refuse CODE TEXT` greets with it; `early` holds the
//! greeting back until the first line was sent; `again` starts another session with the default settings; `answer KIND REPLY` is the answer to the
//! next question of that kind (`mail`, `rcpt`, `data`, `content`), all others are accepted; `hold KIND` leaves the next such question open, `release
//! REPLY` answers it; `content TEXT` says what the content of the last message was; `wants nothing` and `wants input` say whether the session reads;
//! `waits KIND` says which timer runs; `shutdown`, `timeout` happen; `closed` says that the session is over, and how.

use std::collections::VecDeque;

use posthouse_model::Reply;
use posthouse_smtp::{
    reply,
    server::{Event, Session, Settings, Tls},
};

use crate::transcript::{Cut, Side, Step, Transcript, expect, octets, unescape};

struct Play {
    settings: Settings,
    session: Option<Session>,
    refusal: Option<Reply>,
    early: bool,
    said: Vec<u8>,
    answers: VecDeque<(String, Option<Reply>)>,
    events: VecDeque<String>,
    content: Vec<u8>,
    /// What the session does not take while it asks.
    unread: Vec<u8>,
    place: String,
}

pub(crate) fn play(transcript: &Transcript, cut: Cut) {
    let mut play = Play::new();
    for (line, step) in &transcript.steps {
        play.place = format!("{}:{line} ({cut:?})", transcript.path);
        match step {
            Step::Say(Side::Client, lines) => play.send(&octets(lines), cut),
            Step::Say(Side::Server, lines) => {
                play.flush();
                expect(&mut play.said, lines, &play.place);
            }
            Step::Event(expected) => {
                let found = play.events.iter().position(|event| event == expected);
                let found = found.unwrap_or_else(|| panic!("{}: only told {:?}", play.place, play.events));
                play.events.drain(..=found);
            }
            Step::Directive(words) => {
                play.directive(&words.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
    }
    play.end();
}

impl Play {
    fn new() -> Self {
        Self {
            settings: Settings::new("mail.example.com"),
            session: None,
            refusal: None,
            early: false,
            said: Vec::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            content: Vec::new(),
            unread: Vec::new(),
            place: String::new(),
        }
    }

    fn end(&mut self) {
        self.flush();
        assert!(self.said.is_empty(), "{}: also said {:?}", self.place, String::from_utf8_lossy(&self.said));
        assert!(self.answers.is_empty(), "{}: never asked {:?}", self.place, self.answers);
    }

    fn session(&mut self) -> &mut Session {
        if self.session.is_none() {
            let mut session = Session::new(self.settings.clone());
            match &self.refusal {
                _ if self.early => {}
                Some(refusal) => session.refuse(refusal.clone()),
                None => session.greet(),
            }
            self.session = Some(session);
        }
        self.session.as_mut().unwrap()
    }

    fn send(&mut self, octets: &[u8], cut: Cut) {
        if !self.early {
            self.flush();
        }
        assert!(
            self.said.is_empty(),
            "{}: said before: {:?}",
            self.place,
            String::from_utf8_lossy(&self.said)
        );
        self.send_on(octets, cut);
    }

    fn send_on(&mut self, octets: &[u8], cut: Cut) {
        let mut done = 0;
        for mut piece in cut.pieces(octets) {
            while !piece.is_empty() && !self.session().is_closed() {
                let taken = self.session().receive(piece);
                piece = &piece[taken..];
                done += taken;
                self.pump();
                if taken == 0 && self.session().is_asking() {
                    // A question is held open: the rest waits in the socket.
                    self.unread = octets[done..].to_vec();
                    return;
                }
                if taken == 0 {
                    // A client whose replies must be written first.
                    assert!(!self.session().output().is_empty(), "{}: stuck", self.place);
                    self.write();
                    self.pump();
                }
            }
        }
    }

    fn flush(&mut self) {
        self.pump();
        self.write();
        self.pump();
        self.write();
    }

    fn write(&mut self) {
        let output = self.session().output().to_vec();
        self.said.extend_from_slice(&output);
        self.session().written(output.len());
    }

    fn pump(&mut self) {
        self.session();
        let session = self.session.as_mut().unwrap();
        while let Some(event) = session.next_event() {
            let (kind, default) = match event {
                Event::Content(piece) => {
                    self.content.extend_from_slice(piece);
                    continue;
                }
                Event::Mail(mail) => {
                    self.events.push_back(describe_mail(&mail));
                    ("mail", reply::sender_accepted())
                }
                Event::Rcpt(rcpt) => {
                    self.events.push_back(describe_rcpt(&rcpt));
                    ("rcpt", reply::recipient_accepted())
                }
                Event::StartTls => {
                    self.events.push_back("starttls".to_owned());
                    ("starttls", reply::ready_for_tls())
                }
                Event::Data => {
                    self.content.clear();
                    ("data", reply::start_content())
                }
                Event::ContentEnd(end) => {
                    let eight_bit = if end.eight_bit { " 8bit" } else { "" };
                    let utf8 = if end.utf8_header { " utf8 header" } else { "" };
                    self.events
                        .push_back(format!("end {} received {}{eight_bit}{utf8}", end.size, end.received));
                    assert_eq!(end.size, self.content.len() as u64, "{}", self.place);
                    ("content", reply::queued("ID"))
                }
                Event::Hello(client) => {
                    self.events.push_back(format!("hello {} {}", client.protocol, client.name));
                    continue;
                }
                Event::Refused(reply) => {
                    self.events.push_back(format!("refused {reply}"));
                    continue;
                }
                other => {
                    self.events.push_back(format!("{other:?}"));
                    continue;
                }
            };
            assert!(session.is_asking());
            assert_eq!(session.wanted(), 0, "nothing is read while an answer is due");
            let due = self.answers.iter().position(|(due, _)| due == kind);
            match due.and_then(|place| self.answers.remove(place)) {
                None => session.answer(&default),
                Some((_, Some(reply))) => session.answer(&reply),
                Some((_, None)) => return,
            }
        }
    }

    fn directive(&mut self, words: &[&str]) {
        let place = self.place.clone();
        match words {
            ["whole"] => {}
            ["size", number] => self.settings.message_size = Some(number.parse().unwrap()),
            ["tls", "offered"] => self.settings.tls = Tls::Offered,
            ["tls", "required"] => self.settings.tls = Tls::Required,
            ["tls", "active"] => self.settings.tls = Tls::Active,
            ["handshake"] => {
                self.flush();
                assert!(self.session().is_in_handshake(), "{place}");
                assert_eq!(self.session().wanted(), 0, "{place}: nothing is read in clear");
                self.session().secured();
            }
            ["recipients", number] => self.settings.recipients = number.parse().unwrap(),
            ["failures", "none"] => self.settings.failed_commands = None,
            ["failures", number] => self.settings.failed_commands = Some(number.parse().unwrap()),
            ["refuse", text @ ..] => self.refusal = Some(text.join(" ").parse().unwrap()),
            ["early"] => self.early = true,
            ["greet"] => {
                self.early = false;
                self.session().greet();
            }
            ["again"] => {
                self.end();
                *self = Self::new();
            }
            ["answer", kind, text @ ..] => {
                self.answers.push_back(((*kind).to_owned(), Some(text.join(" ").parse().unwrap())));
            }
            ["hold", kind] => self.answers.push_back(((*kind).to_owned(), None)),
            ["release", text @ ..] => {
                let reply = text.join(" ").parse().unwrap();
                self.session().answer(&reply);
                let unread = std::mem::take(&mut self.unread);
                self.send_on(&unread, Cut::Whole);
            }
            ["content", text @ ..] => {
                let content = unescape(&text.join(" "));
                assert_eq!(
                    String::from_utf8_lossy(&self.content),
                    String::from_utf8_lossy(&content),
                    "{place}"
                );
                assert_eq!(self.content, content, "{place}");
            }
            ["wants", what] => {
                let wants = if self.session().wanted() == 0 { "nothing" } else { "input" };
                assert_eq!(*what, wants, "{place}");
            }
            ["waits", what] => assert_eq!(format!("{:?}", self.session().wait()), *what, "{place}"),
            ["shutdown"] => self.session().shut_down(),
            ["timeout"] => self.session().time_out(),
            ["forget"] => self.events.clear(),
            ["closed", by] => {
                self.flush();
                assert!(self.session().is_closed(), "{place}: the session goes on");
                let expected = format!("Closed({by})");
                assert_eq!(self.events.back(), Some(&expected), "{place}");
            }
            other => panic!("{place}: what is {other:?}?"),
        }
    }
}

fn describe_mail(mail: &posthouse_smtp::server::Mail) -> String {
    let size = mail.size.map(|size| format!(" size {size}")).unwrap_or_default();
    let body = mail.body.map(|body| format!(" {body:?}")).unwrap_or_default();
    let utf8 = if mail.smtputf8 { " utf8" } else { "" };
    let ret = mail.ret.map(|ret| format!(" ret {ret}")).unwrap_or_default();
    let envid = mail.envid.as_ref().map(|envid| format!(" envid {}", envid.decoded())).unwrap_or_default();
    format!("mail {}{size}{body}{utf8}{ret}{envid}", mail.reverse_path)
}

fn describe_rcpt(rcpt: &posthouse_smtp::server::Rcpt) -> String {
    let notify = if rcpt.notify.is_given() { format!(" notify {}", rcpt.notify) } else { String::new() };
    let orcpt =
        rcpt.orcpt.as_ref().map(|orcpt| format!(" orcpt {} {}", orcpt.address_type(), orcpt.address()));
    format!("rcpt {}{notify}{}", rcpt.forward_path, orcpt.unwrap_or_default())
}
