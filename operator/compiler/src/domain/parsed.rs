//! What a domain says by itself, parsed once: its names and its queue. Who gets them is settled among all domains. Pure.

use std::sync::Arc;

use posthouse_config::local_queue_name;
use posthouse_crds::MailDomain;
use posthouse_model::{Domain, QueueName};

use crate::{
    claims::{Claim, Holding},
    reason::Reason,
    resources::ObjectKey,
    syntax,
    tenancy::Seen,
    verdict::Fault,
};

/// What a `MailDomain` says by itself.
#[derive(Debug)]
pub(crate) struct ParsedDomain {
    pub(crate) object: Arc<MailDomain>,
    pub(crate) key: Arc<ObjectKey>,
    /// The gateway that it names.
    pub(crate) gateway: Arc<ObjectKey>,
    /// Its own name and its aliases, each once.
    pub(crate) names: Vec<ParsedName>,
    /// All of it, where nobody else wants it.
    pub(crate) holding: Arc<Holding>,
    /// What is wrong with the others.
    pub(crate) faults: Vec<Fault>,
    /// Whether it names its queue; else that is named after the domain.
    pub(crate) names_queue: bool,
    /// The queue that its mail waits in; absent where the domain itself is no name.
    pub(crate) queue: Option<Result<ParsedQueue, String>>,
}

/// A name that a domain wants.
#[derive(Debug)]
pub(crate) struct ParsedName {
    pub(crate) domain: Domain,
    pub(crate) claim: Claim,
    /// Where it stands: in `spec.domain`, or at this place in `spec.aliases`.
    alias: Option<usize>,
}

/// A queue that a domain wants.
#[derive(Debug)]
pub(crate) struct ParsedQueue {
    pub(crate) name: QueueName,
    pub(crate) claim: Claim,
    /// Its namespace, as the holder of that claim.
    pub(crate) holder: Arc<ObjectKey>,
}

impl ParsedName {
    /// Whether it is the domain itself.
    pub(crate) fn is_own(&self) -> bool {
        self.alias.is_none()
    }

    pub(crate) fn field(&self) -> String {
        field(self.alias)
    }
}

fn field(alias: Option<usize>) -> String {
    match alias {
        None => "spec.domain".to_owned(),
        Some(place) => format!("spec.aliases[{place}]"),
    }
}

impl ParsedDomain {
    /// `gateway` is the one that it names: shared by all that name it.
    pub(crate) fn new(object: &Arc<MailDomain>, gateway: &Arc<ObjectKey>) -> Self {
        let spec = &object.spec;
        let key = Arc::new(ObjectKey::of(&object.metadata));
        let (mut names, mut faults, mut seen) = (Vec::new(), Vec::new(), Seen::default());
        let own = std::iter::once((&spec.domain, None));
        let aliases = spec.aliases.iter().enumerate().map(|(place, text)| (text, Some(place)));
        for (text, alias) in own.chain(aliases) {
            match syntax::domain(text) {
                Err(wrong) => faults.push(Fault::new(field(alias), wrong.reason, wrong.message)),
                Ok(domain) if !seen.first(domain.clone()) => {
                    let message = format!("{text} is named twice: remove one");
                    faults.push(Fault::new(field(alias), Reason::DuplicateEntry, message));
                }
                Ok(domain) => {
                    let claim = Claim::domain(gateway, &domain);
                    names.push(ParsedName { domain, claim, alias });
                }
            }
        }
        let named = spec.queue.as_ref().and_then(|queue| queue.name.as_deref());
        let own = names.first().filter(|name| name.is_own()).map(|name| name.domain.as_str());
        let queue: Option<Result<ParsedQueue, String>> = named.or(own).map(|text| {
            let name = queue_name(text)?;
            let claim = Claim::queue(gateway, &name);
            Ok(ParsedQueue { name, claim, holder: Arc::new(ObjectKey::new(&key.namespace, "")) })
        });
        let holding = Arc::new(Holding {
            key: Arc::clone(&key),
            names: names.iter().map(|name| name.claim.clone()).collect(),
            queue: queue
                .as_ref()
                .and_then(|queue| queue.as_ref().ok())
                .map(|queue| (queue.claim.clone(), Arc::clone(&queue.holder))),
        });
        let (object, gateway, names_queue) = (Arc::clone(object), Arc::clone(gateway), named.is_some());
        Self { object, key, gateway, names, holding, faults, names_queue, queue }
    }
}

/// A queue name that also leaves room for the local queue beside it.
fn queue_name(text: &str) -> Result<QueueName, String> {
    let queue = QueueName::new(text).map_err(|error| error.to_string())?;
    if queue.as_str().starts_with("local:") {
        return Err(format!("{text:?} begins like the queues for local delivery: choose another name"));
    }
    local_queue_name(&queue)
        .map(|_| queue)
        .map_err(|_| format!("{text:?} is too long: use at most 249 characters"))
}
