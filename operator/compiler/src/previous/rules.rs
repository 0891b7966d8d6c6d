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
        let relay = object.spec.relay.as_ref();
        let authentication = relay.and_then(|relay| relay.authentication.as_ref());
        let roots = relay.and_then(|relay| relay.tls.as_ref()?.ca_secret_ref.as_ref());
        let from = Secrets {
            login: From::Named(authentication.map(|login| login.credentials_secret_ref.name.as_str())),
            roots: From::Named(roots.map(|roots| roots.name.as_str())),
        };
        let found = found.and_then(|rule| now.keep_rule(gateway, rule, from));
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

/// Which Secrets a rule is from.
#[derive(Clone, Copy)]
pub(super) struct Secrets<'n> {
    login: From<'n>,
    roots: From<'n>,
}

impl Secrets<'_> {
    /// Of a rule that cannot be read.
    pub(super) const UNKNOWN: Self = Self { login: From::Unknown, roots: From::Unknown };
}

fn wait_for(rule: &mut RelayRule, field: &str) {
    let mut waits_for = std::mem::take(&mut rule.unsupported).into_vec();
    waits_for.push(unsupported::refused(field).into());
    waits_for.sort();
    waits_for.dedup();
    rule.unsupported = waits_for.into();
}

impl Now<'_, '_> {
    /// The rule as it was, if it may still be one. Where its login was taken away, or the roots that it trusts, its mail waits, for it must go
    /// neither elsewhere nor without.
    pub(super) fn keep_rule(
        &self,
        gateway: &Gateway<'_>,
        rule: &RelayRule,
        from: Secrets<'_>,
    ) -> Option<RelayRule> {
        if !self.allows_rule(gateway, rule) {
            return None;
        }
        let namespace = rule.origin.namespace();
        let logins = || self.logins.get_or_init(|| self.input.secrets.logins());
        let login = rule.credentials.as_ref();
        let is_without_login = login.is_some_and(|login| !logins().still_have(namespace, login, from.login));
        let roots = rule.tls.roots.as_deref();
        let is_without_roots =
            roots.is_some_and(|roots| !self.input.secrets.still_trust(namespace, roots, from.roots));
        let mut rule = rule.clone();
        rule.guarded = match &rule.target {
            RuleTarget::Direct => *namespace != gateway.key.namespace,
            RuleTarget::Relay { hosts } => {
                hosts.iter().any(|host| self.input.still_guards(gateway, namespace, &host.host))
            }
        };
        if is_without_login {
            rule.credentials = None;
            wait_for(&mut rule, "relay.authentication");
        }
        if is_without_roots {
            rule.tls.roots = None;
            wait_for(&mut rule, "relay.tls.caSecretRef");
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
                self.input.may_connect(gateway, namespace, &host.host)
                    && !gateway.is_reached_at(&host.host, host.port)
            }),
        };
        senders && hosts
    }
}
