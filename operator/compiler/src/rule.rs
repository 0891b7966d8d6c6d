//! Relay rules: which mail each is for and where that goes. A rule whose match is right but whose hosts are not keeps its mail: it waits, and
//! never leaves by another way. Pure.

use posthouse_config::{
    self as config, AddressPattern, AuthenticationMethod, ClientTls, Credentials, Match, ParsePatternError,
    RuleTarget, SenderPattern, Tier, TlsMode,
};
use posthouse_crds::{
    Kind, RelayRule,
    relay_rule::{Relay, Tier as RequestedTier},
    tls::{self as crds, TlsVerify},
};
use posthouse_model::HostPort;

use crate::{
    compile::{Attachment, Gateways, Input, sorted, target},
    gateway::Gateway,
    reason::Reason,
    resources::ObjectKey,
    unsupported,
    verdict::{Report, Subject},
};

mod shadowed;

/// A rule, checked.
#[derive(Debug)]
pub(crate) struct RulePlan<'a> {
    pub(crate) object: &'a RelayRule,
    pub(crate) key: ObjectKey,
    /// The place of its gateway.
    pub(crate) gateway: usize,
    pub(crate) tier: Tier,
    pub(crate) matches: Match,
    pub(crate) way: Way,
}

/// Where the mail of a rule goes.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) target: RuleTarget,
    /// What its hosts are logged in to with.
    pub(crate) credentials: Option<Credentials>,
    /// How.
    pub(crate) method: AuthenticationMethod,
    pub(crate) tls: ClientTls,
    /// The node looks at the addresses of its hosts when it connects.
    pub(crate) guarded: bool,
    /// For whose sake its mail waits: parts that are refused.
    pub(crate) waits_for: Vec<String>,
}

impl Way {
    fn to(target: RuleTarget) -> Self {
        Self {
            target,
            credentials: None,
            method: AuthenticationMethod::default(),
            tls: ClientTls::default(),
            guarded: false,
            waits_for: Vec::new(),
        }
    }
}

/// Checks all rules.
pub(crate) fn check<'a>(
    input: &Input<'a>,
    gateways: &Gateways<'a>,
    report: &mut Report,
) -> Vec<RulePlan<'a>> {
    let mut plans = Vec::new();
    for (key, object) in sorted(&input.resources.relay_rules) {
        let subject = Subject { kind: Kind::RelayRule, key: &key };
        let attachment =
            gateways.attach(input, subject, &target(&key.namespace, &object.spec.gateway_ref), report);
        let Attachment::To(place) = attachment else { continue };
        let Some(gateway) = gateways.at(place) else { continue };
        let mut check = Check { input, gateway, subject, report };
        let tier = check.tier(object);
        let matches = check.matches(object);
        let way = check.way(object);
        // Without its match nobody can say which mail the rule is for, and without its tier not when.
        if let (Some(tier), Some(matches)) = (tier, matches) {
            plans.push(RulePlan { object, key, gateway: place, tier, matches, way });
        }
    }
    shadowed::judge(&plans, report);
    plans
}

/// Whether a compiled rule keeps its mail because something of it was refused.
pub(crate) fn is_refused(rule: &config::RelayRule) -> bool {
    rule.unsupported.iter().any(|mark| unsupported::is_refused(mark))
}

struct Check<'r, 'a> {
    input: &'r Input<'a>,
    gateway: &'r Gateway<'a>,
    subject: Subject<'r>,
    report: &'r mut Report,
}

impl Check<'_, '_> {
    fn say(&mut self, field: impl Into<String>, reason: Reason, message: impl Into<String>) {
        self.report.say(self.subject, field, reason, message);
    }

    fn tier(&mut self, object: &RelayRule) -> Option<Tier> {
        let own = self.subject.key.namespace == self.gateway.key.namespace;
        match (object.spec.tier, own) {
            (Some(RequestedTier::First), true) => Some(Tier::First),
            (Some(RequestedTier::Default) | None, true) => Some(Tier::Default),
            (Some(RequestedTier::Tenant) | None, false) => Some(Tier::Tenant),
            (Some(tier), true) => {
                let message = format!("tier {tier:?} is for rules of other namespaces: use First or Default");
                self.say("spec.tier", Reason::TierNotAllowed, message);
                None
            }
            (Some(tier), false) => {
                let message =
                    format!("tier {tier:?} is for rules of the gateway's namespace: leave tier out");
                self.say("spec.tier", Reason::TierNotAllowed, message);
                None
            }
        }
    }

    fn matches(&mut self, object: &RelayRule) -> Option<Match> {
        let spec = &object.spec.matches;
        let lists = !(spec.senders.is_empty() && spec.recipients.is_empty());
        match (spec.always, lists) {
            (true, false) => return Some(Match::Always),
            (true, true) => {
                let message = "always excludes senders and recipients: keep one or the other";
                self.say("spec.match", Reason::ConflictingFields, message);
                return None;
            }
            (false, false) => {
                let message = "the rule would match nothing: name senders or recipients, or set always: true for all mail";
                self.say("spec.match", Reason::EmptyMatch, message);
                return None;
            }
            (false, true) => {}
        }
        let errors = self.report.errors();
        let senders = self.patterns::<SenderPattern>("spec.match.senders", &spec.senders);
        let recipients = self.patterns::<AddressPattern>("spec.match.recipients", &spec.recipients);
        for (place, sender) in senders.iter().enumerate() {
            if let SenderPattern::Address(pattern) = sender {
                self.require_grant(&format!("spec.match.senders[{place}]"), pattern);
            }
        }
        // With a pattern left out, a list may come to match more than was meant: all or nothing.
        (self.report.errors() == errors)
            .then(|| Match::Addresses { senders: senders.into(), recipients: recipients.into() })
    }

    fn patterns<P: std::str::FromStr<Err = ParsePatternError>>(
        &mut self,
        field: &str,
        texts: &[String],
    ) -> Vec<P> {
        let mut patterns = Vec::with_capacity(texts.len());
        for (place, text) in texts.iter().enumerate() {
            match text.parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    let cure = if text == "<>" {
                        "; the null reverse-path is a sender, never a recipient"
                    } else {
                        ""
                    };
                    let message = format!("{text:?}: {error}{cure}");
                    self.say(format!("{field}[{place}]"), Reason::InvalidPattern, message);
                }
            }
        }
        patterns
    }

    fn require_grant(&mut self, field: &str, pattern: &AddressPattern) {
        let (gateway, own) = (self.gateway, &self.subject.key.namespace);
        let domain = pattern.domain();
        if !gateway.grants.allow(&self.input.namespaces, &gateway.key.namespace, own, domain) {
            let message = format!(
                "gateway {} does not grant {domain} to namespace {own}; its owner can, by allowedRoutes.grants",
                gateway.key
            );
            self.say(field, Reason::DomainNotGranted, message);
        }
    }

    /// Where the mail goes, with what login, and for what it must wait first.
    fn way(&mut self, object: &RelayRule) -> Way {
        // Not directly: that would be another way.
        let withhold = |field: &str| Way {
            waits_for: vec![unsupported::refused(field)],
            ..Way::to(RuleTarget::Relay { hosts: Box::default() })
        };
        match (&object.spec.relay, &object.spec.direct) {
            (Some(relay), None) => self.relay(relay),
            // Whoever says which mail it is for says by that where it goes.
            (None, Some(_)) => Way { guarded: self.is_of_tenant(), ..Way::to(RuleTarget::Direct) },
            (Some(_), Some(_)) => {
                let message = "relay and direct exclude each other: keep one";
                self.say("spec.relay", Reason::ConflictingFields, message);
                withhold("relay")
            }
            (None, None) => {
                let message = "say where the mail goes: relay with hosts, or direct: {} for the recipients' own servers";
                self.say("spec.relay", Reason::MissingField, message);
                withhold("relay")
            }
        }
    }

    fn relay(&mut self, relay: &Relay) -> Way {
        const FIELD: &str = "spec.relay";
        let errors = self.report.errors();
        if relay.hosts.is_empty() {
            self.say("spec.relay.hosts", Reason::EmptyList, "name at least one host");
        }
        let (mut hosts, mut guarded, mut listed) = (Vec::new(), false, None);
        for (place, entry) in relay.hosts.iter().enumerate() {
            let path = format!("{FIELD}.hosts[{place}]");
            if entry.port == Some(0) {
                self.say(format!("{path}.port"), Reason::InvalidPort, "0 is not a port: use 1 to 65535");
            }
            let field = format!("{path}.host");
            let host = self.input.host(self.gateway, self.subject, &field, &entry.host, self.report);
            let Some(host) = host else { continue };
            guarded |= host.guarded;
            if host.is_listed {
                listed = listed.or(Some(field.clone()));
            }
            // An address has no MX: without a port it is meant at SMTP's own (RFC 5321 §4.5.4.2).
            let is_address = host.name.parse::<std::net::IpAddr>().is_ok();
            let port = entry.port.or(is_address.then_some(25));
            if self.gateway.is_reached_at(&host.name, port) {
                let message = "this is the gateway itself: its mail would come back; name another host";
                self.say(&field, Reason::ForwardLoop, message);
            }
            hosts.push(HostPort { host: host.name, port });
        }
        if let Some(field) = listed.filter(|_| guarded) {
            let message = "the gateway's egress.allowedHosts has it, but not all hosts of this rule, so the addresses of all are held \
                           against egress.deniedNetworks: make two rules, or have all hosts listed";
            self.say(field, Reason::NoEffect, message);
        }
        if relay.rate.is_some_and(|rate| rate.per.as_secs() == 0) {
            self.say(
                "spec.relay.rate.per",
                Reason::InvalidDuration,
                "0s is no time to count in: use at least 1s",
            );
        }
        let tls = self.tls(relay.tls.as_ref());
        let (mut credentials, mut method) = (None, AuthenticationMethod::default());
        if let Some(authentication) = &relay.authentication {
            method = self.method(authentication.method, tls.mode);
            let field = "spec.relay.authentication.credentialsSecretRef";
            let name = &authentication.credentials_secret_ref.name;
            credentials = self.input.credentials(self.subject, field, name, self.report);
        }
        unsupported::judge(unsupported::RELAY, relay, FIELD, self.subject, self.report);
        let is_refused = self.report.errors() > errors;
        let waits_for = is_refused.then(|| unsupported::refused("relay")).into_iter().collect();
        Way {
            target: RuleTarget::Relay { hosts: hosts.into() },
            credentials,
            method,
            tls,
            guarded,
            waits_for,
        }
    }

    fn is_of_tenant(&self) -> bool {
        self.subject.key.namespace != self.gateway.key.namespace
    }

    fn tls(&mut self, tls: Option<&crds::ClientTls>) -> ClientTls {
        const FIELD: &str = "spec.relay.tls";
        let Some(crds::ClientTls { mode, verify, ca_secret_ref }) = tls else { return ClientTls::default() };
        let verified = *verify == Some(TlsVerify::Required);
        let mode = match mode {
            crds::TlsMode::Disabled => TlsMode::Disabled,
            crds::TlsMode::StartTls => TlsMode::StartTls,
            crds::TlsMode::Implicit => TlsMode::Implicit,
        };
        if verified && mode == TlsMode::Disabled {
            let message = "with mode: Disabled there is no certificate to verify: set mode: StartTls or Implicit, or leave verify out";
            self.say(format!("{FIELD}.verify"), Reason::ConflictingFields, message);
        }
        let roots = ca_secret_ref.as_ref().and_then(|reference| {
            let field = format!("{FIELD}.caSecretRef");
            if !verified {
                let message = "no certificate is verified, so no root counts: set verify: Required, or leave caSecretRef out";
                self.say(&field, Reason::NoEffect, message);
            }
            self.input.roots(self.subject, &field, &reference.name, self.report)
        });
        ClientTls { mode, verified, roots: roots.filter(|_| verified) }
    }

    fn method(&mut self, method: crds::AuthenticationMethod, tls: TlsMode) -> AuthenticationMethod {
        let (method, is_plain) = match method {
            crds::AuthenticationMethod::Auto => (AuthenticationMethod::Auto, true),
            crds::AuthenticationMethod::Plain => (AuthenticationMethod::Plain, true),
            crds::AuthenticationMethod::Login => (AuthenticationMethod::Login, true),
            crds::AuthenticationMethod::CramMd5 => (AuthenticationMethod::CramMd5, false),
            crds::AuthenticationMethod::ScramSha256 => (AuthenticationMethod::ScramSha256, false),
            crds::AuthenticationMethod::XOAuth2 => (AuthenticationMethod::XOAuth2, true),
        };
        if is_plain && tls == TlsMode::Disabled {
            let message = "with tls.mode: Disabled the password would go in the clear, and is never sent so: set tls.mode: StartTls or \
                           Implicit, or method: ScramSha256 or CramMd5";
            self.say("spec.relay.authentication.method", Reason::ConflictingFields, message);
        }
        method
    }
}
