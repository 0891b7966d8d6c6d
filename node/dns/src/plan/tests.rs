//! The plan by table and by property.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};

use super::*;
use crate::answer::{Cause, Exchanger, Kind, Question};

fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

fn domain() -> Destination {
    "example.com".parse().unwrap()
}

fn mx(records: &[(u16, &str)]) -> Answer {
    let target = |text: &str| match text {
        "." => Target::Nobody,
        "*" => Target::Unusable,
        text => Target::Host(name(text)),
    };
    let record =
        |(preference, text): &(u16, &str)| Exchanger { preference: *preference, target: target(text) };
    Answer { content: Content::Exchangers(records.iter().map(record).collect()), secure: true }
}

fn absent(content: Content) -> Answer {
    Answer { content, secure: false }
}

fn addresses(texts: &[&str]) -> Looked {
    Looked::Addresses { addresses: texts.iter().map(|text| text.parse().unwrap()).collect(), secure: true }
}

fn failed(text: &str) -> Looked {
    let question = Question { name: name(text), kind: Kind::A };
    Looked::Failed(Failure { question, cause: Cause::ServerFailed })
}

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn own(names: &[&str], listeners: &[&str]) -> Rules {
    let listeners = listeners.iter().map(|text| text.parse().unwrap()).collect();
    let own = Own { names: names.iter().map(|text| name(text)).collect(), listeners };
    Rules { own, ..Rules::default() }
}

/// The plan for an MX answer, with what is found of each host.
fn plan(answer: &Answer, found: &[(&str, Looked)], rules: &Rules) -> Result<Plan, NoHosts> {
    let found: BTreeMap<&str, &Looked> = found.iter().map(|(name, looked)| (*name, looked)).collect();
    let mut assembly = Assembly::new(rules);
    for candidate in candidates(&name("example.com"), answer, &rules.own, &mut rng(0))? {
        if !assembly.wants(&candidate) {
            break;
        }
        let looked = found[candidate.name.as_str()].clone();
        assembly.take(candidate, looked);
    }
    assembly.finish(&name("example.com"))
}

fn names(plan: &Plan) -> Vec<String> {
    plan.hosts.iter().map(|host| host.name.to_string()).collect()
}

#[test]
fn which_answers_name_no_host() {
    // RFC 5321 §5.1, RFC 7505 §3
    let us = own(&["us.example"], &[]).own;
    for (answer, error) in [
        (absent(Content::NoSuchName), NoHosts::NoSuchDomain(domain())),
        (mx(&[(0, ".")]), NoHosts::NullMx(domain())),
        (mx(&[(10, ".")]), NoHosts::NullMx(domain())),
        (mx(&[(0, "."), (0, "*")]), NoHosts::NoUsableHost(domain())),
        (mx(&[(10, "*")]), NoHosts::NoUsableHost(domain())),
        (mx(&[(10, "us.example")]), NoHosts::Loop(domain())),
        (mx(&[(10, "a.example"), (10, "US.example"), (20, "b.example")]), NoHosts::Loop(domain())),
    ] {
        assert_eq!(candidates(&name("example.com"), &answer, &us, &mut rng(0)), Err(error), "{answer:?}");
    }
}

#[test]
fn a_null_record_among_others_is_skipped() {
    let found =
        candidates(&name("example.com"), &mx(&[(0, "."), (10, "a.example")]), &Own::default(), &mut rng(0));
    assert_eq!(found.unwrap(), [Candidate { name: name("a.example"), preference: 10, secure: true }]);
}

#[test]
fn without_an_mx_record_the_domain_is_its_own_host() {
    // RFC 5321 §5.1
    let answer = absent(Content::NoRecords);
    let found = plan(&answer, &[("example.com", addresses(&["192.0.2.1"]))], &Rules::default()).unwrap();
    assert_eq!(names(&found), ["example.com"]);
    assert!(!found.hosts[0].secure);
    let nowhere = plan(&answer, &[("example.com", Looked::Nothing)], &Rules::default());
    assert_eq!(nowhere, Err(NoHosts::NoUsableHost(domain())));
    for rules in [own(&["example.com"], &[]), own(&[], &["192.0.2.1:25"])] {
        let found = plan(&answer, &[("example.com", addresses(&["192.0.2.1"]))], &rules);
        assert_eq!(found, Err(NoHosts::Loop(domain())));
    }
}

#[test]
fn hosts_without_an_address_are_skipped_and_the_domain_itself_is_never_asked() {
    // RFC 5321 §5.1: "if MX records are present, but none of them are usable, this situation must be reported as an error"
    let answer = mx(&[(10, "a.example"), (20, "b.example")]);
    let found = [("a.example", Looked::Nothing), ("b.example", addresses(&["192.0.2.2"]))];
    assert_eq!(names(&plan(&answer, &found, &Rules::default()).unwrap()), ["b.example"]);
    let none = [("a.example", Looked::Nothing), ("b.example", Looked::Nothing)];
    assert_eq!(plan(&answer, &none, &Rules::default()), Err(NoHosts::NoUsableHost(domain())));
}

#[test]
fn a_host_that_may_be_found_later_makes_the_end_a_temporary_one() {
    let answer = mx(&[(10, "a.example"), (20, "b.example")]);
    let found = [("a.example", failed("a.example")), ("b.example", Looked::Nothing)];
    let error = plan(&answer, &found, &Rules::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot find the A of a.example: the name server failed (SERVFAIL)");
    assert!(!error.is_permanent());
    let found = [("a.example", failed("a.example")), ("b.example", addresses(&["192.0.2.2"]))];
    let plan = plan(&answer, &found, &Rules::default()).unwrap();
    assert_eq!((names(&plan), plan.later.len()), (vec!["b.example".to_owned()], 1));
}

#[test]
fn this_gateway_is_known_by_its_address_and_port() {
    // RFC 5321 §5.1: what is no better than us is ignored
    let answer = mx(&[(10, "a.example"), (20, "b.example"), (20, "c.example"), (30, "d.example")]);
    let found = [
        ("a.example", addresses(&["192.0.2.1"])),
        ("b.example", addresses(&["192.0.2.2"])),
        ("c.example", addresses(&["192.0.2.9", "192.0.2.3"])),
        ("d.example", addresses(&["192.0.2.4"])),
    ];
    let ours = |listener| plan(&answer, &found, &own(&[], &[listener]));
    assert_eq!(names(&ours("192.0.2.3:25").unwrap()), ["a.example"]);
    assert_eq!(names(&ours("192.0.2.3:2525").unwrap()).len(), 4);
    assert_eq!(ours("192.0.2.1:25"), Err(NoHosts::Loop(domain())));
}

#[test]
fn better_hosts_that_have_no_address_do_not_make_this_gateway_the_best() {
    let answer = mx(&[(10, "a.example"), (20, "us.example")]);
    let by_name = own(&["us.example"], &[]);
    assert_eq!(
        plan(&answer, &[("a.example", Looked::Nothing)], &by_name),
        Err(NoHosts::NoUsableHost(domain()))
    );
    let by_address = own(&[], &["192.0.2.9:25"]);
    let us = ("us.example", addresses(&["192.0.2.9"]));
    let found = [("a.example", Looked::Nothing), us.clone()];
    assert_eq!(plan(&answer, &found, &by_address), Err(NoHosts::NoUsableHost(domain())));
    let found = [("a.example", failed("a.example")), us];
    assert_eq!(plan(&answer, &found, &by_address).unwrap_err().category(), "server_failed");
}

#[test]
fn an_address_needs_no_question_and_may_be_ours() {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    let plan = of_address(address, &Rules::default()).unwrap();
    assert_eq!(
        (names(&plan), plan.hosts[0].addresses.clone()),
        (vec!["192.0.2.1".to_owned()], vec![address])
    );
    let loops = of_address(address, &own(&[], &["192.0.2.1:25"]));
    assert_eq!(loops, Err(NoHosts::Loop(Destination::Address(address))));
}

#[test]
fn a_host_is_secure_only_if_its_name_and_addresses_are() {
    for (of_mx, of_addresses) in [(true, true), (true, false), (false, true)] {
        let answer = Answer { secure: of_mx, ..mx(&[(10, "a.example")]) };
        let found = Looked::Addresses { addresses: vec!["192.0.2.1".parse().unwrap()], secure: of_addresses };
        let plan = plan(&answer, &[("a.example", found)], &Rules::default()).unwrap();
        assert_eq!(plan.hosts[0].secure, of_mx && of_addresses);
    }
}

#[test]
fn families_alternate_and_one_is_enough() {
    let answer = |texts: &[&str]| Answer {
        content: Content::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect()),
        secure: true,
    };
    let four = answer(&["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    let six = answer(&["2001:db8::1"]);
    let kinds = |looked: Looked| match looked {
        Looked::Addresses { addresses, .. } => {
            addresses.iter().map(|address| if address.is_ipv4() { '4' } else { '6' }).collect::<String>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(kinds(looked(Ok(&four), Ok(&six), FirstFamily::Ipv4, &mut rng(0))), "4644");
    assert_eq!(kinds(looked(Ok(&four), Ok(&six), FirstFamily::Ipv6, &mut rng(0))), "6444");
    let either: BTreeSet<String> =
        (0..32).map(|seed| kinds(looked(Ok(&four), Ok(&six), FirstFamily::Either, &mut rng(seed)))).collect();
    assert_eq!(either.len(), 2);

    let Looked::Failed(failure) = failed("a.example") else { unreachable!() };
    let half = looked(Ok(&four), Err(&failure), FirstFamily::Ipv4, &mut rng(0));
    assert!(matches!(&half, Looked::Addresses { secure: false, .. }), "{half:?}");
    let none = absent(Content::NoRecords);
    assert_eq!(looked(Ok(&none), Err(&failure), FirstFamily::Ipv4, &mut rng(0)), Looked::Failed(failure));
    assert_eq!(looked(Ok(&none), Ok(&none), FirstFamily::Ipv4, &mut rng(0)), Looked::Nothing);
}

#[test]
fn every_host_of_one_preference_is_first_some_time() {
    let answer = mx(&[(10, "a.example"), (10, "b.example"), (10, "c.example"), (20, "z.example")]);
    let mut firsts = BTreeSet::new();
    for seed in 0..64 {
        let found = candidates(&name("example.com"), &answer, &Own::default(), &mut rng(seed)).unwrap();
        assert_eq!(found[3].name, name("z.example"));
        firsts.insert(found[0].name.clone());
    }
    assert_eq!(firsts.len(), 3);
}

proptest! {
    #[test]
    fn a_plan_is_in_order_bounded_and_never_leads_back(
        records in proptest::collection::vec((0u16..5, 0u8..60), 1..120),
        ours in proptest::collection::btree_set(0u8..60, 0..3),
        our_addresses in proptest::collection::btree_set(0u8..60, 0..3),
        seed: u64,
    ) {
        let records: Vec<(u16, String)> =
            records.into_iter().map(|(preference, host)| (preference, format!("h{host}.example"))).collect();
        let borrowed: Vec<(u16, &str)> = records.iter().map(|(p, text)| (*p, text.as_str())).collect();
        let answer = mx(&borrowed);
        let of_host = |host: u8| -> Vec<IpAddr> {
            // Some have none, some too many; the first is the host's own.
            (0..(host % 12)).map(|place| IpAddr::from([10, 0, host, place])).collect()
        };
        let rules = Rules {
            own: Own {
                names: ours.iter().map(|host| name(&format!("h{host}.example"))).collect(),
                listeners: our_addresses.iter().map(|host| SocketAddr::from(([10, 0, *host, 0], 25))).collect(),
            },
            ..Rules::default()
        };
        let is_ours = |host: u8| ours.contains(&host) || (!host.is_multiple_of(12) && our_addresses.contains(&host));
        let host_of = |text: &str| text[1..text.len() - ".example".len()].parse::<u8>().unwrap();
        let best_of_ours = records.iter().filter(|(_, text)| is_ours(host_of(text))).map(|(p, _)| *p).min();

        let mut asked = 0;
        let made = candidates(&name("example.com"), &answer, &rules.own, &mut rng(seed)).and_then(|found| {
            let mut assembly = Assembly::new(&rules);
            for candidate in found {
                if !assembly.wants(&candidate) {
                    break;
                }
                asked += 1;
                let addresses = of_host(host_of(candidate.name.as_str()));
                let looked =
                    if addresses.is_empty() { Looked::Nothing } else { Looked::Addresses { addresses, secure: true } };
                assembly.take(candidate, looked);
            }
            assembly.finish(&name("example.com"))
        });
        prop_assert!(asked <= MOST_HOSTS);
        let Ok(plan) = made else { return Ok(()) };
        prop_assert!(plan.hosts.is_sorted_by_key(|host| host.preference));
        prop_assert!(plan.hosts.iter().map(|host| host.addresses.len()).sum::<usize>() <= MOST_ADDRESSES);
        for host in &plan.hosts {
            prop_assert!((1..=MOST_ADDRESSES_OF_HOST).contains(&host.addresses.len()));
            prop_assert!(!is_ours(host_of(&host.name.to_string())));
            // A host beyond the bound on hosts is not looked at, so it may be ours; it is no better than those before it.
            if records.len() <= MOST_HOSTS {
                prop_assert!(best_of_ours.is_none_or(|ours| host.preference < ours));
            }
        }
    }
}
