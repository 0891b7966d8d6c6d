//! The greeting and EHLO, HELO, LHLO (RFC 5321 §3.1, §3.2; RFC 2033 §4.1).

use posthouse_model::{Reply, ReplyCode, Severity};

use super::{
    Closed, Extensions, Origin, Protocol, Refusal, Stage, starttls,
    state::{Core, Expected, State},
};

/// The peer's greeting is awaited.
#[derive(Debug)]
pub(super) struct Greeting {
    _private: (),
}

impl Greeting {
    pub(super) fn new() -> Self {
        Self { _private: () }
    }

    pub(super) fn reply(self, core: &mut Core, reply: Reply) -> Result<State, Closed> {
        let Self { _private: () } = self;
        match reply.severity() {
            Severity::Completed => Ok(Hello::first(core)),
            Severity::Intermediate => Err(Closed::out_of_step(Stage::Greeting)),
            Severity::Transient | Severity::Permanent => Err(refused(core, Stage::Greeting, reply)),
        }
    }
}

/// Which verb was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Ehlo,
    Helo,
    Lhlo,
}

/// EHLO, HELO or LHLO was said.
#[derive(Debug)]
pub(super) struct Hello {
    said: Said,
}

impl Hello {
    /// Begins, or begins anew.
    pub(super) fn first(core: &mut Core) -> State {
        match core.settings.protocol {
            Protocol::Smtp => Self::say(core, Said::Ehlo),
            Protocol::Lmtp => Self::say(core, Said::Lhlo),
        }
    }

    fn say(core: &mut Core, said: Said) -> State {
        let verb = match said {
            Said::Ehlo => "EHLO",
            Said::Helo => "HELO",
            Said::Lhlo => "LHLO",
        };
        // RFC 6531 §3.7.1: SMTPUTF8 is not known to be there yet, so the name is in A-labels.
        let command = format!("{verb} {}\r\n", core.settings.hello.as_str());
        core.command(&command, Expected::Hello);
        State::Hello(Self { said })
    }

    pub(super) fn reply(self, core: &mut Core, reply: Reply) -> Result<State, Closed> {
        if reply.severity() == Severity::Completed {
            if self.said != Said::Helo {
                core.extensions = Extensions::parse(&reply);
            }
            return starttls::or_proceed(core);
        }
        if reply.severity() == Severity::Intermediate {
            return Err(Closed::out_of_step(Stage::Hello));
        }
        // RFC 5321 §3.2: only a peer that does not know EHLO is greeted the old way.
        let unknown = matches!(reply.code(), ReplyCode::SYNTAX_ERROR | ReplyCode::NOT_IMPLEMENTED);
        if self.said == Said::Ehlo && unknown {
            return Ok(Self::say(core, Said::Helo));
        }
        Err(refused(core, Stage::Hello, reply))
    }
}

/// RFC 5321 §3.1: who is not welcome says QUIT.
fn refused(core: &mut Core, stage: Stage, reply: Reply) -> Closed {
    Closed::refused(core, Refusal { stage, reply, origin: Origin::Remote })
}
