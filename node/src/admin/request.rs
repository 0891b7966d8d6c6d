//! Requests and answers, as they travel over the socket and as `-o json` shows them. No I/O.

use posthouse_model::{EntryId, MessageId, QueueName};
use posthouse_queue::{Counts, EntrySummary, HoldReason, State};
use serde::{Deserialize, Serialize};

use crate::date;

/// Which entries a request is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Every entry of a message.
    Message(MessageId),
    /// One entry.
    Entry(EntryId),
    /// Every entry of a queue.
    Queue(QueueName),
    /// Every entry.
    All,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub enum Request {
    /// Count entries by state.
    Counts {
        /// Of this queue only.
        queue: Option<QueueName>,
    },
    /// List entries, oldest first.
    List {
        /// Of this queue only.
        queue: Option<QueueName>,
        /// In this state only.
        state: Option<State>,
        /// At most so many.
        limit: usize,
    },
    /// Show entries in full.
    Show {
        /// A message or an entry.
        target: Target,
    },
    /// Hold for `Administrator`.
    Hold {
        /// Which.
        target: Target,
    },
    /// End holds.
    Release {
        /// Which.
        target: Target,
        /// For this reason only; none: every reason but quarantine.
        reason: Option<HoldReason>,
    },
    /// Make due now.
    Retry {
        /// Which.
        target: Target,
    },
    /// Delete without a notification.
    Delete {
        /// Which.
        target: Target,
    },
    /// Give up and notify the sender.
    Bounce {
        /// Which.
        target: Target,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Answer {
    /// To [`Request::Counts`].
    Counts(Counts),
    /// To [`Request::List`] and [`Request::Show`].
    Entries {
        /// The entries.
        entries: Vec<EntryView>,
        /// There are more than were asked for.
        more: bool,
    },
    /// To the others.
    Changed {
        /// Entries changed.
        changed: u64,
        /// Entries left alone, each with the reason.
        skipped: Vec<Skipped>,
    },
    /// It could not be done.
    Failed {
        /// Why, and the cure.
        error: String,
        /// The request was wrong or found nothing (exit 1); otherwise the store could not be reached (exit 2).
        refused: bool,
    },
}

/// An entry that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Which.
    pub id: EntryId,
    /// Why.
    pub reason: String,
}

/// An entry as people and programs see it; times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    /// Entry id: message id, dot, number.
    pub id: EntryId,
    /// Its state.
    pub state: State,
    /// Its queue.
    pub queue: String,
    /// Why it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldReason>,
    /// The reverse-path, `<>` for a notification.
    pub from: String,
    /// Those still to be settled.
    pub recipients: Vec<RecipientView>,
    /// Octets of the message.
    pub size: u64,
    /// When its message was accepted.
    pub received: String,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<String>,
    /// When it is given up, if it is not held and nobody has fetched it by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Attempts so far.
    pub attempts: u32,
    /// Where to.
    pub next_hop: String,
    /// Which resource says so.
    pub route: String,
}

/// A recipient as people and programs see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecipientView {
    /// Its address.
    pub address: String,
    /// The alias or group that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expanded_from: Option<String>,
    /// The last reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reply: Option<String>,
}

impl From<EntrySummary> for EntryView {
    fn from(summary: EntrySummary) -> Self {
        let EntrySummary { entry, id, state, received_at, size, reverse_path, next_attempt, hold } = summary;
        let view = Self {
            id,
            state,
            queue: String::new(),
            hold,
            from: reverse_path.to_string(),
            recipients: Vec::new(),
            size,
            received: date::rfc3339(received_at),
            next_attempt: next_attempt.map(date::rfc3339),
            expires: None,
            attempts: 0,
            next_hop: String::new(),
            route: "its record cannot be read".to_owned(),
        };
        let Some(entry) = entry else { return view };
        let recipients = entry
            .recipients
            .iter()
            .map(|recipient| RecipientView {
                address: recipient.address.to_string(),
                expanded_from: recipient.expanded_from.as_ref().map(ToString::to_string),
                last_reply: recipient.last.as_ref().map(|last| match last.code {
                    0 => last.text.clone(),
                    code => format!("{} said {code} {} {}", last.host, last.status, last.text),
                }),
            })
            .collect();
        Self {
            queue: entry.queue.to_string(),
            recipients,
            attempts: entry.attempts,
            next_hop: entry.route.next_hop.to_string(),
            route: entry.route.origin.clone(),
            ..view
        }
    }
}
