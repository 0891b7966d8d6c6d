//! The states of a server session as types: a verb is a method of the states that allow it, so an illegal order does not compile.

use posthouse_model::Reply;

use super::{
    Body, Client, ClosedBy, Event, Mail, Settings,
    bdat::{Chunk, ChunkAsked, Chunks, Spoilt, Swallow},
    data::{Content, DataAsked},
    starttls::TlsAsked,
};
use crate::buffer::Output;

/// Commands that led to no mail (NOOP, RSET, VRFY, HELP, HELO, a MAIL whose message did not come or was refused) since the last message; each
/// beyond counts as failed. Far above what a connection kept open for reuse needs.
const IDLE_COMMANDS: u32 = 100;

/// Recipients refused to one session, for whatever reason: whoever goes on after so many is not sending mail but asking who is there.
const REFUSED_RECIPIENTS: u32 = 1000;

/// Where the session is.
#[derive(Debug, Default)]
pub(super) enum State {
    /// Nothing was said yet.
    Silent,
    /// Greeted with 554: only QUIT.
    NoService,
    /// Greeted; no HELO or EHLO yet.
    Unnamed,
    /// The client has a name; no transaction.
    Named(Named),
    /// STARTTLS waits for its answer.
    TlsAsked(TlsAsked),
    /// The handshake is the driver's turn.
    Handshake,
    /// MAIL waits for its answer.
    MailAsked(MailAsked),
    /// In a transaction.
    Envelope(Envelope),
    /// RCPT waits for its answer.
    RcptAsked(RcptAsked),
    /// DATA waits for its answer.
    DataAsked(DataAsked),
    /// Content streams.
    Content(Content),
    /// The first BDAT waits for its answer.
    ChunkAsked(ChunkAsked),
    /// A chunk of content streams.
    Chunk(Chunk),
    /// A chunk has come, the next is due.
    Chunks(Chunks),
    /// A chunk is refused, and read on to its end.
    Swallow(Swallow),
    /// A chunk was refused: nothing goes on before RSET.
    Spoilt(Spoilt),
    /// The complete content waits for its answer.
    ContentAsked(ContentAsked),
    /// Over. Also what stands in while a state is being worked on: whatever forgot to put one back closes rather than goes on.
    #[default]
    Closed,
}

impl State {
    pub(super) fn is_asking(&self) -> bool {
        matches!(
            self,
            Self::TlsAsked(_)
                | Self::MailAsked(_)
                | Self::RcptAsked(_)
                | Self::DataAsked(_)
                | Self::ChunkAsked(_)
                | Self::ContentAsked(_)
        )
    }
}

/// The client has a name, and no transaction is open.
#[derive(Debug)]
pub(super) struct Named {
    _private: (),
}

impl Named {
    /// By HELO or EHLO, from wherever the session was (RFC 5321 §4.1.4).
    pub(super) fn by_hello(core: &mut Core, client: Client) -> Self {
        core.client = Some(client.clone());
        core.event = Some(Event::Hello(client));
        Self { _private: () }
    }

    pub(super) fn ask_mail(self, core: &mut Core, mail: Mail) -> State {
        core.idle_command(); // until its message is there: MAIL and RSET by turns are no mail
        let (binary, smtputf8) = (mail.body == Some(Body::BinaryMime), mail.smtputf8);
        core.event = Some(Event::Mail(mail));
        let envelope = Envelope { named: self, binary, smtputf8, accepted: 0, refused: 0 };
        State::MailAsked(MailAsked { envelope })
    }

    /// The transaction was dropped without content.
    pub(super) fn after_reset(self, core: &mut Core) -> State {
        core.event = Some(Event::Reset);
        State::Named(self)
    }
}

/// MAIL waits for its answer.
#[derive(Debug)]
pub(super) struct MailAsked {
    envelope: Envelope,
}

impl MailAsked {
    pub(super) fn answer(self, core: &mut Core, reply: &Reply) -> State {
        core.say(reply);
        if !reply.is_positive() {
            return State::Named(self.envelope.named);
        }
        State::Envelope(self.envelope)
    }
}

/// An open transaction: the reverse-path was accepted.
#[derive(Debug)]
pub(super) struct Envelope {
    named: Named,
    /// `BODY=BINARYMIME`.
    pub(super) binary: bool,
    /// `SMTPUTF8`.
    pub(super) smtputf8: bool,
    /// Recipients that were accepted.
    pub(super) accepted: u32,
    /// Recipients that were refused.
    pub(super) refused: u32,
}

impl Envelope {
    pub(super) fn ask_rcpt(self, core: &mut Core, rcpt: super::Rcpt) -> State {
        core.event = Some(Event::Rcpt(rcpt));
        State::RcptAsked(RcptAsked { envelope: self })
    }

    /// Counts a recipient that was refused.
    pub(super) fn refuse(&mut self, core: &mut Core) {
        self.refused = self.refused.saturating_add(1);
        core.refused_recipients = core.refused_recipients.saturating_add(1);
    }

    /// Drops the transaction.
    pub(super) fn reset(self, core: &mut Core) -> State {
        self.named.after_reset(core)
    }

    /// The content begins: what is left is who the client is.
    pub(super) fn into_named(self) -> Named {
        self.named
    }
}

/// RCPT waits for its answer.
#[derive(Debug)]
pub(super) struct RcptAsked {
    envelope: Envelope,
}

impl RcptAsked {
    pub(super) fn answer(self, core: &mut Core, reply: &Reply) -> State {
        let Self { mut envelope } = self;
        core.say(reply);
        if reply.is_positive() {
            envelope.accepted = envelope.accepted.saturating_add(1);
        } else {
            envelope.refuse(core);
        }
        State::Envelope(envelope)
    }
}

/// The complete content waits for its answer.
#[derive(Debug)]
pub(super) struct ContentAsked {
    named: Named,
}

impl ContentAsked {
    pub(super) fn ask(core: &mut Core, named: Named, summary: super::ContentSummary) -> State {
        core.event = Some(Event::ContentEnd(summary));
        State::ContentAsked(Self { named })
    }

    /// RFC 5321 §4.1.1.4: whatever the answer is, the transaction is over.
    pub(super) fn answer(self, core: &mut Core, reply: &Reply) -> State {
        core.say(reply);
        if reply.is_positive() {
            core.idle = 0;
        }
        State::Named(self.named)
    }
}

/// Whether the client keeps to the groups of RFC 2920 §3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InStep {
    /// It may send.
    Free,
    /// It said a command that ends its group and must wait for the reply, which is not written yet. The greeting counts, too.
    GroupEnded,
    /// It did not wait.
    Violated,
}

/// What every state shares.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) output: Output,
    pub(super) client: Option<Client>,
    /// The event to hand out next; at most one, because a command is run only after it was taken.
    pub(super) event: Option<Event<'static>>,
    pub(super) closed_by: Option<ClosedBy>,
    pub(super) shutting_down: bool,
    pub(super) step: InStep,
    /// A command line was seen.
    pub(super) commanded: bool,
    idle: u32,
    refused_recipients: u32,
    failures: u32,
}

impl Core {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            output: Output::default(),
            client: None,
            event: None,
            closed_by: None,
            shutting_down: false,
            step: InStep::Free,
            commanded: false,
            idle: 0,
            refused_recipients: 0,
            failures: 0,
        }
    }

    pub(super) fn say(&mut self, reply: &Reply) {
        self.output.push_reply(reply);
    }

    /// Says a refusal and tells the driver.
    pub(super) fn refuse(&mut self, reply: Reply) {
        self.say(&reply);
        self.event = Some(Event::Refused(reply));
    }

    /// Refuses and counts it as a failed command.
    pub(super) fn fail(&mut self, reply: Reply) {
        self.refuse(reply);
        self.failures = self.failures.saturating_add(1);
    }

    /// [`fail`](Self::fail), and the state stays.
    pub(super) fn fail_in(&mut self, state: State, reply: Reply) -> State {
        self.fail(reply);
        state
    }

    /// Counts a failed command whose refusal, 503, is said later.
    pub(super) fn mistake(&mut self, what: &str) -> Reply {
        self.failures = self.failures.saturating_add(1);
        crate::reply::bad_sequence(what)
    }

    /// Counts a command that led to no mail.
    pub(super) fn idle_command(&mut self) {
        self.idle = self.idle.saturating_add(1);
        if self.idle > IDLE_COMMANDS {
            self.failures = self.failures.saturating_add(1);
        }
    }

    pub(super) fn too_many_failures(&self) -> bool {
        self.refused_recipients > REFUSED_RECIPIENTS
            || self.settings.failed_commands.is_some_and(|limit| self.failures > limit)
    }

    /// The client must now wait for the reply.
    pub(super) fn end_group(&mut self) {
        self.step = InStep::GroupEnded;
    }

    /// Input is there: it must not be while a reply that the client has to wait for is not written.
    pub(super) fn note_input(&mut self) {
        if self.step == InStep::GroupEnded {
            self.step = InStep::Violated;
        }
    }

    /// All replies are written: the client may go on.
    pub(super) fn replies_written(&mut self) {
        if self.step == InStep::GroupEnded {
            self.step = InStep::Free;
        }
    }
}
