//! Configuration from an edit to every node, and back as a status: `posthouse-operator local` with real nodes over a real Redis.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use posthouse_channel::{Channel, KeyFolder, Moved, RedisChannel, read_once};
use posthouse_config::{Epoch, Publication, Snapshot};
use posthouse_tests::binaries::product;
use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::local::Node;
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::metrics;
use posthouse_tests::sink::{Moment, Policy, Protocol, Sink, accept_all};
use posthouse_tests::smtp::Client;
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::{self, SOON};
use serde_json::Value;

/// The queue of the gateway in the manifests.
const QUEUE: &str = "mail.edge";

fn three_nodes(manifests: &Manifests, server: &Server) -> Gateway {
    let options = Options { redis: Some(server.url()), nodes: 3, ..Options::default() };
    Gateway::start_with(manifests.path(), options).unwrap()
}

/// A session that has said EHLO.
fn session(node: &Node) -> Client {
    let mut client = Client::connect(node.listeners[0].address).unwrap();
    assert_eq!(client.command("EHLO client.test").unwrap().code, 250);
    client
}

fn rcpt(node: &Node, to: &str) -> u16 {
    let mut client = session(node);
    client.command("MAIL FROM:<a@src.test>").unwrap();
    client.command(&format!("RCPT TO:<{to}>")).unwrap().code
}

/// A condition of a resource: its status, its reason, its message.
fn condition(gateway: &Gateway, resource: &str, kind: &str) -> Option<(String, String, String)> {
    let file = gateway.state().join("status").join(format!("{resource}.yaml"));
    let document: Value = serde_yaml::from_str(&fs::read_to_string(file).ok()?).unwrap();
    let conditions = document["status"]["conditions"].as_array()?.clone();
    let found = conditions.into_iter().find(|condition| condition["type"] == kind)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some((text("status"), text("reason"), text("message")))
}

fn until_condition(gateway: &mut Gateway, resource: &str, kind: &str, status: &str) -> (String, String) {
    let what = format!("{kind}={status} of {resource}");
    let found =
        wait::until(&what, SOON, || Ok(condition(gateway, resource, kind).filter(|(is, ..)| is == status)));
    let (_, reason, message) = found.unwrap_or_else(|error| {
        panic!("{error:?}; it is {:?}\n{}", condition(gateway, resource, kind), gateway.operator().log_tail())
    });
    (reason, message)
}

fn until_logged(gateway: &mut Gateway, text: &str) {
    let operator = gateway.operator();
    wait::until(text, SOON, || Ok(operator.log()?.contains(text).then_some(())))
        .unwrap_or_else(|error| panic!("{error:?}\n{}", gateway.operator().log_tail()));
}

#[test]
fn an_edit_is_in_force_on_every_node_and_its_status_says_so() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    let mut gateway = three_nodes(&manifests, &server);
    let nodes = gateway.run().unwrap().nodes;
    assert_eq!(nodes.iter().map(|node| rcpt(node, "alice@new.test")).collect::<Vec<_>>(), [451; 3]);
    let lmtp = "127.0.0.1:24".parse().unwrap();
    manifests.domain("new.test", &["alice"], lmtp).unwrap();
    let (reason, _) = until_condition(&mut gateway, "MailDomain.mail.new-test", "Programmed", "True");
    assert_eq!(reason, "Programmed");
    // What the status says is so, on each of them, at once.
    assert_eq!(nodes.iter().map(|node| rcpt(node, "alice@new.test")).collect::<Vec<_>>(), [250; 3]);
    assert_eq!(nodes.iter().map(|node| rcpt(node, "bob@new.test")).collect::<Vec<_>>(), [550; 3]);

    // A wrong edit says so, and what was programmed stays.
    manifests.domain("new.test", &["alice", "not an address"], lmtp).unwrap();
    let (_, message) = until_condition(&mut gateway, "MailDomain.mail.new-test", "Accepted", "False");
    assert!(message.contains("spec.recipients.users[1].name"), "{message}");
    assert_eq!(rcpt(&nodes[2], "alice@new.test"), 250);

    manifests.domain("new.test", &["alice", "bob"], lmtp).unwrap();
    until_condition(&mut gateway, "MailDomain.mail.new-test", "Accepted", "True");
    until_condition(&mut gateway, "MailDomain.mail.new-test", "Programmed", "True");
    assert_eq!(nodes.iter().map(|node| rcpt(node, "bob@new.test")).collect::<Vec<_>>(), [250; 3]);
    let pids = |nodes: &[Node]| nodes.iter().map(|node| node.pid).collect::<Vec<_>>();
    assert_eq!(pids(&gateway.run().unwrap().nodes), pids(&nodes), "no node was restarted for it");

    // What a person would look at.
    let state = gateway.state();
    let output = Command::new(product("posthouse-operator").unwrap())
        .args(["status", "--state"])
        .arg(&state)
        .args(["md", "new-test"])
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.contains("new.test") && table.contains("True"), "{table}");

    // Deleted, perhaps by mistake: its mail comes again.
    fs::remove_file(manifests.path().join("domain-new-test.yaml")).unwrap();
    wait::until("the deletion to be in force", SOON, || {
        Ok(nodes.iter().all(|node| rcpt(node, "alice@new.test") == 451).then_some(()))
    })
    .unwrap();
    wait::until("its status to be gone", SOON, || {
        Ok((!state.join("status/MailDomain.mail.new-test.yaml").exists()).then_some(()))
    })
    .unwrap();
}

#[test]
fn what_is_under_way_ends_as_it_began_and_the_next_transaction_is_new() {
    let (first, second) = (
        Sink::start(Protocol::Smtp, accept_all()).unwrap(),
        Sink::start(Protocol::Smtp, accept_all()).unwrap(),
    );
    let manifests = Manifests::new().unwrap();
    manifests.relay("all", "{always: true}", first.address()).unwrap();
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let node = gateway.run().unwrap().nodes.remove(0);
    let mut client = session(&node);
    client.command("MAIL FROM:<a@src.test>").unwrap();
    assert_eq!(client.command("RCPT TO:<one@dst.test>").unwrap().code, 250);

    // From now on nobody relays, and what is relayed goes elsewhere.
    manifests.relay("all", "{always: true}", second.address()).unwrap();
    manifests
        .write("gateway.yaml", &GATEWAY.replace("  relayControl: {networks: [127.0.0.0/8]}\n", ""))
        .unwrap();
    wait::until("the edits to be in force", SOON, || Ok((rcpt(&node, "x@dst.test") == 550).then_some(())))
        .unwrap();
    until_condition(&mut gateway, "RelayRule.mail.all", "Programmed", "True");

    // The transaction was promised the old ones: all of its recipients are decided by one snapshot.
    assert_eq!(client.command("RCPT TO:<two@dst.test>").unwrap().code, 250);
    assert_eq!(client.command("DATA").unwrap().code, 354);
    client.raw(b"Subject: x\r\n\r\nhi\r\n.\r\n").unwrap();
    assert_eq!(client.reply().unwrap().code, 250);
    // The same session, another transaction.
    client.command("MAIL FROM:<a@src.test>").unwrap();
    assert_eq!(client.command("RCPT TO:<three@dst.test>").unwrap().code, 550);
    assert_eq!(client.command("QUIT").unwrap().code, 221);
    // It was queued under a snapshot that does not hold any more: it goes where the rules say now.
    second.letter(SOON).unwrap();
    gateway.until_drained(SOON).unwrap();
    assert_eq!(first.arrived().len(), 0);
}

#[test]
fn mail_that_waits_is_routed_again() {
    let busy: Policy =
        Arc::new(|moment| matches!(moment, Moment::Connect).then(|| "421 4.3.2 not today".to_owned()));
    let (dead, alive) =
        (Sink::start(Protocol::Smtp, busy).unwrap(), Sink::start(Protocol::Smtp, accept_all()).unwrap());
    let manifests = Manifests::relay_to(dead.address()).unwrap();
    manifests.write("gateway.yaml", &GATEWAY.replace("intervals: [1s]", "intervals: [2s]")).unwrap();
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let mut client = session(&gateway.run().unwrap().nodes[0]);
    let reply = client.send("a@src.test", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap();
    assert_eq!(reply.code, 250);
    wait::until("the first attempt", SOON, || Ok((dead.sessions() > 0).then_some(()))).unwrap();
    manifests.relay("all", "{always: true}", alive.address()).unwrap();
    alive.letter(SOON).unwrap();
    gateway.until_drained(SOON).unwrap();
}

#[test]
fn a_node_that_is_lost_shows_at_its_gateway_and_nowhere_else() {
    let server = Server::start(Flavor::Valkey).unwrap();
    let manifests = Manifests::new().unwrap();
    manifests.domain("a.test", &["alice"], "127.0.0.1:24".parse().unwrap()).unwrap();
    // Programs of its own, so that the node's can be taken away.
    let programs = tempfile::tempdir().unwrap();
    for name in ["posthouse-operator", "posthouse-node"] {
        fs::copy(product(name).unwrap(), programs.path().join(name)).unwrap();
    }
    let options = Options { redis: Some(server.url()), nodes: 2, ..Options::default() };
    let mut gateway = Gateway::start_from(programs.path(), manifests.path(), options).unwrap();
    until_condition(&mut gateway, "MailGateway.mail.edge", "NodesReady", "True");
    until_condition(&mut gateway, "MailDomain.mail.a-test", "Programmed", "True");
    let domain = gateway.state().join("status/MailDomain.mail.a-test.yaml");
    let before = fs::read_to_string(&domain).unwrap();

    fs::remove_file(programs.path().join("posthouse-node")).unwrap();
    let lost = gateway.run().unwrap().nodes.remove(1);
    gateway.kill_node(&lost).unwrap();
    let (_, message) = until_condition(&mut gateway, "MailGateway.mail.edge", "NodesReady", "False");
    assert!(message.contains("node"), "{message}");
    let status = fs::read_to_string(gateway.state().join("status/MailGateway.mail.edge.yaml")).unwrap();
    let status: Value = serde_yaml::from_str(&status).unwrap();
    assert_eq!(
        (&status["status"]["nodes"]["desired"], &status["status"]["nodes"]["ready"]),
        (&2.into(), &1.into())
    );
    assert_eq!(fs::read_to_string(&domain).unwrap(), before, "Programmed is sticky");

    // An edit is programmed all the same: on every node that lives.
    manifests.domain("a.test", &["alice", "bob"], "127.0.0.1:24".parse().unwrap()).unwrap();
    let node = gateway.run().unwrap().nodes.remove(0);
    wait::until("the edit", SOON, || Ok((rcpt(&node, "bob@a.test") == 250).then_some(()))).unwrap();
    until_condition(&mut gateway, "MailDomain.mail.a-test", "Programmed", "True");

    fs::copy(product("posthouse-node").unwrap(), programs.path().join("posthouse-node")).unwrap();
    until_condition(&mut gateway, "MailGateway.mail.edge", "NodesReady", "True");
}

#[test]
fn a_redis_that_is_lost_shows_and_comes_back() {
    let mut server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    let mut gateway = three_nodes(&manifests, &server);
    until_condition(&mut gateway, "MailGateway.mail.edge", "StoreReachable", "True");
    server.kill().unwrap();
    until_condition(&mut gateway, "MailGateway.mail.edge", "StoreReachable", "False");
    // An edit meanwhile waits, and says why.
    manifests.domain("a.test", &["alice"], "127.0.0.1:24".parse().unwrap()).unwrap();
    let (_, message) = until_condition(&mut gateway, "MailGateway.mail.edge", "Programmed", "False");
    assert!(message.contains("the Redis of the configuration"), "{message}");
    server.start_again().unwrap();
    until_condition(&mut gateway, "MailGateway.mail.edge", "StoreReachable", "True");
    until_condition(&mut gateway, "MailDomain.mail.a-test", "Programmed", "True");
    until_condition(&mut gateway, "MailGateway.mail.edge", "Programmed", "True");
}

#[test]
fn a_redis_that_forgot_its_configuration_gets_it_again() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    manifests.domain("a.test", &["alice"], "127.0.0.1:24".parse().unwrap()).unwrap();
    let gateway = three_nodes(&manifests, &server);
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::Cmd::keys(format!("ph:{{{QUEUE}.config}}:*")).query(&mut raw).unwrap();
    assert!(keys.len() >= 3, "{keys:?}");
    let () = redis::Cmd::del(&keys).query(&mut raw).unwrap();
    wait::until("the configuration", SOON, || {
        let there: bool = redis::Cmd::exists(format!("ph:{{{QUEUE}.config}}:pointer")).query(&mut raw)?;
        Ok(there.then_some(()))
    })
    .unwrap();
    // Who starts cold finds it there.
    let node = gateway.run().unwrap().nodes.remove(0);
    gateway.kill_node(&node).unwrap();
    wait::until("another process", SOON, || {
        let again = gateway.run()?.nodes.remove(0);
        Ok((again.pid != node.pid && rcpt(&again, "alice@a.test") == 250).then_some(()))
    })
    .unwrap();
}

#[test]
fn what_a_node_cannot_read_it_refuses_and_the_operator_gets_over_it() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    manifests.domain("a.test", &["alice"], "127.0.0.1:24".parse().unwrap()).unwrap();
    let mut gateway = three_nodes(&manifests, &server);
    until_condition(&mut gateway, "MailDomain.mail.a-test", "Programmed", "True");
    let keys = KeyFolder::new(gateway.state().join("gateways/mail.edge/keys"));
    let channel = Channel::Redis(RedisChannel::new(&server.url(), QUEUE).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let posthouse_channel::Look::New(held) = read_once(&channel, &keys).await.unwrap() else { panic!() };
        // As an operator of the next version would write it.
        let newer = Arc::new(Snapshot { schema: 4, ..Snapshot::clone(&held.snapshot) });
        let epoch = Epoch { transitions: 0, sequence: held.pointer.epoch.sequence + 1 };
        let publication = Publication::new(&newer, epoch, &keys.read().unwrap()[0], None).unwrap();
        assert_eq!(channel.publish(&publication).await.unwrap(), Moved::Forward);
    });
    until_logged(
        &mut gateway,
        "the node refuses the snapshot and goes on with the one before: the snapshot has schema version 4",
    );
    let nodes = gateway.run().unwrap().nodes;
    assert_eq!(nodes.iter().map(|node| rcpt(node, "alice@a.test")).collect::<Vec<_>>(), [250; 3]);
    assert!(nodes.iter().all(|node| metrics::status(node.metrics, "/readyz").unwrap() == 200));
    // What it publishes next is what all run, and nothing is refused any more.
    manifests.domain("b.test", &["bob"], "127.0.0.1:24".parse().unwrap()).unwrap();
    until_condition(&mut gateway, "MailDomain.mail.b-test", "Programmed", "True");
    assert_eq!(nodes.iter().map(|node| rcpt(node, "bob@b.test")).collect::<Vec<_>>(), [250; 3]);
    until_condition(&mut gateway, "MailGateway.mail.edge", "Programmed", "True");
}

#[test]
fn a_sealing_key_is_changed_without_a_restart() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    manifests.domain("a.test", &["alice"], "127.0.0.1:24".parse().unwrap()).unwrap();
    let gateway = three_nodes(&manifests, &server);
    let folder = gateway.state().join("gateways/mail.edge/keys");
    let sealed_with = || {
        let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        let text: String =
            redis::Cmd::hget(format!("ph:{{{QUEUE}.config}}:pointer"), "text").query(&mut raw).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["key"].as_str().unwrap().to_owned()
    };
    let old = sealed_with();
    let other = tempfile::tempdir().unwrap();
    KeyFolder::new(other.path()).create().unwrap();
    fs::copy(other.path().join("1"), folder.join("2")).unwrap();
    wait::until("the new key to be used", SOON, || Ok((sealed_with() != old).then_some(()))).unwrap();
    fs::remove_file(folder.join("1")).unwrap();
    let node = gateway.run().unwrap().nodes.remove(2);
    gateway.kill_node(&node).unwrap();
    wait::until("a node that starts with the new key alone", SOON, || {
        let again = gateway.run()?.nodes.remove(2);
        Ok((again.pid != node.pid && rcpt(&again, "alice@a.test") == 250).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_damaged_piece_is_mended_for_the_node_that_needs_it_and_reports_come_back() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    manifests.domain("a.test", &["alice"], "127.0.0.1:24".parse().unwrap()).unwrap();
    let mut gateway = three_nodes(&manifests, &server);
    until_condition(&mut gateway, "MailDomain.mail.a-test", "Programmed", "True");
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let chunks = format!("ph:{{{QUEUE}.config}}:chunks");
    let names: Vec<String> = redis::Cmd::hkeys(&chunks).query(&mut raw).unwrap();
    for name in &names {
        let () = redis::Cmd::hset(&chunks, name, "something else").query(&mut raw).unwrap();
    }
    let () = redis::Cmd::del(format!("ph:{{{QUEUE}.config}}:nodes")).query(&mut raw).unwrap();
    let () = redis::Cmd::hdel(format!("ph:{{{QUEUE}.config}}:pointer"), "text").query(&mut raw).unwrap();
    // The folder of the operator's own copy is gone as well.
    fs::remove_dir_all(gateway.state().join("gateways/mail.edge/config/chunks")).unwrap();
    let node = gateway.run().unwrap().nodes.remove(1);
    gateway.kill_node(&node).unwrap();
    wait::until("a node that starts cold", SOON, || {
        let again = gateway.run()?.nodes.remove(1);
        Ok((again.pid != node.pid && rcpt(&again, "alice@a.test") == 250).then_some(()))
    })
    .unwrap();
    manifests.domain("b.test", &["bob"], "127.0.0.1:24".parse().unwrap()).unwrap();
    until_condition(&mut gateway, "MailDomain.mail.b-test", "Programmed", "True");
    wait::until("all reports", SOON, || {
        let reports: u64 = redis::Cmd::hlen(format!("ph:{{{QUEUE}.config}}:nodes")).query(&mut raw)?;
        Ok((reports >= 3).then_some(()))
    })
    .unwrap();
    let log = gateway.operator().log().unwrap();
    assert!(log.matches("snapshot published").count() < 10, "it mends, and does not publish for ever");
}

#[test]
fn mail_that_was_held_is_set_free_when_its_domain_went_while_nobody_ran() {
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::new().unwrap();
    let (host, port) = (sink.address().ip(), sink.address().port());
    manifests
        .write(
            "branch.yaml",
            &format!(
                "apiVersion: posthouse.dev/v1alpha1\nkind: MailDomain\nmetadata: {{name: branch, namespace: mail}}\nspec:\n  \
                 gatewayRef: {{name: edge}}\n  domain: branch.test\n  recipients: {{policy: AcceptAll}}\n  \
                 unknownRecipients: {{action: Forward, forward: {{host: {host}, port: {port}, delivery: OnRequest}}}}\n  \
                 release: {{etrn: {{networks: [127.0.0.1/32]}}}}\n"
            ),
        )
        .unwrap();
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let reply = session(&gateway.run().unwrap().nodes[0])
        .send("a@src.test", &["b@branch.test"], b"Subject: x\r\n\r\nhi\r\n")
        .unwrap();
    assert_eq!(reply.code, 250);
    wait::until("it to be held", SOON, || Ok((gateway.counts()?.held == 1).then_some(()))).unwrap();
    gateway.operator().terminate(SOON * 2).unwrap();
    fs::remove_file(manifests.path().join("branch.yaml")).unwrap();
    gateway.start_again().unwrap();
    sink.letter(SOON).unwrap();
    gateway.until_drained(SOON).unwrap();
}

/// Every file under a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn no_secret_is_anywhere_but_sealed() {
    const USER: &str = "planted-user-4711";
    const PASSWORD: &str = "planted-password-4711";
    const STORE: &str = "planted-store-4711";
    let options = posthouse_tests::store::Options {
        more: vec!["--requirepass".to_owned(), STORE.to_owned()],
        ..posthouse_tests::store::Options::default()
    };
    let server = Server::start_with(Flavor::Redis, options).unwrap();
    let url = server.url().replace("redis://", &format!("redis://:{STORE}@"));
    let sink = Sink::start(Protocol::Smtp, accept_all()).unwrap();
    let manifests = Manifests::new().unwrap();
    let (host, port) = (sink.address().ip(), sink.address().port());
    manifests
        .write(
            "rule.yaml",
            &format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: provider, namespace: mail}}\n\
                 stringData: {{username: {USER}, password: {PASSWORD}}}\n---\n\
                 apiVersion: posthouse.dev/v1alpha1\nkind: RelayRule\nmetadata: {{name: provider, namespace: mail}}\nspec:\n  \
                 gatewayRef: {{name: edge}}\n  match: {{always: true}}\n  relay:\n    \
                 hosts: [{{host: {host}, port: {port}}}]\n    \
                 authentication: {{credentialsSecretRef: {{name: provider}}}}\n"
            ),
        )
        .unwrap();
    let options = Options { redis: Some(url.clone()), nodes: 2, ..Options::default() };
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    let nodes = gateway.run().unwrap().nodes;
    let reply = session(&nodes[0]).send("a@src.test", &["b@dst.test"], b"Subject: x\r\n\r\nhi\r\n").unwrap();
    assert_eq!(reply.code, 250);
    // Something is refused on the way, too: errors tell the most.
    manifests.write("broken.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: broken, namespace: mail}\ndata: {password: planted-password-4711}\n").unwrap();
    until_logged(&mut gateway, "broken");
    until_condition(&mut gateway, "MailGateway.mail.edge", "Ready", "True");

    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
    for node in &nodes {
        let page = posthouse_tests::metrics::page(node.metrics, "/metrics").unwrap();
        seen.push(("the metrics".to_owned(), page.into_bytes()));
        let line = fs::read(format!("/proc/{}/cmdline", node.pid)).unwrap();
        seen.push(("a node's command line".to_owned(), line));
    }
    let operator = product("posthouse-operator").unwrap();
    let folder = manifests.path().to_str().unwrap();
    let state = gateway.state();
    for arguments in [
        &["compile", "-o", "json", "-f", folder][..],
        &["validate", "-f", folder],
        &["validate", "-o", "json", "-f", folder],
        &["explain", "-f", folder, "--from", "a@src.test", "--to", "b@dst.test", "--client", "127.0.0.1"],
        &["status", "-o", "yaml", "--state", state.to_str().unwrap()],
    ] {
        let output = Command::new(&operator).args(arguments).output().unwrap();
        seen.push((format!("{arguments:?}"), [output.stdout, output.stderr].concat()));
    }
    seen.push(("queue list".to_owned(), gateway.queue(&["list", "-o", "json"]).unwrap().into_bytes()));
    seen.push(("the log".to_owned(), gateway.operator().log().unwrap().into_bytes()));
    let mut raw = redis::Client::open(url).unwrap().get_connection().unwrap();
    let () = redis::cmd("CONFIG").arg("SET").arg("rdbcompression").arg("no").query(&mut raw).unwrap();
    let keys: Vec<Vec<u8>> = redis::Cmd::keys("*").query(&mut raw).unwrap();
    for key in keys {
        let mut dumped: Vec<u8> = redis::cmd("DUMP").arg(&key).query(&mut raw).unwrap();
        dumped.extend(&key);
        seen.push((format!("the key {}", String::from_utf8_lossy(&key)), dumped));
    }
    let mut paths = Vec::new();
    files(&state, &mut paths);
    assert!(paths.len() > 5, "{paths:?}");
    seen.extend(
        paths.into_iter().map(|path| (path.display().to_string(), fs::read(path).unwrap_or_default())),
    );
    for (place, octets) in &seen {
        for secret in [USER, PASSWORD, STORE] {
            let found = octets.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {place}: {}", String::from_utf8_lossy(octets));
        }
    }
    assert!(
        seen.iter()
            .any(|(place, octets)| place.contains("compile")
                && octets.windows(10).any(|w| w == b"mail.edge\""))
    );
    gateway.operator().terminate(SOON * 2).unwrap();
}
