//! STARTTLS (RFC 3207): said alone, behind EHLO, where it is offered and wanted; then the driver makes the handshake.

use posthouse_model::{Reply, Severity};

use super::{
    Closed, Refusal, Stage, StartTls, authentication,
    hello::Hello,
    refusals,
    state::{Core, Expected, State},
};

/// What follows the answer to EHLO.
pub(super) fn or_proceed(core: &mut Core) -> Result<State, Closed> {
    // RFC 3207 §4.2: never inside TLS
    if core.encrypted {
        return authentication::or_ready(core);
    }
    match core.settings.starttls {
        StartTls::IfOffered | StartTls::Required if core.extensions.start_tls => Ok(Asked::say(core)),
        StartTls::Required => Err(Closed::refused(core, refusals::tls_not_offered())),
        StartTls::Never | StartTls::IfOffered => authentication::or_ready(core),
    }
}

/// STARTTLS was said: nothing else is until it is answered (RFC 3207 §4).
#[derive(Debug)]
pub(super) struct Asked {
    _private: (),
}

impl Asked {
    fn say(core: &mut Core) -> State {
        core.command("STARTTLS\r\n", Expected::StartTls);
        State::StartTls(Self { _private: () })
    }

    pub(super) fn reply(self, core: &mut Core, reply: &Reply) -> Result<State, Closed> {
        let Self { _private: () } = self;
        match reply.severity() {
            Severity::Completed => Ok(State::Handshake(Handshake { announced: false })),
            Severity::Intermediate => Err(Closed::out_of_step(Stage::StartTls)),
            // RFC 3207 §4: what to do now is policy.
            Severity::Transient | Severity::Permanent => match core.settings.starttls {
                StartTls::Required => Err(Closed::refused(core, refusals::tls_refused(reply.code()))),
                StartTls::Never | StartTls::IfOffered => authentication::or_ready(core),
            },
        }
    }
}

/// The peer waits for the handshake: nothing is said or heard in clear any more.
#[derive(Debug)]
pub(super) struct Handshake {
    announced: bool,
}

impl Handshake {
    /// Whether the driver must still be told.
    pub(super) fn announce(&mut self) -> bool {
        !std::mem::replace(&mut self.announced, true)
    }

    /// The connection is encrypted. RFC 3207 §4.2: what was learned in clear is forgotten, and all begins anew with EHLO.
    pub(super) fn done(self, core: &mut Core) -> State {
        let Self { announced: _ } = self;
        core.encrypted = true;
        core.extensions = super::Extensions::default();
        Hello::first(core)
    }
}

impl Closed {
    /// Says QUIT, whose reply is not waited for (RFC 5321 §3.1), and ends the session.
    pub(super) fn refused(core: &mut Core, refusal: Refusal) -> Self {
        core.output.push("QUIT\r\n");
        Self::Refused(refusal)
    }
}
