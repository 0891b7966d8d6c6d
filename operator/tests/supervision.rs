//! `local` around a node that is a shell script: what is bound, started, told, and ended. The real node has its tests with the whole.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

mod house;

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use house::{DOMAIN, GATEWAY, House, NODE};
use posthouse_tests::{
    local::LocalRun,
    process::Child,
    wait::{self, SOON},
};
use rustix::process::{Pid, Signal, kill_process};

/// Dies before it is ready, each time.
const STILLBORN: &str = "#!/bin/sh\nprintf 'born\\n' >>\"$(dirname \"$0\")/heard\"\nexit 3\n";

/// Hears everything and does nothing of it.
const DEAF: &str = "#!/bin/sh\nprintf '{\"type\":\"ready\"}\\n' >&0\nexec tail -f /dev/null\n";

fn kill(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

fn is_running(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn a_killed_node_is_back_within_500_ms_on_its_addresses_and_clients_are_not_refused() {
    let house = House::new(NODE);
    let _operator = house.start_ready();
    let first = house.node();
    assert_eq!((first.gateway.as_str(), first.node.as_str()), ("mail/edge", "edge-0"));
    let (mut after, mut fastest) = (house.node(), SOON);
    // Several times: the machine may be busy with other things at any one of them, and no death in work makes the next wait longer.
    for _ in 0..6 {
        let before = after;
        kill(before.pid);
        let killed = Instant::now();
        TcpStream::connect(before.listeners[0].address).expect("a client waits for the next node");
        let next = || Ok(Some(house.node()).filter(|node| node.pid != before.pid));
        after = wait::until("another node", SOON, next).unwrap();
        fastest = fastest.min(killed.elapsed());
        assert_eq!(after.metrics, first.metrics);
        assert_eq!(after.listeners[0].address, first.listeners[0].address);
    }
    assert!(fastest < Duration::from_millis(500), "{fastest:?}");
    let told: Vec<_> = house
        .heard()
        .lines()
        .filter(|line| line.starts_with(&after.pid.to_string()))
        .map(str::to_owned)
        .collect();
    assert!(told[0].contains(r#""name":"smtp","protocol":"Smtp""#), "{told:?}");
}

#[test]
fn a_node_that_does_not_answer_is_killed_and_started_again_without_any_edit() {
    let house = House::new(NODE);
    let mut operator = house.start_ready();
    let stopped = house.node();
    kill_process(Pid::from_raw(i32::try_from(stopped.pid).unwrap()).unwrap(), Signal::STOP).unwrap();
    house.until_logged(
        &mut operator,
        "node is killed: it is stuck: it did not answer its control socket for 10 s",
    );
    let next = || Ok(Some(house.node()).filter(|node| node.pid != stopped.pid));
    let next = operator.until("another node", SOON, next).unwrap();
    assert_eq!(next.listeners[0].address, stopped.listeners[0].address);
    assert!(!is_running(stopped.pid));
}

#[test]
fn nodes_end_when_the_operator_is_killed() {
    let house = House::new(NODE);
    let mut operator = house.start_ready();
    let node = house.node();
    operator.kill().unwrap();
    wait::until("the node to end", SOON, || Ok((!is_running(node.pid)).then_some(()))).unwrap();
    // What it left behind hinders no other.
    let _again = house.start_ready();
}

#[test]
fn a_drain_ends_all_and_takes_local_json_away() {
    let house = House::new(NODE);
    let mut operator = house.start_ready();
    let node = house.node();
    let status = operator.terminate(SOON).unwrap();
    assert_eq!(status.code(), Some(0), "{}", operator.log_tail());
    assert!(!is_running(node.pid) && !house.local_json().exists());
    assert!(house.heard().contains(r#"{"type":"drain","withinMs":30000}"#));
    assert!(TcpStream::connect(node.listeners[0].address).is_err(), "nobody listens any more");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let house = House::new(DEAF);
    let mut operator = house.start_ready();
    let node = house.node();
    operator.signal(Signal::TERM).unwrap();
    operator.until("the drain", SOON, || Ok((!house.local_json().exists()).then_some(()))).unwrap();
    assert!(is_running(node.pid));
    let status = operator.terminate(Duration::from_secs(10)).unwrap();
    assert_eq!(status.code(), Some(1), "a node had to be killed");
    assert!(!is_running(node.pid));
}

#[test]
fn a_node_that_still_waits_for_its_store_hinders_no_end() {
    let house = House::new("#!/bin/sh\nexec tail -f /dev/null\n");
    let mut operator = house.start();
    let log = house.path("operator.log");
    operator
        .until("the node", SOON, || Ok(fs::read_to_string(&log)?.contains("node started").then_some(())))
        .unwrap();
    assert_eq!(
        operator.terminate(Duration::from_secs(10)).unwrap().code(),
        Some(0),
        "{}",
        operator.log_tail()
    );
}

#[test]
fn deaths_before_ready_back_off_and_local_json_stays_absent() {
    let house = House::new(STILLBORN);
    let mut operator = house.start();
    let births = || house.heard().lines().count();
    operator.until("three births", SOON, || Ok((births() >= 3).then_some(()))).unwrap();
    assert!(!house.local_json().exists());
    let log = operator.log().unwrap();
    assert!(log.contains("node died before it was ready: exit status: 3"), "{log}");
    assert_eq!(operator.terminate(SOON).unwrap().code(), Some(0));
}

#[test]
fn an_edit_reaches_the_node_and_a_wrong_one_takes_nothing_away() {
    let house = House::new(NODE);
    let mut operator = house.start_ready();
    house.until_published(&mut operator, |text| text.contains(r#""hostname":"mail.example.com""#));
    let told = || house.heard().matches(r#""type":"look""#).count();
    let before = told();

    // As editors do it: written beside, renamed over.
    let edited = house.path("manifests/.gateway.yaml.new");
    fs::write(&edited, GATEWAY.replace("mail.example.com", "mx.example.com")).unwrap();
    fs::rename(&edited, house.path("manifests/gateway.yaml")).unwrap();
    house.until_published(&mut operator, |text| text.contains("mx.example.com"));
    operator.until("the word to look", SOON, || Ok((told() > before).then_some(()))).unwrap();

    house.write("gateway.yaml", &GATEWAY.replace("hostname", "hostnam"));
    let mut until_logged = |text: &str| {
        let log = house.path("operator.log");
        operator.until(text, SOON, || Ok(fs::read_to_string(&log)?.contains(text).then_some(()))).unwrap();
    };
    until_logged("Error MailGateway mail/edge spec.hostnam: UnknownField: ");
    until_logged("(gateway.yaml:5)");
    house.write("broken.yaml", "a: [");
    until_logged("Error broken.yaml:");
    fs::remove_file(house.path("manifests/broken.yaml")).unwrap();
    until_logged("Resolved broken.yaml:");

    house.write("gateway.yaml", &GATEWAY.replace("mail.example.com", "mail3.example.com"));
    until_logged("Resolved MailGateway mail/edge spec.hostnam: UnknownField");
    house.until_published(&mut operator, |text| text.contains("mail3.example.com"));
    assert!(is_running(house.node().pid), "no edit restarts a node");
    assert_eq!(house.heard().matches(r#""type":"listeners""#).count(), 1);
}

#[test]
fn a_listener_that_is_added_is_bound_and_one_that_is_removed_is_closed() {
    let house = House::new(NODE);
    let mut operator = house.start_ready();
    let smtp = house.node().listeners.remove(0);
    let submission = "    - {name: submission, port: 587, protocol: Submission}\n";
    house.write("gateway.yaml", &format!("{GATEWAY}{submission}"));
    let names = || house.node().listeners.iter().map(|listener| listener.name.clone()).collect::<Vec<_>>();
    operator.until("two listeners", SOON, || Ok((names() == ["smtp", "submission"]).then_some(()))).unwrap();
    assert_eq!(house.node().listeners[0].address, smtp.address);
    house.write(
        "gateway.yaml",
        &GATEWAY.replace("    - {name: smtp, port: 25, protocol: Smtp}\n", submission),
    );
    operator.until("one listener", SOON, || Ok((names() == ["submission"]).then_some(()))).unwrap();
}

#[test]
fn a_gateway_whose_manifest_is_gone_drains_and_may_come_back() {
    let house = House::new(NODE);
    let mut operator = house.start_ready();
    let first = house.node().pid;
    fs::remove_file(house.path("manifests/gateway.yaml")).unwrap();
    let nodes = || LocalRun::read(&house.local_json()).unwrap().nodes.len();
    operator.until("no node", SOON, || Ok((nodes() == 0).then_some(()))).unwrap();
    house.write("gateway.yaml", GATEWAY);
    operator.until("a node", SOON, || Ok((nodes() == 1).then_some(()))).unwrap();
    assert!(!is_running(first) && house.node().pid != first);
}

#[test]
fn what_was_good_in_a_run_before_holds_where_the_manifest_is_refused_now() {
    let house = House::new(NODE);
    drop(house.start_ready());
    // Its form is right, its meaning is not.
    house.write("gateway.yaml", &GATEWAY.replace("mail.example.com", "not_a_host!"));
    let operator = house.start_ready();
    let log = operator.log().unwrap();
    assert!(log.contains("the gateway starts with the last configuration that was good"), "{log}");
}

#[test]
fn a_domain_that_is_refused_now_keeps_what_it_had_even_over_a_restart() {
    let house = House::new(NODE);
    house.write("domain.yaml", DOMAIN);
    let mut operator = house.start_ready();
    house.until_published(&mut operator, |text| text.contains("alice"));

    // Its form is right, its meaning is not: nothing says where mail of users goes.
    let wrong = DOMAIN.lines().filter(|line| !line.contains("lmtp")).collect::<Vec<_>>().join("\n");
    house.write("domain.yaml", &wrong.replace("alice", "carol"));
    let log = house.path("operator.log");
    let kept = "Warning MailDomain mail/example-com: StaysInForce: what was programmed of it before stays";
    operator.until(kept, SOON, || Ok(fs::read_to_string(&log)?.contains(kept).then_some(()))).unwrap();
    house.until_published(&mut operator, |text| text.contains("alice") && !text.contains("carol"));
    assert_eq!(operator.terminate(SOON).unwrap().code(), Some(0));

    let mut operator = house.start_ready();
    assert_eq!(fs::read_to_string(&log).unwrap().matches(kept).count(), 2, "each run says it, once");
    house.until_published(&mut operator, |text| text.contains("alice") && !text.contains("carol"));

    house.write("domain.yaml", &DOMAIN.replace("alice", "carol"));
    house.until_published(&mut operator, |text| text.contains("carol"));
    let resolved = "Resolved MailDomain mail/example-com: StaysInForce";
    operator
        .until(resolved, SOON, || Ok(fs::read_to_string(&log)?.contains(resolved).then_some(())))
        .unwrap();
}

#[test]
fn a_domain_that_was_never_right_gets_451_and_the_log_says_so() {
    let house = House::new(NODE);
    house.write("domain.yaml", &DOMAIN.replace("localDelivery", "# localDelivery"));
    let mut operator = house.start_ready();
    let log = operator.log().unwrap();
    let told = "Warning MailDomain mail/example-com: NotInForce: nothing of it was programmed before that could stay in force: \
                until it is corrected, its mail gets 451";
    assert!(log.contains(told), "{log}");
    house.until_published(&mut operator, |text| text.contains(r#""suspended":true"#));
}

#[test]
fn who_holds_a_domain_holds_it_over_a_restart() {
    let house = House::new(NODE);
    house.write("b.yaml", &DOMAIN.replace("example-com", "b"));
    let mut operator = house.start_ready();
    house.write("a.yaml", &DOMAIN.replace("example-com", "a").replace("alice", "carol"));
    let log = house.path("operator.log");
    let lost = "Error MailDomain mail/a spec.domain: DomainClaimed: example.com is held by MailDomain mail/b";
    operator.until(lost, SOON, || Ok(fs::read_to_string(&log)?.contains(lost).then_some(()))).unwrap();
    assert_eq!(operator.terminate(SOON).unwrap().code(), Some(0));

    let mut operator = house.start_ready();
    assert_eq!(fs::read_to_string(&log).unwrap().matches(lost).count(), 2);
    house.until_published(&mut operator, |text| text.contains("alice") && !text.contains("carol"));
    assert_eq!(operator.terminate(SOON).unwrap().code(), Some(0));

    fs::write(house.path("state/claims.json"), "damaged").unwrap();
    let mut operator = house.start_ready();
    assert!(operator.log().unwrap().contains("claims.json: cannot be read: "));
    house.until_published(&mut operator, |text| !text.contains("alice")); // now nobody knows who was first
}

#[test]
fn a_busy_port_is_named_with_exit_2() {
    let house = House::new(NODE);
    let busy = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = busy.local_addr().unwrap().port();
    house.write("gateway.yaml", &GATEWAY.replace("port: 25", &format!("port: {port}")));
    let (code, log) = house.run(&[]);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains(&format!("error: listener smtp of mail/edge: port {port} is busy")), "{log}");
    assert_eq!(house.heard(), "", "no node was started");
}

#[test]
fn what_cannot_go_together_is_exit_2() {
    let house = House::new(NODE);
    let (code, log) = house.run(&["--nodes", "2", "--ephemeral-ports"]);
    assert_eq!((code, log.contains("add --redis URL")), (Some(2), true), "{log}");
    let (code, log) = house.run(&["--nodes", "2", "--redis", "redis://127.0.0.1:1"]);
    assert_eq!((code, log.contains("add --ephemeral-ports")), (Some(2), true), "{log}");
    house.write("second.yaml", &GATEWAY.replace("name: edge", "name: core"));
    let (code, log) = house.run(&[]);
    assert_eq!((code, log.contains("mail/core and mail/edge")), (Some(2), true), "{log}");
}

#[test]
fn several_nodes_and_gateways_have_a_stable_order() {
    let house = House::new(NODE);
    house.write("second.yaml", &GATEWAY.replace("name: edge", "name: core"));
    let command = house.command(&["--ephemeral-ports", "--nodes", "2", "--redis", "redis://127.0.0.1:1"]);
    let mut operator = Child::start("operator", command, house.folder.path()).unwrap();
    let file = house.local_json();
    operator.until("local.json", SOON, || Ok(file.exists().then_some(()))).unwrap();
    let run = LocalRun::read(&file).unwrap();
    let names: Vec<_> = run.nodes.iter().map(|node| (node.gateway.as_str(), node.node.as_str())).collect();
    assert_eq!(
        names,
        [("mail/core", "core-0"), ("mail/core", "core-1"), ("mail/edge", "edge-0"), ("mail/edge", "edge-1")]
    );
    let addresses: std::collections::BTreeSet<SocketAddr> =
        run.nodes.iter().flat_map(|node| [node.metrics, node.listeners[0].address]).collect();
    assert_eq!(addresses.len(), 8);
}

#[test]
fn two_runs_on_one_state_refuse_clearly() {
    let house = House::new(NODE);
    let operator = house.start_ready();
    let (code, log) = house.run(&["--ephemeral-ports"]);
    assert_eq!(code, Some(2));
    let clear = format!("another run (process {}) uses this state", operator.pid());
    assert!(log.contains(&clear), "{log}");
    assert!(house.local_json().exists(), "the refused run changed nothing");
}

#[test]
fn without_a_gateway_it_waits_for_one() {
    let house = House::new(NODE);
    fs::remove_file(house.path("manifests/gateway.yaml")).unwrap();
    let mut operator = house.start();
    let log = house.path("operator.log");
    let waits =
        |log: &Path| Ok(fs::read_to_string(log)?.contains("there is no gateway to run yet").then_some(()));
    operator.until("the warning", SOON, || waits(&log)).unwrap();
    house.write("gateway.yaml", GATEWAY);
    let file = house.local_json();
    operator.until("local.json", SOON, || Ok(file.exists().then_some(()))).unwrap();
}
