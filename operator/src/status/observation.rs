//! What statuses are judged from: the resources, and what their nodes say. Plain data, from files or from an API server alike. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use posthouse_channel::Totals;
use posthouse_compiler::{Compilation, ObjectKey};
use posthouse_config::Snapshot;
use posthouse_crds::{Kind, Object};
use serde_json::Value;

use crate::finding::Finding;

/// The annotation that asks for something to be done now.
const REQUESTED_AT: &str = "posthouse.dev/requested-at";

/// What a resource is called.
pub(crate) type ResourceId = (Kind, ObjectKey);

/// Everything at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observation<'a> {
    /// All resources that there are. A status whose resource is missing here is taken away.
    pub(crate) resources: &'a [Observed],
    /// What the compiler made of them.
    pub(crate) compilation: &'a Compilation,
    /// What else there is to say about them: by the reader, and by whoever binds listeners. What repeats a verdict is said once.
    pub(crate) findings: &'a [Finding],
    /// The nodes of every gateway that this operator runs; a gateway that is missing here has none and gets none.
    pub(crate) nodes: &'a BTreeMap<ObjectKey, Nodes>,
    /// What waits in the queues of every gateway whose nodes have counted it.
    pub(crate) counted: &'a BTreeMap<ObjectKey, Counted>,
}

/// What waits in the queues of one gateway.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    /// The snapshot in force: it says whose each queue is.
    pub(crate) snapshot: Arc<Snapshot>,
    /// What its nodes counted.
    pub(crate) totals: Arc<Totals>,
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) kind: Kind,
    pub(crate) key: ObjectKey,
    /// The generation of its spec.
    pub(crate) generation: i64,
    /// `spec.suspend`.
    pub(crate) is_suspended: bool,
    /// The annotation `posthouse.dev/requested-at`.
    pub(crate) requested_at: Option<String>,
    /// The gateway that it belongs to, if any; that of a gateway is itself.
    pub(crate) gateway: Option<ObjectKey>,
    /// The domain that it is a part of: of `MailRecipients`.
    pub(crate) domain: Option<ObjectKey>,
    /// The sequence of the gateway's first published snapshot that has this generation in it; absent until there is one.
    pub(crate) since: Option<u64>,
}

/// The nodes of one gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    /// How many are wanted.
    pub(crate) desired: u32,
    /// The sequence of the snapshot that was published last.
    pub(crate) published: Option<u64>,
    /// Those that run, by name.
    pub(crate) live: BTreeMap<String, LiveNode>,
    /// Resources that need a newer form of the snapshot than some live node reads.
    pub(crate) too_old_for: BTreeSet<ResourceId>,
    /// The nodes cannot reach the store of the queue. Why is in their logs: it may be the store's own text, which no status carries.
    pub(crate) is_store_lost: bool,
}

/// A node that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LiveNode {
    /// It can take mail just now.
    pub(crate) is_ready: bool,
    /// The sequence of the snapshot that it goes by; absent while it is joining.
    pub(crate) applied: Option<u64>,
    /// The last snapshot that it refused.
    pub(crate) refused: Option<NodeRefusal>,
}

/// A snapshot that a node does not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeRefusal {
    pub(crate) sequence: u64,
    /// What in it: `namespace/name`, `Kind namespace/name`, or a field of the gateway; absent where it is the whole.
    pub(crate) resource: Option<String>,
    /// Why, in the node's words.
    pub(crate) reason: String,
}

impl Nodes {
    /// The nodes that have answered: each goes by some snapshot, or has refused one. One that is joining has not, and begins with the newest anyway.
    pub(super) fn answering(&self) -> impl Iterator<Item = &LiveNode> {
        self.live.values().filter(|node| node.applied.is_some() || node.refused.is_some())
    }

    pub(super) fn ready(&self) -> usize {
        self.live.values().filter(|node| node.is_ready).count()
    }

    pub(super) fn are_all_ready(&self) -> bool {
        u32::try_from(self.ready()).is_ok_and(|ready| ready >= self.desired)
    }
}

impl LiveNode {
    pub(super) fn has(&self, sequence: u64) -> bool {
        self.applied.is_some_and(|applied| applied >= sequence)
    }
}

/// Gives every part of a domain the domain's gateway.
pub(crate) fn attach_parts(all: &mut [Observed]) {
    let domains: HashMap<ObjectKey, ObjectKey> = all
        .iter()
        .filter(|one| one.kind == Kind::MailDomain)
        .filter_map(|one| Some((one.key.clone(), one.gateway.clone()?)))
        .collect();
    for one in all.iter_mut().filter(|one| one.kind != Kind::MailDomain) {
        if let Some(domain) = &one.domain {
            one.gateway = domains.get(domain).cloned();
        }
    }
}

/// What an object says of itself, with its spec. `generation` and `since` are the caller's to fill in: in a cluster the one is metadata, with
/// files it is counted (`Generations`); so is the gateway of what is a part of a domain ([`attach_parts`]).
pub(crate) fn observe(object: &Object) -> (Observed, Value) {
    let (kind, metadata) = (object.kind(), object.metadata());
    let mut document = object.document();
    let spec = document.get_mut("spec").map(Value::take).unwrap_or_default();
    let key = ObjectKey::of(metadata);
    let text = |path| spec.pointer(path).and_then(Value::as_str);
    let gateway = match kind {
        Kind::MailGateway => Some(key.clone()),
        _ => text("/gatewayRef/name")
            .map(|name| ObjectKey::new(text("/gatewayRef/namespace").unwrap_or(&key.namespace), name)),
    };
    let domain = text("/domainRef/name").map(|name| ObjectKey::new(&key.namespace, name));
    let observed = Observed {
        kind,
        generation: metadata.generation.unwrap_or_default(),
        is_suspended: spec.get("suspend") == Some(&Value::Bool(true)),
        requested_at: metadata.annotations.as_ref().and_then(|all| all.get(REQUESTED_AT)).cloned(),
        gateway,
        domain,
        since: None,
        key,
    };
    (observed, spec)
}

/// What objects say of themselves, each with its spec.
#[cfg(test)]
pub(super) fn observed<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Vec<(Observed, Value)> {
    let (mut all, specs): (Vec<_>, Vec<_>) = objects.into_iter().map(observe).unzip();
    attach_parts(&mut all);
    all.into_iter().zip(specs).collect()
}

/// The resources that some finding refuses and of which no version was ever read: they have a status too, which says so.
pub(crate) fn unread(findings: &[Finding], read: &[Observed]) -> Vec<Observed> {
    let known: BTreeSet<(Kind, &ObjectKey)> = read.iter().map(|one| (one.kind, &one.key)).collect();
    let refused = findings.iter().filter(|finding| finding.is_error()).filter_map(|finding| {
        let identity = finding.resource.as_ref()?;
        Some((identity.kind.parse::<Kind>().ok()?, &identity.key))
    });
    let unread: BTreeSet<_> = refused.filter(|id| !known.contains(id)).collect();
    let observed = |(kind, key): (Kind, &ObjectKey)| Observed {
        kind,
        key: key.clone(),
        generation: 0,
        is_suspended: false,
        requested_at: None,
        gateway: None,
        domain: None,
        since: None,
    };
    unread.into_iter().map(observed).collect()
}
