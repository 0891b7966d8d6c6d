//! How long a client is waited for (RFC 5321 §4.5.3.2, §7.8; decision 0014). A command is due as a whole: an octet of it now and then wins no
//! time. Content has a pace: a client below it uses up a credit, one above it earns it back, and nobody pays for the time that we take ourselves.
//! Pure: time is a parameter.

use std::time::Duration;

use posthouse_smtp::server::Wait;
use tokio::time::Instant;

/// Octets of content that earn a second: what Postfix asks for (`smtpd_min_data_rate`), and half of a modem of 9,600 baud.
const PACE: u32 = 500;

/// How long a client is waited for; each of them is a bound of one thing, whatever it does meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// For a PROXY header: a load balancer says it in its first octets.
    pub proxy: Duration,
    /// For a TLS handshake: some round trips.
    pub handshake: Duration,
    /// For a whole command, from our last reply.
    pub command: Duration,
    /// For the next octet of content.
    pub silence: Duration,
    /// For content below the pace, in all: some stall while a scanner on their side looks at the message.
    pub credit: Duration,
    /// For the client to read what we say: the replies to a group of commands, all of them. They are few octets.
    pub replies: Duration,
    /// For a closing connection, which is read and dropped, so that the last reply is not lost to a reset.
    pub linger: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            proxy: Duration::from_secs(10),
            handshake: Duration::from_mins(1),
            command: Duration::from_mins(5), // RFC 5321 §4.5.3.2.7
            silence: Duration::from_mins(3), // RFC 5321 §4.5.3.2.5, the sender's timer: no less patience here
            credit: Duration::from_mins(10),
            replies: Duration::from_mins(5),
            linger: Duration::from_secs(2),
        }
    }
}

/// The timers of one session, as they run.
#[derive(Debug)]
pub struct Patience {
    timers: Timers,
    /// When the client had our last reply: its time for the next command began.
    replied: Instant,
    /// When the last content came, or we were done with it.
    heard: Instant,
    /// What is waited for, and since when.
    waits: Option<(Wait, Instant)>,
    credit: Duration,
}

impl Patience {
    /// It is the client's turn.
    #[must_use]
    pub fn new(timers: Timers, now: Instant) -> Self {
        Self { timers, replied: now, heard: now, waits: None, credit: timers.credit }
    }

    /// A reply was written.
    pub fn replied(&mut self, now: Instant) {
        self.replied = now;
        self.heard = now;
    }

    /// What had come is dealt with: the time that took is not the client's.
    pub fn done(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Waiting begins; it ends at this moment at the latest, if there is any.
    pub fn waits(&mut self, wait: Wait, now: Instant) -> Option<Instant> {
        let Timers { command, silence, credit, .. } = self.timers;
        if wait == Wait::Command {
            self.credit = credit;
        }
        self.waits = Some((wait, now));
        match wait {
            Wait::Command => Some(self.replied + command),
            Wait::Content => Some((self.heard + silence).min(now + self.credit)),
            Wait::Chunk => Some((self.replied + command).min(now + self.credit)),
            Wait::Nothing => None,
        }
    }

    /// Waiting ended, for whatever reason.
    pub fn waited(&mut self, now: Instant) {
        if let Some((Wait::Content | Wait::Chunk, since)) = self.waits.take() {
            self.credit = self.credit.saturating_sub(now.saturating_duration_since(since));
        }
    }

    /// So many octets came.
    pub fn heard(&mut self, octets: usize, now: Instant) {
        self.heard = now;
        let octets = u32::try_from(octets).unwrap_or(u32::MAX);
        self.credit = self.timers.credit.min(self.credit + Duration::from_secs(1) * octets / PACE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDIT: Duration = Duration::from_mins(10);

    fn patience(now: Instant) -> Patience {
        Patience::new(Timers::default(), now)
    }

    /// A client that sends so many octets each so many seconds; when it was given up, if that was within a day.
    fn given_up(wait: Wait, octets: usize, each: u64) -> Option<Duration> {
        let began = Instant::now();
        let mut patience = patience(began);
        let mut now = began;
        while now < began + Duration::from_hours(24) {
            let until = patience.waits(wait, now)?;
            let comes = now + Duration::from_secs(each);
            if until < comes {
                return Some(until - began);
            }
            now = comes;
            patience.waited(now);
            patience.heard(octets, now);
        }
        None
    }

    #[test]
    fn a_client_has_as_long_as_the_rfc_says() {
        let Timers { command, silence, .. } = Timers::default();
        assert!(command >= Duration::from_mins(5), "RFC 5321 §4.5.3.2.7");
        assert!(silence >= Duration::from_mins(3), "RFC 5321 §4.5.3.2.5");
    }

    #[test]
    fn a_command_is_due_as_a_whole() {
        // RFC 5321 §4.5.3.2.7
        for (octets, each) in [(0, 1000), (1, 1), (1, 299), (1000, 10)] {
            assert_eq!(
                given_up(Wait::Command, octets, each),
                Some(Duration::from_mins(5)),
                "{octets}/{each}"
            );
        }
    }

    #[test]
    fn a_reply_begins_the_time_anew() {
        let began = Instant::now();
        let mut patience = patience(began);
        let later = began + Duration::from_mins(4);
        patience.waits(Wait::Command, began);
        patience.waited(later);
        patience.replied(later);
        assert_eq!(patience.waits(Wait::Command, later), Some(later + Duration::from_mins(5)));
    }

    #[test]
    fn content_that_drips_ends_and_content_that_flows_does_not() {
        // RFC 5321 §4.5.3.2.5: the silence between two pieces
        assert_eq!(given_up(Wait::Content, 1, 181), Some(Duration::from_mins(3)));
        // Ten minutes below the pace, and what the drops earned.
        for (octets, each) in [(1, 1), (1, 179), (400, 1), (80_000, 178)] {
            let end = given_up(Wait::Content, octets, each).unwrap();
            let earned = Duration::from_secs(1) * u32::try_from(octets).unwrap() / 500;
            let drops = u32::try_from(end.as_secs() / each).unwrap();
            assert!(end >= CREDIT && end <= CREDIT + earned * drops + Duration::from_secs(1), "{end:?}");
        }
        for (octets, each) in [(500, 1), (1000, 1), (90_000, 179)] {
            assert_eq!(given_up(Wait::Content, octets, each), None, "{octets}/{each}");
        }
    }

    #[test]
    fn chunks_of_an_octet_use_up_the_same_credit() {
        // RFC 3030: each BDAT has its reply, and five minutes to the next.
        let end = given_up(Wait::Chunk, 10, 250);
        assert!(end.is_some_and(|end| end <= CREDIT + Duration::from_mins(1)), "{end:?}");
    }

    #[test]
    fn our_own_time_is_not_the_clients() {
        let began = Instant::now();
        let mut patience = patience(began);
        let mut now = began;
        for _ in 0..100 {
            patience.waits(Wait::Content, now);
            now += Duration::from_secs(1);
            patience.waited(now);
            patience.heard(500, now);
            now += Duration::from_mins(2); // the store
            patience.done(now);
        }
        assert_eq!(patience.waits(Wait::Content, now), Some(now + Duration::from_mins(3)));
    }

    #[test]
    fn a_message_begins_with_the_whole_credit() {
        let began = Instant::now();
        let mut patience = patience(began);
        let later = began + Duration::from_mins(9);
        patience.waits(Wait::Content, began);
        patience.waited(later);
        patience.replied(later);
        patience.waits(Wait::Command, later);
        patience.waited(later);
        patience.replied(later);
        assert_eq!(patience.waits(Wait::Content, later), Some(later + Duration::from_mins(3)));
        assert_eq!(patience.credit, CREDIT);
    }
}
