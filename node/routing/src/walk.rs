//! One decision under way: from the recipient that was given, through groups and aliases, to everybody who gets the mail. Pure.
//!
//! A group or an alias is opened once per decision, so the walk ends whatever the lists say: it is bounded by the members of the snapshot and
//! by [`EXPANSION_LIMIT`].

mod local;
mod relay;
mod reserved;

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use posthouse_config::{Expansion, MailDomain, Member};
use posthouse_model::{Domain, ForwardPath, Mailbox, ReversePath, Timestamp};

use crate::{
    client::Source,
    decision::{Acceptance, Decision, Delivery, QueueMode, Reason, Refusal, RefusalReason, Unreachable},
    destination::Destination,
    relay::{Grant, RelayPermission},
    router::{Own, Router},
    step::Step,
    trace::Trace,
};

/// The most recipients that one recipient may expand to: as many as an entry of the queue holds.
pub const EXPANSION_LIMIT: usize = 10_000;

/// Which meaning of a name that is a user and an alias at once counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// The alias: the mail comes in.
    Expand,
    /// The user: the mail was expanded when it came in.
    Keep,
}

pub(crate) struct Walk<'a, T> {
    router: &'a Router,
    sender: &'a ReversePath,
    source: Source<'a>,
    names: Names,
    /// What the lists say of the names that get mail in every domain is passed over.
    passes_over: bool,
    now: Timestamp,
    trace: &'a mut T,
    permission: Option<RelayPermission>,
    deliveries: Vec<Delivery>,
    failures: Vec<Unreachable>,
    /// The groups and aliases that were opened, each with the one that led there.
    opened: Vec<Opened<'a>>,
    /// The place of each in `opened`.
    places: HashMap<*const Expansion, usize>,
    /// Who has the mail already; kept only once there can be several.
    reached: HashSet<(Domain, String)>,
    message_size: u64,
}

struct Opened<'a> {
    expansion: &'a Expansion,
    parent: Option<usize>,
}

/// An address that is still to be looked at.
struct Pending<'a> {
    address: Cow<'a, Mailbox>,
    /// The group or alias that led here.
    parent: Option<usize>,
    /// The domain whose owner sends it on.
    via: Option<&'a MailDomain>,
}

/// What an address comes to.
enum Visit<'a> {
    /// It gets the mail.
    Delivery(Box<Delivery>),
    /// It stands for others.
    Opens(&'a Expansion, &'a MailDomain),
    /// Another address takes its mail.
    StandIn(Mailbox, Option<&'a MailDomain>),
    /// Its mail is there already.
    Nothing,
    /// It gets nothing.
    Refused(RefusalReason),
}

impl<'a, T: Trace> Walk<'a, T> {
    pub(crate) fn new(
        router: &'a Router,
        sender: &'a ReversePath,
        source: Source<'a>,
        names: Names,
        now: Timestamp,
        trace: &'a mut T,
    ) -> Self {
        Self {
            router,
            sender,
            source,
            names,
            passes_over: false,
            now,
            trace,
            permission: None,
            deliveries: Vec::new(),
            failures: Vec::new(),
            opened: Vec::new(),
            places: HashMap::new(),
            reached: HashSet::new(),
            message_size: router.snapshot().gateway.limits.message_size,
        }
    }

    /// Decides about a recipient as a client names it.
    pub(crate) fn run(mut self, recipient: &'a ForwardPath) -> Decision {
        match recipient {
            ForwardPath::Mailbox(address) => self.run_address(Cow::Borrowed(address)),
            ForwardPath::Postmaster => match self.bare_postmaster() {
                Some(address) => self.run_address(Cow::Owned(address)),
                // every domain has room for the name
                None => Decision::Refused(Refusal::new(RefusalReason::AddressTooLong)),
            },
        }
    }

    /// Decides about an address.
    pub(crate) fn run_address(mut self, address: Cow<'a, Mailbox>) -> Decision {
        let gateway = &self.router.snapshot().gateway;
        if gateway.suspended {
            self.trace.step(|| Step::GatewaySuspended { gateway: gateway.origin.clone() });
            return Decision::Refused(Refusal::new(RefusalReason::GatewaySuspended));
        }
        let must_be_taken = self.must_be_taken(&address);
        let mut stack = Vec::new();
        let mut next = Some(Pending { address, parent: None, via: None });
        while let Some(pending) = next.take().or_else(|| stack.pop()) {
            match self.visit(&pending) {
                Visit::Delivery(delivery) => self.deliver(*delivery, &pending),
                Visit::Opens(expansion, domain) => {
                    let opened = self.open(expansion, pending.parent);
                    self.push_members(&mut stack, &pending, (expansion, domain), opened);
                }
                Visit::StandIn(address, domain) => {
                    let parent = pending.parent;
                    next = Some(Pending { address: Cow::Owned(address), parent, via: domain });
                }
                Visit::Nothing => {}
                Visit::Refused(reason) => self.fail(&pending.address, reason),
            }
            if self.deliveries.len() + self.failures.len() > EXPANSION_LIMIT {
                self.trace.step(|| Step::TooLarge { limit: EXPANSION_LIMIT });
                return Decision::Refused(Refusal::new(RefusalReason::ExpansionTooLarge));
            }
        }
        let is_refused =
            self.deliveries.is_empty() && !self.failures.iter().any(|failure| failure.refusal.is_transient());
        match must_be_taken {
            Some(address) if is_refused => self.passing_over(address),
            _ => self.conclude(),
        }
    }

    fn visit(&mut self, pending: &Pending<'a>) -> Visit<'a> {
        let given = pending.address.domain();
        let Some(own) = self.router.own_domain(given) else {
            if self.is_own_host(&pending.address) {
                return self.visit_own_host(pending);
            }
            if self.router.snapshot().is_retired(given, self.now) {
                self.trace.step(|| Step::RetiredDomain { given: given.clone() });
                return Visit::Refused(RefusalReason::DomainRetired);
            }
            self.trace.step(|| Step::OtherDomain { given: given.clone() });
            return self.visit_other(pending);
        };
        self.trace.step(|| Step::OwnDomain {
            given: given.clone(),
            domain: own.domain.domain.clone(),
            origin: own.domain.origin.clone(),
        });
        self.visit_own(own, pending)
    }

    /// Whether the mail may be relayed; asked once, told each time that it is asked.
    fn permission(&mut self, via: Option<&MailDomain>) -> RelayPermission {
        let permission = if via.is_some() {
            RelayPermission::Granted(Grant::Expansion)
        } else {
            let (router, source) = (self.router, self.source);
            *self.permission.get_or_insert_with(|| router.may_relay(source))
        };
        self.trace.step(|| Step::Permission { permission });
        permission
    }

    fn open(&mut self, expansion: &'a Expansion, parent: Option<usize>) -> usize {
        let place = self.opened.len();
        self.opened.push(Opened { expansion, parent });
        self.places.insert(std::ptr::from_ref(expansion), place);
        place
    }

    /// Puts the members on the stack so that they come off in the order that was written.
    fn push_members(
        &mut self,
        stack: &mut Vec<Pending<'a>>,
        pending: &Pending<'a>,
        (expansion, domain): (&'a Expansion, &'a MailDomain),
        opened: usize,
    ) {
        for member in expansion.members.iter().rev() {
            let address = match member {
                Member::Address(address) => Cow::Borrowed(address),
                // the domain as it was given: an alias of a domain is never rewritten on the way
                Member::Local(local) => {
                    let Ok(address) = Mailbox::new(local.clone(), pending.address.domain().clone()) else {
                        self.fail(&pending.address, RefusalReason::AddressTooLong);
                        continue;
                    };
                    Cow::Owned(address)
                }
            };
            stack.push(Pending { address, parent: Some(opened), via: Some(domain) });
        }
    }

    /// The names from the group or alias at `place` down to the one that led to it again, if it is above `below`.
    fn circle(&self, place: usize, below: Option<usize>) -> Option<Vec<&'a Expansion>> {
        let mut names = Vec::new();
        let mut at = below;
        while let Some(opened) = at.and_then(|at| self.opened.get(at)) {
            names.push(opened.expansion);
            if at == Some(place) {
                names.reverse();
                return Some(names);
            }
            at = opened.parent;
        }
        None
    }

    fn delivery(
        &mut self,
        address: &Mailbox,
        (queue, destination): (posthouse_model::QueueName, &Destination),
        reason: Reason,
    ) -> Visit<'a> {
        let route = match destination {
            Ok(route) => route.clone(),
            Err(why) => return self.no_route(why),
        };
        let mode: QueueMode = self.router.queue_mode(&queue);
        Visit::Delivery(Box::new(Delivery { recipient: address.clone(), queue, mode, route, reason }))
    }

    fn no_route(&mut self, why: &crate::step::NoRoute) -> Visit<'a> {
        self.trace.step(|| Step::NoRoute { why: why.clone() });
        Visit::Refused(match why {
            crate::step::NoRoute::NoHost => RefusalReason::NoHost,
            crate::step::NoRoute::OwnHop(_) => RefusalReason::OwnHop,
        })
    }

    fn deliver(&mut self, delivery: Delivery, pending: &Pending<'_>) {
        // one recipient alone cannot get the mail twice
        if pending.parent.is_some() && !self.reached.insert(self.key(&delivery.recipient)) {
            self.trace.step(|| Step::HasItAlready { recipient: delivery.recipient.clone() });
            return;
        }
        self.trace.step(|| Step::Delivers {
            recipient: delivery.recipient.clone(),
            queue: delivery.queue.clone(),
            hold: delivery.mode.hold,
            next_hop: delivery.route.next_hop.clone(),
            origin: delivery.route.origin.clone(),
            waits: delivery.route.waits.clone(),
        });
        self.deliveries.push(delivery);
    }

    /// What tells recipients apart: in our own domains neither the case of the name nor which name of the domain was given.
    fn key(&self, address: &Mailbox) -> (Domain, String) {
        let local = address.local().value();
        match self.router.own_domain(address.domain()) {
            Some(own) => (own.domain.domain.clone(), local.to_ascii_lowercase()),
            None => (address.domain().clone(), local.to_owned()),
        }
    }

    fn fail(&mut self, recipient: &Mailbox, reason: RefusalReason) {
        let refusal = Refusal::new(reason);
        self.trace.step(|| Step::Refuses { recipient: recipient.clone(), reply: refusal.reply.clone() });
        self.failures.push(Unreachable { recipient: recipient.clone(), refusal });
    }

    fn conclude(mut self) -> Decision {
        // somebody may be reached later: then nobody is now, so that the mail is neither lost to one nor sent twice to others
        if let Some(place) = self.failures.iter().position(|failure| failure.refusal.is_transient()) {
            return Decision::Refused(self.failures.swap_remove(place).refusal);
        }
        if self.deliveries.is_empty() {
            let refusal = self.failures.into_iter().next().map(|failure| failure.refusal);
            return Decision::Refused(
                refusal.unwrap_or_else(|| Refusal::new(RefusalReason::UnknownRecipient)),
            );
        }
        Decision::Accepted(Acceptance {
            deliveries: self.deliveries,
            unreachable: self.failures,
            message_size: self.message_size,
        })
    }

    fn limit_size(&mut self, own: Own<'_>) {
        if let Some(received) = own.domain.message_size.received {
            self.message_size = self.message_size.min(received);
        }
    }
}
