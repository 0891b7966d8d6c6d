//! Configuration from an edit to every node, and back as a status: `posthouse-operator local` with real nodes over a real Redis.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod scene;
mod stuck;
mod trouble;
mod two_operators;
mod waiting;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use posthouse_tests::binaries::product;
use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::local::Node;
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::sink::{Moment, Policy, Protocol, Sink, accept_all};
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::{self, SOON};

use scene::{rcpt, session, three_nodes, until_condition, until_logged};

#[test]
fn an_edit_is_in_force_on_every_node_and_its_status_says_so() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    let mut gateway = three_nodes(&manifests, &server);
    let nodes = gateway.run().unwrap().nodes;
    // Not a domain of the gateway: it would go by MX.
    assert_eq!(nodes.iter().map(|node| rcpt(node, "bob@new.test")).collect::<Vec<_>>(), [250; 3]);
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
    const CERTIFICATE: &str = include_str!("../../../operator/compiler/tests/certificates/good.crt");
    const KEY: &str = include_str!("../../../operator/compiler/tests/certificates/good.key");
    let key_line = KEY.lines().nth(1).unwrap();
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
    let tls = "tls: {mode: StartTls, certificateSecretRefs: [{name: certificate}]}";
    let with_tls =
        posthouse_tests::manifests::GATEWAY.replace("protocol: Smtp", &format!("protocol: Smtp, {tls}"));
    manifests.write("gateway.yaml", &with_tls).unwrap();
    let indented = |text: &str| text.replace('\n', "\n    ");
    manifests
        .write(
            "certificate.yaml",
            &format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: certificate, namespace: mail}}\ntype: kubernetes.io/tls\n\
                 stringData:\n  tls.crt: |\n    {}\n  tls.key: |\n    {}\n",
                indented(CERTIFICATE),
                indented(KEY)
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
        for secret in [USER, PASSWORD, STORE, key_line] {
            let found = octets.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {place}: {}", String::from_utf8_lossy(octets));
        }
    }
    assert!(seen.iter().any(|(place, octets)| place.contains("compile")
        && octets.windows(10).any(|w| w == b"mail.edge\"")
        && octets.windows(17).any(|w| w == b"BEGIN CERTIFICATE")));
    gateway.operator().terminate(SOON * 2).unwrap();
}
