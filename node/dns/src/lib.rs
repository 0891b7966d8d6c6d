//! Finds the hosts that take a domain's mail (RFC 5321 §5.1): MX, A and AAAA records, validated with DNSSEC where that is asked for.
//!
//! Two layers. What answers mean is pure and needs no network: [`candidates`] and [`Assembly`] make the ordered [`Plan`]. [`Resolver`] asks: it is thin
//! over hickory-resolver, with a cache of its own. It connects to no mail host, knows no port of one but to recognise this gateway, and does
//! not say which addresses may be connected to.

mod answer;
mod cache;
mod error;
mod name;
mod plan;
mod resolver;
mod settings;

pub use answer::{Answer, Cause, Content, Exchanger, Failure, Kind, Question, Target};
pub use error::NoHosts;
pub use name::{Destination, HostName, ParseNameError};
pub use plan::{
    Assembly, Candidate, FirstFamily, Host, Later, Looked, MOST_ADDRESSES, MOST_ADDRESSES_OF_HOST,
    MOST_HOSTS, Own, Plan, Rules, candidates, looked,
};
pub use resolver::Resolver;
pub use settings::{CacheBounds, Cluster, Dnssec, Patience, Settings, SettingsError, TrustAnchor};
