//! What must become of mail whose next hop does what it should not: written from RFC 5321, RFC 2033 and RFC 3207, not from the code.

use std::time::Duration;

use posthouse_tests::{
    saboteur::{At, How},
    sink::Protocol,
};

/// What becomes of a recipient in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The host that breaks has taken the mail all the same.
    Taken,
    /// The host behind it has: RFC 5321 §5.1.
    TakenByNext,
    /// It waits for another attempt.
    Later,
    /// It bounces.
    Never,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) at: At,
    pub(crate) how: How,
    pub(crate) protocol: Protocol,
    /// Commands are said together.
    pub(crate) pipelining: bool,
    /// TLS comes first, and nobody may go without (RFC 8314 §3).
    pub(crate) implicit: bool,
}

/// What was answered, as far as a client must tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// 4yz.
    NotNow,
    /// 5yz.
    NotAtAll,
    /// 421: the same as a loss, whatever it answers (RFC 5321 §3.8).
    Gone,
    /// What is asked for, and more.
    Twice,
    /// None that makes sense, or none at all: the mail is as it was (RFC 5321 §4.2.5, §4.5.4.1).
    None,
}

impl Answer {
    fn of(how: How) -> Self {
        match how {
            How::Says(line) if line.starts_with(b"4") => Self::NotNow,
            How::Says(line) if line.starts_with(b"5") => Self::NotAtAll,
            How::SaysAndCloses(line) if line.starts_with(b"421") => Self::Gone,
            How::SaysTwice => Self::Twice,
            _ => Self::None,
        }
    }
}

/// What becomes of three recipients in the first attempt.
pub(crate) fn fates(row: Row) -> [Fate; 3] {
    use Fate::{Later, Never, Taken};
    let answer = Answer::of(row.how);
    let by_answer = match answer {
        Answer::NotAtAll => Never,
        _ => Later,
    };
    match row.at {
        At::Greeting | At::Hello | At::StartTls | At::Handshake | At::HelloAgain | At::Auth => {
            [before_a_transaction(row, answer); 3]
        }
        // RFC 5321 §3.8: a connection that was kept may be gone, or good for nothing more, which says nothing of the message. Whether one that is silent is
        // gone shows too late.
        At::NextMail if answer == Answer::Gone || (answer == Answer::None && !waits(row.how)) => [Taken; 3],
        At::Mail | At::NextMail | At::Data | At::Content | At::Chunk => [by_answer; 3],
        At::Rcpt(place) if matches!(answer, Answer::NotNow | Answer::NotAtAll) => {
            std::array::from_fn(|other| if other + 1 == place { by_answer } else { Taken })
        }
        At::Rcpt(_) | At::EachRcpt => [Later; 3],
        // RFC 2033 §4.2: one reply for each.
        At::Dot(place) if row.protocol == Protocol::Lmtp => std::array::from_fn(|other| match answer {
            Answer::Twice => Taken,
            Answer::NotNow | Answer::NotAtAll if other + 1 != place => Taken,
            _ if other + 1 < place => Taken,
            _ => by_answer,
        }),
        At::Dot(_) if answer != Answer::Twice => [by_answer; 3],
        At::Dot(_) | At::Idle | At::Quit => [Taken; 3],
    }
}

/// The same for all: before MAIL nothing is about anybody.
fn before_a_transaction(row: Row, answer: Answer) -> Fate {
    let goes_in_clear = match row.at {
        // RFC 3207 §4, RFC 7435 §3: where nobody asked for TLS, who refuses it gets the mail in clear; but not who says what makes no sense there (RFC 3207
        // §6): it may be somebody else who wants the mail in clear.
        At::StartTls => matches!(answer, Answer::NotNow | Answer::NotAtAll) || is_quiet(row.how),
        At::Handshake => !row.implicit,
        // RFC 8446 §4.4.4: what a server has against a handshake may come behind it.
        At::HelloAgain => !row.implicit && matches!(row.how, How::Resets | How::Closes | How::BreaksTls),
        _ => false,
    };
    match (row.at, answer) {
        _ if goes_in_clear => Fate::Taken,
        // RFC 4954 §6: the next host would know the login no better, and each try may be counted against it. Behind EHLO and AUTH mail can be sent, so it
        // is; and the session is found to be out of step then.
        (At::Auth, Answer::NotAtAll) | (At::Hello | At::HelloAgain | At::Auth, Answer::Twice) => Fate::Later,
        // RFC 5321 §5.1
        _ => Fate::TakenByNext,
    }
}

/// Whether the connection is good for the next attempt: who has said no has said nothing against it.
pub(crate) fn keeps_its_connection(row: Row) -> bool {
    let is_refused = matches!(Answer::of(row.how), Answer::NotNow | Answer::NotAtAll);
    let in_order = matches!(
        row.at,
        At::Mail | At::NextMail | At::Rcpt(_) | At::EachRcpt | At::Data | At::Chunk | At::Dot(_)
    );
    is_refused && in_order
}

/// Whether nothing is said, or nothing whole.
fn is_quiet(how: How) -> bool {
    waits(how) || matches!(how, How::Resets | How::Closes)
}

/// Whether it takes its time.
pub(crate) fn waits(how: How) -> bool {
    matches!(how, How::Silent(_) | How::Drips(_))
}

/// How long a client waits: RFC 5321 §4.5.3.2, and like MAIL what is not named there.
pub(crate) fn patience(at: At) -> Duration {
    match at {
        At::Greeting // §4.5.3.2.1
        | At::Mail | At::NextMail // §4.5.3.2.2
        | At::Rcpt(_) | At::EachRcpt // §4.5.3.2.3
        | At::Hello | At::StartTls | At::HelloAgain | At::Auth | At::Chunk => Duration::from_mins(5),
        At::Data => Duration::from_mins(2),    // §4.5.3.2.4
        At::Content => Duration::from_mins(3), // §4.5.3.2.5
        At::Dot(_) => Duration::from_mins(10), // §4.5.3.2.6
        At::Handshake => Duration::from_mins(1),
        At::Idle | At::Quit => Duration::from_secs(1), // nothing is owed
    }
}
