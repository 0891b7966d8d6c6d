//! The custom resources of group `posthouse.dev` as Rust types: one module per kind, the small types that several kinds share, and what
//! any reader of manifests needs: the table of kinds and the check of a raw document against a kind's schema.
//!
//! Durations, sizes, numbers and enums are parsed by their types. Names of hosts and domains, addresses, patterns and networks stay text
//! here: the compiler parses them into the vocabulary of `posthouse-model`, so that each wrong one is a verdict that names its field, and
//! a manifest with three mistakes reports three. Pure: no I/O, and no client.

pub mod definition;
pub mod duration;
pub mod etrn_schedule;
pub mod kind;
pub mod mail_domain;
pub mod mail_gateway;
pub mod mail_recipients;
pub mod mail_schedule;
pub mod mail_user;
pub mod namespaces;
pub mod pop3_account;
pub mod reference;
pub mod relay_rule;
pub mod schema;
pub mod size;
pub mod status;
pub mod tls;

pub use duration::{Duration, ParseDurationError};
pub use etrn_schedule::{EtrnSchedule, EtrnScheduleSpec};
pub use kind::{Kind, Object, ReadError};
pub use mail_domain::{MailDomain, MailDomainSpec};
pub use mail_gateway::{MailGateway, MailGatewaySpec};
pub use mail_recipients::{MailRecipients, MailRecipientsSpec};
pub use mail_schedule::{MailSchedule, MailScheduleSpec};
pub use mail_user::{MailUser, MailUserSpec};
pub use namespaces::{NamespaceSelection, NamespacesFrom};
pub use pop3_account::{Pop3Account, Pop3AccountSpec};
pub use reference::{GatewayRef, ObjectRef, SecretKeyRef};
pub use relay_rule::{RelayRule, RelayRuleSpec};
pub use schema::Defect;
pub use size::{ParseSizeError, Size};

/// The API group of every kind.
pub const GROUP: &str = "posthouse.dev";

/// The API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// `group/version`, as manifests write it.
pub const API_VERSION: &str = "posthouse.dev/v1alpha1";

/// Skips a switch that is off when a resource is written.
#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands in a reference
fn is_false(value: &bool) -> bool {
    !*value
}
