//! What is lost, damaged, refused or away: it shows, it is mended, and mail goes on meanwhile.

use std::fs;
use std::sync::Arc;

use posthouse_channel::{Channel, KeyFolder, Lease, Moved, RedisChannel, read_once};
use posthouse_config::{Epoch, Publication, SCHEMA_MAX, Snapshot};
use posthouse_tests::binaries::{self, product};
use posthouse_tests::gateway::{Gateway, Options};
use posthouse_tests::manifests::Manifests;
use posthouse_tests::metrics;
use posthouse_tests::store::{Flavor, Server};
use posthouse_tests::wait::{self, SOON};
use serde_json::Value;

use crate::scene::{QUEUE, rcpt, three_nodes, until_condition, until_logged};

#[test]
fn a_node_that_is_lost_shows_at_its_gateway_and_nowhere_else() {
    let server = Server::start(Flavor::Valkey).unwrap();
    let manifests = Manifests::new().unwrap();
    manifests.domain("a.test", &["alice"], "127.0.0.1:24".parse().unwrap()).unwrap();
    // Programs of its own, so that the node's can be taken away.
    let programs = tempfile::tempdir().unwrap();
    for name in ["posthouse-operator", "posthouse-node"] {
        binaries::copy(&product(name).unwrap(), &programs.path().join(name)).unwrap();
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

    binaries::copy(&product("posthouse-node").unwrap(), &programs.path().join("posthouse-node")).unwrap();
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
    let mut gateway = three_nodes(&manifests, &server);
    let mut raw = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::Cmd::keys(format!("ph:{{{QUEUE}.config}}:*")).query(&mut raw).unwrap();
    assert!(keys.len() >= 3, "{keys:?}");
    let () = redis::Cmd::del(&keys).query(&mut raw).unwrap();
    wait::until("the configuration", SOON, || {
        let there: bool = redis::Cmd::exists(format!("ph:{{{QUEUE}.config}}:pointer")).query(&mut raw)?;
        Ok(there.then_some(()))
    })
    .unwrap();
    until_logged(
        &mut gateway,
        "the pointer to the configuration had gone from the Redis of the queue \"mail.edge\"",
    );
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
        let newer = Arc::new(Snapshot { schema: SCHEMA_MAX + 1, ..Snapshot::clone(&held.snapshot) });
        let epoch = Epoch { transitions: 0, sequence: held.pointer.epoch.sequence + 1 };
        let publication = Publication::new(&newer, epoch, &keys.read().unwrap()[0], None).unwrap();
        // By the same operator: another one would be refused.
        let id = fs::read_to_string(gateway.state().join("publisher")).unwrap();
        let lease = Lease::new(0, id.trim(), "the operator of the next version");
        assert_eq!(channel.publish(&publication, &lease).await.unwrap(), Moved::Forward);
    });
    until_logged(
        &mut gateway,
        &format!(
            "the node refuses the snapshot and goes on with the one before: the snapshot has schema version {}",
            SCHEMA_MAX + 1
        ),
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
fn a_file_that_is_no_key_keeps_no_node_from_starting() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    manifests.domain("a.test", &["alice"], "127.0.0.1:24".parse().unwrap()).unwrap();
    let mut gateway = three_nodes(&manifests, &server);
    let bad = gateway.state().join("gateways/mail.edge/keys/2");
    fs::write(&bad, "no key").unwrap();
    let node = gateway.run().unwrap().nodes.remove(0);
    gateway.kill_node(&node).unwrap();
    wait::until("a node that starts beside the bad key", SOON, || {
        let again = gateway.run()?.nodes.remove(0);
        Ok((again.pid != node.pid && rcpt(&again, "alice@a.test") == 250).then_some(()))
    })
    .unwrap();
    until_logged(&mut gateway, "key_passed_over");
    let log = gateway.operator().log().unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("key_passed_over")).collect();
    assert!(lines.iter().all(|line| line.contains("mail.edge/keys/2: a sealing key is")), "{lines:?}");
    assert!(lines.len() <= 4, "each run of a node says it once: {lines:?}");

    // The operator seals with nothing that is in doubt, and says which file it is.
    let (_, message) = until_condition(&mut gateway, "MailGateway.mail.edge", "Programmed", "False");
    assert!(message.contains("keys/2"), "{message}");
    fs::remove_file(&bad).unwrap();
    until_condition(&mut gateway, "MailGateway.mail.edge", "Programmed", "True");
    let log = gateway.operator().log().unwrap();
    assert_eq!(log.matches("the configuration cannot be published").count(), 1, "{log}");
}

#[test]
fn what_was_in_force_is_read_from_redis_where_the_folder_is_lost() {
    let server = Server::start(Flavor::Redis).unwrap();
    let manifests = Manifests::new().unwrap();
    let lmtp = "127.0.0.1:24".parse().unwrap();
    manifests.domain("a.test", &["alice"], lmtp).unwrap();
    let options = Options { redis: Some(server.url()), ..Options::default() };
    let mut gateway = Gateway::start_with(manifests.path(), options).unwrap();
    until_condition(&mut gateway, "MailDomain.mail.a-test", "Programmed", "True");
    gateway.operator().terminate(SOON * 2).unwrap();
    fs::remove_dir_all(gateway.state().join("gateways/mail.edge/config")).unwrap();
    // Refused as it is written now, for nothing says where its mail goes: what was programmed of it stays in force, and only Redis knows what that was.
    let file = manifests.path().join("domain-a-test.yaml");
    let text = fs::read_to_string(&file).unwrap().replace("alice", "carol");
    let text: Vec<_> = text.lines().filter(|line| !line.contains("lmtp")).collect();
    fs::write(&file, text.join("\n")).unwrap();
    gateway.start_again().unwrap();
    let node = gateway.run().unwrap().nodes.remove(0);
    until_logged(&mut gateway, "StaysInForce");
    assert_eq!((rcpt(&node, "alice@a.test"), rcpt(&node, "carol@a.test")), (250, 550));
}
