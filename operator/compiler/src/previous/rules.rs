//! Rules that are refused now, as they were before: what the gateway lets them connect to stays, and a login as long as a Secret has it. Pure.

use std::collections::{BTreeMap, HashSet};

use posthouse_config::{Match, RelayRule, RuleTarget, SenderPattern};
use posthouse_crds::Kind;

use super::{Before, Kept, Now, Standing};
use crate::{
    compile::{sorted, target},
    gateway::Gateway,
    resources::ObjectKey,
    rule::{RulePlan, is_refused},
    secrets::From,
    unsupported,
    verdict::Refusal,
};

/// Rules of which there is a manifest, and something is wrong with it.
pub(super) fn keep_planned(
    refused: &BTreeMap<(Kind, ObjectKey), Refusal>,
    before: &Before<'_>,
    now: &Now<'_, '_>,
    rules: &[RulePlan<'_>],
    kept: &mut Kept,
) {
    let programmed: HashSet<&ObjectKey> = rules.iter().map(|plan| &plan.key).collect();
    for (key, object) in sorted(&now.input.resources.relay_rules) {
        let Some(refusal) = refused.get(&(Kind::RelayRule, key.clone())) else { continue };
        let Some((place, gateway)) = now.gateway_of(&target(&key.namespace, &object.spec.gateway_ref)) else {
            continue;
        };
        let is_programmed = programmed.contains(&key);
        let found = before.rule(&gateway.key, &key).filter(|_| *refusal == Refusal::Corrigible);
        let authentication = object.spec.relay.as_ref().and_then(|relay| relay.authentication.as_ref());
        let secret = authentication.map(|login| login.credentials_secret_ref.name.as_str());
        let found = found.and_then(|rule| now.keep_rule(gateway, rule, From::Named(secret)));
        // One that waits because something of it is refused is no better than what is there now, unless nothing is.
        let standing = match found.filter(|rule| !is_programmed || !is_refused(rule)) {
            Some(rule) => {
                let rule = RelayRule { suspended: object.spec.suspend, ..rule };
                let standing = standing_of(&rule);
                kept.rules.insert(key.clone(), (place, rule));
                standing
            }
            None if is_programmed => continue,
            None => Standing::Nothing,
        };
        kept.standing.insert((Kind::RelayRule, key), standing);
    }
}

/// What becomes of a rule that stays like this.
pub(super) fn standing_of(rule: &RelayRule) -> Standing {
    if is_refused(rule) { Standing::Waits } else { Standing::Kept }
}

impl Now<'_, '_> {
    /// The rule as it was, if it may still be one. Where its login was taken away its mail waits, for it must go neither elsewhere nor without.
    pub(super) fn keep_rule(
        &self,
        gateway: &Gateway<'_>,
        rule: &RelayRule,
        from: From<'_>,
    ) -> Option<RelayRule> {
        if !self.allows_rule(gateway, rule) {
            return None;
        }
        let mut rule = rule.clone();
        let namespace = rule.origin.namespace();
        let logins = || self.logins.get_or_init(|| self.input.secrets.logins());
        if rule.credentials.as_ref().is_some_and(|login| !logins().still_have(namespace, login, from)) {
            rule.credentials = None;
            let mut waits_for = std::mem::take(&mut rule.unsupported).into_vec();
            waits_for.push(unsupported::refused("relay.authentication").into());
            waits_for.sort();
            waits_for.dedup();
            rule.unsupported = waits_for.into();
        }
        Some(rule)
    }

    fn allows_rule(&self, gateway: &Gateway<'_>, rule: &RelayRule) -> bool {
        let namespace = rule.origin.namespace();
        let is_granted = |sender: &SenderPattern| match sender {
            SenderPattern::Address(pattern) => self.input.grants(gateway, namespace, pattern.domain()),
            SenderPattern::Null => true,
        };
        let senders = match &rule.matches {
            Match::Always => true,
            Match::Addresses { senders, recipients: _ } => senders.iter().all(is_granted),
        };
        let hosts = match &rule.target {
            RuleTarget::Direct => true,
            RuleTarget::Relay { hosts } => hosts.iter().all(|host| {
                self.input.still_allows(gateway, namespace, &host.host)
                    && !gateway.is_reached_at(&host.host, host.port)
            }),
        };
        senders && hosts
    }
}
