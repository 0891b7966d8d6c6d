//! Rules that can never take effect, since one before them has all their mail: one that always matches, or one whose patterns cover theirs. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use posthouse_config::{AddressPattern, Match, SenderPattern, Tier};
use posthouse_crds::Kind;
use posthouse_model::{Domain, Mailbox};

use super::RulePlan;
use crate::{
    reason::Reason,
    verdict::{Report, Subject},
};

/// How many patterns a rule is compared with at most: what is not found is not told, and does no harm.
const COMPARISONS: usize = 512;

/// Says which rules are shadowed.
pub(super) fn judge(plans: &[RulePlan<'_>], report: &mut Report) {
    let mut order: Vec<&RulePlan<'_>> = plans.iter().filter(|plan| !plan.object.spec.suspend).collect();
    order.sort_by_key(|plan| (plan.tier, &plan.key.namespace, plan.object.spec.order, &plan.key.name));
    // Whose mail rules see: all of a gateway's, or that of one namespace.
    let mut before: BTreeMap<(usize, Tier, &str), Before<'_, '_>> = BTreeMap::new();
    for plan in order {
        let namespace = if plan.tier == Tier::Tenant { plan.key.namespace.as_str() } else { "" };
        let own = (plan.gateway, plan.tier, namespace);
        // Those of the first tier see all mail of their gateway, and come first.
        let seeing = [(plan.gateway, Tier::First, ""), own];
        match seeing.iter().find_map(|seen| before.get(seen)?.covering(plan)) {
            Some(by) => say(plan, by, report),
            None => before.entry(own).or_default().add(plan),
        }
    }
}

fn say(plan: &RulePlan<'_>, by: &RulePlan<'_>, report: &mut Report) {
    // Names of another namespace's rules are nobody's business; the gateway's own are not told either.
    let which = if by.key.namespace == plan.key.namespace {
        format!("RelayRule {}", by.key)
    } else {
        "a rule of the gateway's owner".to_owned()
    };
    let takes = match by.matches {
        Match::Always => "always matches",
        Match::Addresses { .. } => "matches all that this does",
    };
    let subject = Subject { kind: Kind::RelayRule, key: &plan.key };
    let message = format!("{which} comes first and {takes}: give this a smaller order, or remove it");
    report.say(subject, "spec.order", Reason::Shadowed, message);
}

/// Rules that come first, among those that see the same mail.
#[derive(Default)]
struct Before<'p, 'a> {
    always: Option<&'p RulePlan<'a>>,
    /// By what they name: the null reverse-path, or the domain of a sender.
    senders: HashMap<Option<&'p Domain>, Vec<&'p RulePlan<'a>>>,
    /// By the domain of a recipient, where any sender will do.
    recipients: HashMap<&'p Domain, Vec<&'p RulePlan<'a>>>,
}

impl<'p, 'a> Before<'p, 'a> {
    fn add(&mut self, plan: &'p RulePlan<'a>) {
        match &plan.matches {
            Match::Always => self.always = Some(plan),
            Match::Addresses { senders, recipients } if senders.is_empty() => {
                for domain in recipients.iter().map(AddressPattern::domain).collect::<HashSet<_>>() {
                    self.recipients.entry(domain).or_default().push(plan);
                }
            }
            Match::Addresses { senders, recipients: _ } => {
                for domain in senders.iter().map(domain_of).collect::<HashSet<_>>() {
                    self.senders.entry(domain).or_default().push(plan);
                }
            }
        }
    }

    /// The first found of these that has all mail of the rule.
    fn covering(&self, plan: &RulePlan<'_>) -> Option<&'p RulePlan<'a>> {
        if self.always.is_some() {
            return self.always;
        }
        let Match::Addresses { senders, recipients } = &plan.matches else { return None };
        let by_sender = senders.first().and_then(|sender| self.senders.get(&domain_of(sender)));
        let by_recipient = recipients.first().and_then(|first| self.recipients.get(first.domain()));
        let mut left = COMPARISONS;
        let candidates = by_sender.into_iter().chain(by_recipient).flatten().copied();
        let mut candidates = candidates.take(COMPARISONS);
        candidates.find(|by| match &by.matches {
            Match::Always => true,
            Match::Addresses { senders: wider, recipients: wider_recipients } => {
                all_covered(wider, senders, sender_covers, &mut left)
                    && all_covered(wider_recipients, recipients, covers, &mut left)
            }
        })
    }
}

fn domain_of(sender: &SenderPattern) -> Option<&Domain> {
    match sender {
        SenderPattern::Null => None,
        SenderPattern::Address(pattern) => Some(pattern.domain()),
    }
}

/// Whether each pattern of the one list is covered by one of the other. An empty list asks nothing.
fn all_covered<P>(wider: &[P], narrower: &[P], covers: impl Fn(&P, &P) -> bool, left: &mut usize) -> bool {
    let mut compare = |wide: &P, narrow: &P| {
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may && covers(wide, narrow)
    };
    wider.is_empty()
        || !narrower.is_empty()
            && narrower.iter().all(|narrow| wider.iter().any(|wide| compare(wide, narrow)))
}

fn sender_covers(wide: &SenderPattern, narrow: &SenderPattern) -> bool {
    match (wide, narrow) {
        (SenderPattern::Null, SenderPattern::Null) => true,
        (SenderPattern::Address(wide), SenderPattern::Address(narrow)) => covers(wide, narrow),
        _ => false,
    }
}

/// Whether whatever fits the one fits the other. A star of the narrower pattern can only be met by a star of the wider, and what meets a star
/// meets all that this one may stand for: so its text is compared as if it were an address.
fn covers(wide: &AddressPattern, narrow: &AddressPattern) -> bool {
    if wide.domain() != narrow.domain() {
        return false;
    }
    let text = narrow.to_string();
    let is_quoted = |text: &str| text.starts_with('"');
    // In quotes a star is a letter, so one pattern's may look like the other's and not be.
    wide == narrow
        || !(is_quoted(&wide.to_string()) && !is_quoted(&text) && text.contains('*'))
            && text.parse::<Mailbox>().is_ok_and(|address| wide.matches(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> AddressPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_covers_what_fits_it_whatever_stands_for_the_stars() {
        let covered = [
            ("*@a.example", "*@A.example"),
            ("*@a.example", "boss@a.example"),
            ("*@a.example", "sales-*@a.example"),
            ("s*@a.example", "sales-*@a.example"),
            ("*-*@a.example", "sales-*@a.example"),
            ("*@a.example", "\"*\"@a.example"),
            ("boss@a.example", "boss@a.example"),
        ];
        for (wide, narrow) in covered {
            assert!(covers(&pattern(wide), &pattern(narrow)), "{wide} {narrow}");
        }
        let not = [
            ("*@a.example", "*@b.example"),
            ("boss@a.example", "*@a.example"),
            ("Boss@a.example", "boss@a.example"),
            ("sales-*@a.example", "s*@a.example"),
            ("\"*\"@a.example", "*@a.example"),
            ("\"s*\"@a.example", "s*@a.example"),
        ];
        for (wide, narrow) in not {
            assert!(!covers(&pattern(wide), &pattern(narrow)), "{wide} {narrow}");
        }
    }
}
