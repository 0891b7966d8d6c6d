//! Which rules can match at all: by the domains in their patterns, so that a thousand tenants' rules cost no more than the few that speak of
//! this sender or recipient. Pure.

use std::collections::HashMap;

use posthouse_config::{Match, RelayRule, SenderPattern};
use posthouse_model::{Domain, Mailbox, ReversePath};

/// Places of rules, each in one list only, ascending: the order in which rules are asked.
#[derive(Debug)]
pub(crate) struct RuleIndex {
    /// Rules that ask for recipients, by the domain.
    by_recipient: HashMap<Domain, Vec<u32>>,
    /// Rules that ask for senders alone, by the domain.
    by_sender: HashMap<Domain, Vec<u32>>,
    /// Rules that no domain can sort out.
    open: Vec<u32>,
    every: Vec<u32>,
}

/// Places of rules to ask, ascending.
pub(crate) struct Places<'a> {
    lists: [&'a [u32]; 3],
}

impl RuleIndex {
    pub(crate) fn new(rules: &[RelayRule]) -> Self {
        let mut index = Self {
            by_recipient: HashMap::new(),
            by_sender: HashMap::new(),
            open: Vec::new(),
            every: Vec::new(),
        };
        for (place, rule) in (0..).zip(rules) {
            index.every.push(place);
            match &rule.matches {
                Match::Addresses { senders: _, recipients } if !recipients.is_empty() => {
                    for pattern in recipients {
                        insert(&mut index.by_recipient, pattern.domain(), place);
                    }
                }
                Match::Addresses { senders, .. }
                    if !senders.is_empty() && !senders.contains(&SenderPattern::Null) =>
                {
                    for pattern in senders {
                        if let SenderPattern::Address(pattern) = pattern {
                            insert(&mut index.by_sender, pattern.domain(), place);
                        }
                    }
                }
                Match::Always | Match::Addresses { .. } => index.open.push(place),
            }
        }
        index
    }

    /// The rules that can match mail of this sender to this recipient's domain.
    pub(crate) fn candidates(&self, sender: &ReversePath, recipient: &Domain) -> Places<'_> {
        let by_recipient = places_of(&self.by_recipient, Some(recipient));
        let by_sender = places_of(&self.by_sender, sender.mailbox().map(Mailbox::domain));
        Places { lists: [by_recipient, by_sender, &self.open] }
    }

    /// All rules: to say of each why it does not match.
    pub(crate) fn every(&self) -> Places<'_> {
        Places { lists: [&self.every, &[], &[]] }
    }
}

fn insert(map: &mut HashMap<Domain, Vec<u32>>, domain: &Domain, place: u32) {
    let places = map.entry(domain.clone()).or_default();
    if places.last() != Some(&place) {
        places.push(place);
    }
}

fn places_of<'a>(map: &'a HashMap<Domain, Vec<u32>>, domain: Option<&Domain>) -> &'a [u32] {
    domain.and_then(|domain| map.get(domain)).map_or(&[], Vec::as_slice)
}

impl Iterator for Places<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let list =
            self.lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list.first().copied())?;
        let (first, rest) = list.split_first()?;
        *list = rest;
        Some(*first)
    }
}
