//! `MailSchedule`: when the other kinds of its namespace act. Pure.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{duration::Duration, is_false, status::Status};

/// When the kinds that name it act.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "posthouse.dev",
    version = "v1alpha1",
    kind = "MailSchedule",
    plural = "mailschedules",
    shortname = "ms",
    category = "posthouse",
    namespaced,
    status = "Status",
    derive = "PartialEq",
    doc = "When the kinds that name it act."
)]
#[serde(rename_all = "camelCase")]
pub struct MailScheduleSpec {
    /// An IANA time zone; absent: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// It never fires while true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub suspend: bool,
    /// When it fires; each exactly one of the three.
    #[schemars(length(min = 1, max = 64))]
    pub triggers: Vec<Trigger>,
    /// When it may fire; absent: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub valid_during: Vec<Window>,
}

/// When a schedule fires: exactly one of the three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// Again and again, after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Duration>,
    /// Daily at this time, HH:MM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 5, max = 5))]
    pub at: Option<String>,
    /// By a cron expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub cron: Option<String>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// A time of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The days; absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Day>,
    /// From this time, HH:MM.
    #[schemars(length(min = 5, max = 5))]
    pub from: String,
    /// To this time, HH:MM; before `from`: on the next day.
    #[schemars(length(min = 5, max = 5))]
    pub to: String,
}
