//! What waits in a domain's queues, from the store to the status of its domain.

use std::fs;
use std::process::Command;

use posthouse_tests::binaries::product;
use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::sink::{Protocol, Sink, accept_all};
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::{self, SOON};
use serde_json::{Value, json};

use crate::scene::session;

#[test]
fn a_status_tells_what_waits_in_the_queues_of_its_domain_embedded() {
    a_status_tells_what_waits_in_the_queues_of_its_domain(Options::default());
}

#[test]
fn a_status_tells_what_waits_in_the_queues_of_its_domain_over_redis() {
    let server = Server::start(Flavor::Redis).unwrap();
    let options = Options { redis: Some(server.url()), nodes: 3, ..Options::default() };
    a_status_tells_what_waits_in_the_queues_of_its_domain(options);
}

fn a_status_tells_what_waits_in_the_queues_of_its_domain(options: Options) {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::new().unwrap();
    branch(&manifests, &sink);
    manifests.write("gateway.yaml", &GATEWAY.replace("intervals: [1s]", "intervals: [1h]")).unwrap();
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    // Nobody listens where alice's mailbox should be; whoever else there is, is asked for.
    let mut client = session(&gateway.run().unwrap().nodes[0]);
    for to in ["bob@branch.test", "carol@branch.test", "alice@branch.test"] {
        let reply = client.send("a@src.test", &[to], b"Subject: x\r\n\r\nhi\r\n").unwrap();
        assert_eq!(reply.code, 250);
    }
    let said = until_queue(&mut gateway, |queue| queue["held"] == 2 && queue["deferred"] == 1);
    let oldest = said["oldestTime"].as_str().unwrap();
    assert!(oldest.starts_with("20") && oldest.ends_with('Z'), "{oldest}");
    let row = table(&gateway);
    assert_eq!(row[row.len() - 5..row.len() - 3], ["2", "1"], "{row:?}");
    gateway.queue(&["release", "--queue", "branch.test", "--reason", "on-request"]).unwrap();
    sink.letter(SOON).unwrap();
    sink.letter(SOON).unwrap();
    until_queue(&mut gateway, |queue| queue["held"] == 0 && queue["deferred"] == 1);
    // Another operator, with another node: it is told as it is, be it what it was.
    gateway.restart().unwrap();
    until_queue(&mut gateway, |queue| queue["deferred"] == 1 && queue["oldestTime"].is_string());
    gateway.queue(&["delete", "--all"]).unwrap();
    until_queue(&mut gateway, |queue| *queue == json!({"held": 0, "deferred": 0}));
}

/// A branch office that asks for its mail; alice's mailbox is here.
fn branch(manifests: &Manifests, sink: &Sink) {
    let (host, port) = (sink.address().ip(), sink.address().port());
    manifests
        .write(
            "branch.yaml",
            &format!(
                "apiVersion: posthouse.dev/v1alpha1\nkind: MailDomain\nmetadata: {{name: branch, namespace: mail}}\nspec:\n  \
                 gatewayRef: {{name: edge}}\n  domain: branch.test\n  recipients: {{policy: Listed, users: [{{name: alice}}]}}\n  \
                 localDelivery: {{lmtp: {{host: 127.0.0.1, port: 1}}}}\n  \
                 unknownRecipients: {{action: Forward, forward: {{host: {host}, port: {port}, delivery: OnRequest}}}}\n  \
                 release: {{etrn: {{networks: [127.0.0.1/32]}}}}\n"
            ),
        )
        .unwrap();
}

/// What a person sees: the last line of the domain's table, in words.
fn table(gateway: &Gateway) -> Vec<String> {
    let mut command = Command::new(product("posthouse-operator").unwrap());
    let output =
        command.arg("status").arg("--state").arg(gateway.state()).args(["md", "branch"]).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    table.lines().last().unwrap().split_whitespace().map(str::to_owned).collect()
}

fn until_queue(gateway: &mut Gateway, is_so: impl Fn(&Value) -> bool) -> Value {
    let file = gateway.state().join("status/MailDomain.mail.branch.yaml");
    let queue = || -> Option<Value> {
        let document: Value = serde_yaml::from_str(&fs::read_to_string(&file).ok()?).unwrap();
        Some(document["status"]["queue"].clone())
    };
    let found = wait::until("the figures of the queue", SOON, || Ok(queue().filter(&is_so)));
    found.unwrap_or_else(|error| {
        panic!("{error:?}; they are {:?}\n{}", queue(), gateway.operator().log_tail())
    })
}
