//! Who may relay [11-16].

use posthouse_routing::{
    AddressSource, Authentication, Client, Denial, Grant, RefusalReason, RelayPermission, Router, Source,
};
use serde_json::json;

use crate::fixtures::{ask, client, neighbour, router, rule, stranger, user};

fn with(authentication: &str, networks: &[&str], trust: &str) -> Router {
    let control = json!({"networks": networks, "addressTrust": trust, "authentication": authentication});
    router(json!({"gateway": {"relayControl": control}, "rules": [rule("out", 1, &json!({}))]}))
}

fn permission(router: &Router, client: &Client) -> RelayPermission {
    router.may_relay(Source::Client(client))
}

#[test]
fn without_relay_control_nobody_relays() {
    // [11]
    let router = router(json!({"gateway": {"relayControl": null}, "rules": [rule("out", 1, &json!({}))]}));
    for client in [neighbour(), stranger(), user("mail"), client("127.0.0.1")] {
        assert_eq!(permission(&router, &client), RelayPermission::Denied(Denial::NoRelayControl));
        assert_eq!(ask(&router, &client, "a@x.example", "b@y.example"), Err(RefusalReason::RelayDenied));
    }
}

#[test]
fn the_truth_table_of_relay_control() {
    // [12, 13]: (authentication, networks) against (address inside, outside) × (login, none)
    use Denial::{AddressNotInNetworks, AuthenticationRequired, NoNetworks};
    let inside = "192.168.1.1";
    let outside = "203.0.113.9";
    let network = "192.168.0.0/16".parse().unwrap();
    let nets: &[&str] = &["192.168.0.0/16"];
    for (authentication, networks, address, login, expected) in [
        ("Disabled", nets, inside, false, Ok(Grant::Network(network))),
        ("Disabled", nets, outside, false, Err(AddressNotInNetworks)),
        ("Disabled", nets, outside, true, Err(AddressNotInNetworks)),
        ("Disabled", &[], inside, false, Err(NoNetworks)),
        ("Optional", nets, inside, false, Ok(Grant::Network(network))),
        ("Optional", nets, outside, true, Ok(Grant::Login)),
        ("Optional", nets, outside, false, Err(AddressNotInNetworks)),
        ("Optional", &[], outside, true, Ok(Grant::Login)),
        ("Optional", &[], outside, false, Err(NoNetworks)),
        ("Required", nets, inside, true, Ok(Grant::NetworkAndLogin(network))),
        ("Required", nets, inside, false, Err(AuthenticationRequired)),
        ("Required", nets, outside, true, Err(AddressNotInNetworks)),
        ("Required", nets, outside, false, Err(AddressNotInNetworks)),
        ("Required", &[], outside, true, Ok(Grant::Login)),
        ("Required", &[], outside, false, Err(AuthenticationRequired)),
    ] {
        let client = Client {
            authentication: if login { user("mail").authentication } else { Authentication::None },
            ..client(address)
        };
        let expected = expected.map_or_else(RelayPermission::Denied, RelayPermission::Granted);
        let found = permission(&with(authentication, networks, "Always"), &client);
        assert_eq!(found, expected, "{authentication}, {networks:?}, {client}");
    }
}

#[test]
fn a_failed_authentication_is_final_for_the_session() {
    // [14]
    let client = Client { authentication: Authentication::Failed, ..neighbour() };
    for authentication in ["Disabled", "Optional", "Required"] {
        let router = with(authentication, &["192.168.0.0/16"], "Always");
        assert_eq!(permission(&router, &client), RelayPermission::Denied(Denial::AuthenticationFailed));
    }
}

#[test]
fn an_address_counts_only_where_it_is_believed() {
    let behind_a_balancer = neighbour();
    let proxied = Client { address_source: AddressSource::ProxyProtocol, ..neighbour() };
    let router = with("Optional", &["192.168.0.0/16"], "ProxyProtocol");
    assert_eq!(permission(&router, &behind_a_balancer), RelayPermission::Denied(Denial::AddressNotTrusted));
    assert!(permission(&router, &proxied).is_granted());
    assert!(!router.is_own_network(&behind_a_balancer) && router.is_own_network(&proxied));
    assert_eq!(permission(&router, &Client::unknown()), RelayPermission::Denied(Denial::AddressUnknown));
}

#[test]
fn an_ipv4_client_on_an_ipv6_socket_is_still_an_ipv4_client() {
    let router = with("Optional", &["192.168.0.0/16"], "Always");
    assert!(permission(&router, &client("::ffff:192.168.1.1")).is_granted());
    assert!(!permission(&router, &client("::ffff:203.0.113.9")).is_granted());
}

#[test]
fn own_networks_are_known_for_checks_and_received_whether_or_not_they_may_relay() {
    // [16]
    let router = with("Required", &["192.168.0.0/16"], "Always");
    assert!(router.is_own_network(&neighbour()) && !router.is_own_network(&stranger()));
    assert!(!permission(&router, &neighbour()).is_granted());
}

#[test]
fn the_gateways_own_notifications_need_no_permission() {
    let router = router(json!({"gateway": {"relayControl": null}, "rules": [rule("out", 1, &json!({}))]}));
    let decision = router.route(
        &"<>".parse().unwrap(),
        &"<b@y.example>".parse().unwrap(),
        Source::Gateway,
        posthouse_model::Timestamp(0),
    );
    assert!(decision.accepted().is_some());
}
