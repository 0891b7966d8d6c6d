//! Nodes over a real Redis, and what one can see of them: replies, conditions, lines of the log.

use std::fs;

use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::local::Node;
use posthouse_tests::manifests::Manifests;
use posthouse_tests::smtp::Client;
use posthouse_tests::store::Server;
use posthouse_tests::wait::{self, SOON};
use serde_json::Value;

/// The queue of the gateway in the manifests.
pub(crate) const QUEUE: &str = "mail.edge";

pub(crate) fn three_nodes(manifests: &Manifests, server: &Server) -> Gateway {
    let options = Options { redis: Some(server.url()), nodes: 3, ..Options::default() };
    Gateway::start_with(manifests.path(), options).unwrap()
}

/// A session that has said EHLO.
pub(crate) fn session(node: &Node) -> Client {
    let mut client = Client::connect(node.listeners[0].address).unwrap();
    assert_eq!(client.command("EHLO client.test").unwrap().code, 250);
    client
}

pub(crate) fn rcpt(node: &Node, to: &str) -> u16 {
    let mut client = session(node);
    client.command("MAIL FROM:<a@src.test>").unwrap();
    client.command(&format!("RCPT TO:<{to}>")).unwrap().code
}

/// A condition of a resource: its status, its reason, its message.
pub(crate) fn condition(gateway: &Gateway, resource: &str, kind: &str) -> Option<(String, String, String)> {
    let file = gateway.state().join("status").join(format!("{resource}.yaml"));
    let document: Value = serde_yaml::from_str(&fs::read_to_string(file).ok()?).unwrap();
    let conditions = document["status"]["conditions"].as_array()?.clone();
    let found = conditions.into_iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

pub(crate) fn until_condition(
    gateway: &mut Gateway,
    resource: &str,
    kind: &str,
    status: &str,
) -> (String, String) {
    let what = format!("{kind}={status} of {resource}");
    let found =
        wait::until(&what, SOON, || Ok(condition(gateway, resource, kind).filter(|(is, ..)| is == status)));
    let (_, reason, message) = found.unwrap_or_else(|error| {
        panic!("{error:?}; it is {:?}\n{}", condition(gateway, resource, kind), gateway.operator().log_tail())
    });
    (reason, message)
}

pub(crate) fn until_logged(gateway: &mut Gateway, text: &str) {
    let operator = gateway.operator();
    wait::until(text, SOON, || Ok(operator.log()?.contains(text).then_some(())))
        .unwrap_or_else(|error| panic!("{error:?}\n{}", gateway.operator().log_tail()));
}
