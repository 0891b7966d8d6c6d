//! The figures of a domain's queues: what waits in them, and whether that is worth saying. Pure.

use std::collections::HashMap;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use posthouse_channel::{Totals, Waiting};
use posthouse_compiler::ObjectKey;
use posthouse_config::{LocalDelivery, MailDomain, UnknownRecipients};
use posthouse_crds::status::QueueCounts;

use super::{condition::whole_seconds, observation::Counted};

/// The queues of every domain that is in force, and what waits in them.
#[derive(Debug)]
pub(super) struct Figures<'a> {
    of_gateways: HashMap<&'a ObjectKey, OfGateway<'a>>,
}

#[derive(Debug)]
struct OfGateway<'a> {
    totals: &'a Totals,
    /// By the namespace and the name of the resource that each comes from.
    domains: HashMap<(&'a str, &'a str), &'a MailDomain>,
}

/// Figures that are worth saying.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct News {
    /// Whose nodes counted.
    pub(super) gateway: ObjectKey,
    /// Absent where it is not known any more what queues are the domain's.
    pub(super) counts: Option<QueueCounts>,
}

impl<'a> Figures<'a> {
    pub(super) fn of(counted: impl IntoIterator<Item = (&'a ObjectKey, &'a Counted)>) -> Self {
        let of_one = |Counted { snapshot, totals }: &'a Counted| {
            let domains = snapshot.domains.iter().map(|domain| &**domain);
            let named = |domain: &'a MailDomain| ((domain.origin.namespace(), domain.origin.name()), domain);
            OfGateway { totals, domains: domains.map(named).collect() }
        };
        Self { of_gateways: counted.into_iter().map(|(key, one)| (key, of_one(one))).collect() }
    }

    /// What is new of a domain, compared to what is said of it. Where its nodes have not counted that is nothing.
    pub(super) fn news(
        &self,
        domain: &ObjectKey,
        gateway: &ObjectKey,
        said: Option<&QueueCounts>,
    ) -> Option<News> {
        let OfGateway { totals, domains } = self.of_gateways.get(gateway)?;
        let found = match domains.get(&(domain.namespace.as_str(), domain.name.as_str())) {
            Some(domain) => Some(waiting(domain, totals)?),
            None => None,
        };
        let is_news = match (said, found) {
            (None, None) => false,
            (Some(_), None) => true,
            // Most domains never have mail that waits, and nothing is said of that.
            (said, Some(found)) => !said.map(as_said).unwrap_or_default().says_the_same(found),
        };
        is_news.then(|| News { gateway: gateway.clone(), counts: found.map(counts) })
    }
}

/// What waits in the domain's queues, which others may share; none where that is not known.
fn waiting(domain: &MailDomain, totals: &Totals) -> Option<Waiting> {
    let local = domain.local_delivery.as_ref().map(LocalDelivery::queue);
    let forward = match &domain.unknown_recipients {
        UnknownRecipients::Reject => None,
        UnknownRecipients::Forward(forward) => Some(&forward.queue),
    };
    let forward = forward.filter(|forward| Some(*forward) != local); // where both are online it is one queue
    let queues = local.into_iter().chain(forward);
    queues.map(|queue| totals.of(queue)).try_fold(Waiting::default(), |sum, one| Some(sum.and(one?)))
}

fn counts(waiting: Waiting) -> QueueCounts {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let time = |ms: u64| Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok();
    QueueCounts {
        held: number(waiting.held),
        deferred: number(waiting.deferred),
        oldest_time: waiting.oldest.and_then(|oldest| time(oldest.0)).map(|time| Time(whole_seconds(time))),
    }
}

fn as_said(counts: &QueueCounts) -> Waiting {
    let number = |number: i64| u64::try_from(number).unwrap_or_default();
    let oldest = counts.oldest_time.as_ref().map(|time| number(time.0.as_millisecond()));
    Waiting {
        held: number(counts.held),
        deferred: number(counts.deferred),
        oldest: oldest.map(posthouse_model::Timestamp),
    }
}
