//! The resolver against BIND: every kind of answer, TCP, silence, failure, and how long what was found is kept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::{
    fmt::Write as _,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use posthouse_dns::{
    CacheBounds, Cause, Content, Destination, FirstFamily, Kind, MOST_ADDRESSES, MOST_ADDRESSES_OF_HOST,
    NoHosts, Own, Patience, Plan, Question, Resolver, Rules, Settings,
};
use posthouse_tests::{
    peers::named::{Named, Zone},
    wait::SOON,
};
use rand::{SeedableRng as _, rngs::StdRng};

/// hickory repeats a query over UDP after a third of a second; a busy machine may need longer, and the log has it then once more.
const REPEATED: usize = 2;

const EXAMPLE: &str = "
mail.example.com.    MX 20 b.example.com.
mail.example.com.    MX 10 A.Example.com.
mail.example.com.    MX 30 nowhere.example.com.
mail.example.com.    MX 40 alias.example.com.
a.example.com.       A 192.0.2.1
a.example.com.       AAAA 2001:db8::1
b.example.com.       A 192.0.2.2
b.example.com.       A 192.0.2.3
nowhere.example.com. TXT nothing
alias.example.com.   CNAME real.example.com.
real.example.com.    AAAA 2001:db8::9
null.example.com.    MX 0 .
nulls.example.com.   MX 0 .
nulls.example.com.   MX 10 b.example.com.
nulls.example.com.   A 192.0.2.66
itself.example.com.  A 192.0.2.4
text.example.com.    TXT nothing
unusable.example.com. MX 10 nowhere.example.com.
unusable.example.com. MX 20 gone.example.com.
unusable.example.com. A 192.0.2.66
aliased.example.com. CNAME mail.example.com.
dangling.example.com. CNAME gone.example.com.
later.example.com.   MX 10 host.broken.example.
later.example.com.   MX 20 b.example.com.
latest.example.com.  MX 10 host.broken.example.
latest.example.com.  MX 20 nowhere.example.com.
foreign.example.com. MX 10 host.elsewhere.example.
odd.example.com.     MX 10 a\\032b.example.com.
odd.example.com.     MX 20 mail_1.example.com.
mail_1.example.com.  A 192.0.2.5
ours.example.com.    MX 10 a.example.com.
ours.example.com.    MX 20 b.example.com.
ours.example.com.    MX 20 itself.example.com.
";

fn example() -> Named {
    Named::start(&[Zone::new("example.com", EXAMPLE), Zone::broken("broken.example")]).unwrap()
}

fn settings(nameservers: &[SocketAddr]) -> Settings {
    // Generous: a test machine is shared. What is to be quick says so itself.
    let patience = Patience { reply: SOON, rounds: 1, question: SOON, plan: SOON };
    Settings { nameservers: nameservers.to_vec(), patience, ..Settings::default() }
}

fn resolver(nameservers: &[SocketAddr]) -> Resolver {
    Resolver::new(&settings(nameservers)).unwrap()
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(0)
}

fn rules() -> Rules {
    Rules { first: FirstFamily::Ipv4, ..Rules::default() }
}

fn to(text: &str) -> Destination {
    text.parse().unwrap()
}

fn question(name: &str, kind: Kind) -> Question {
    Question { name: name.parse().unwrap(), kind }
}

async fn hosts(resolver: &Resolver, domain: &str) -> Result<Plan, NoHosts> {
    resolver.mail_hosts(&to(domain), &rules(), &mut rng()).await
}

/// `10 a.example.com 192.0.2.1 2001:db8::1`, a line for each host.
fn lines(plan: &Plan) -> Vec<String> {
    let line = |host: &posthouse_dns::Host| {
        let mut addresses = host.addresses.clone();
        // Those of one family are shuffled.
        addresses[usize::from(host.addresses.len() > 2)..].sort();
        addresses.iter().fold(format!("{} {}", host.preference, host.name), |mut line, address| {
            let _ = write!(line, " {address}");
            line
        })
    };
    plan.hosts.iter().map(line).collect()
}

#[tokio::test]
async fn the_hosts_of_a_domain_are_those_of_its_mx_in_order() {
    // RFC 5321 §5.1
    let named = example();
    let resolver = resolver(&[named.address()]);
    let plan = hosts(&resolver, "Mail.example.com").await.unwrap();
    assert_eq!(plan.later, []);
    let all =
        ["10 a.example.com 192.0.2.1 2001:db8::1", "20 b.example.com", "40 alias.example.com 2001:db8::9"];
    let found = lines(&plan);
    assert_eq!((found.len(), &found[0], &found[2]), (3, &all[0].to_owned(), &all[2].to_owned()));
    assert!(found[1].starts_with(all[1]) && plan.hosts[1].addresses.len() == 2, "{found:?}");
    assert!(plan.hosts.iter().all(|host| !host.secure));
    // An alias at the owner of the MX is followed.
    assert_eq!(hosts(&resolver, "aliased.example.com").await.unwrap().hosts.len(), 3);
    // RFC 5321 §5.1: no MX, so the domain is its own host.
    assert_eq!(
        lines(&hosts(&resolver, "itself.example.com").await.unwrap()),
        ["0 itself.example.com 192.0.2.4"]
    );
    // What no host can be called is passed over; an underscore is no reason.
    assert_eq!(
        lines(&hosts(&resolver, "odd.example.com").await.unwrap()),
        ["20 mail_1.example.com 192.0.2.5"]
    );
}

#[tokio::test]
async fn a_domain_without_hosts_says_why_and_whether_for_good() {
    let named = example();
    let resolver = resolver(&[named.address()]);
    for (domain, category, code, status) in [
        ("null.example.com", "null_mx", 556, "5.1.10"),
        ("gone.example.com", "no_such_domain", 550, "5.1.2"),
        ("dangling.example.com", "no_such_domain", 550, "5.1.2"),
        ("text.example.com", "no_usable_host", 550, "5.4.4"),
        ("unusable.example.com", "no_usable_host", 550, "5.4.4"),
        ("broken.example", "server_failed", 451, "4.4.3"),
        ("latest.example.com", "server_failed", 451, "4.4.3"),
        ("elsewhere.example", "refused", 451, "4.4.3"),
        ("foreign.example.com", "refused", 451, "4.4.3"),
    ] {
        let error = hosts(&resolver, domain).await.unwrap_err();
        let said = (error.category(), error.code().number(), error.status().to_string());
        assert_eq!(said, (category, code, status.to_owned()), "{domain}: {error}");
    }
    // RFC 7505 §3: a null record among others is skipped, and the domain's own address is not asked for.
    assert_eq!(hosts(&resolver, "nulls.example.com").await.unwrap().hosts[0].name, to("b.example.com"));
    assert_eq!(named.asked("nulls.example.com", "A").unwrap(), 0, "{}", named.log());
    assert_eq!(named.asked("unusable.example.com", "A").unwrap(), 0, "{}", named.log());
}

#[tokio::test]
async fn a_task_of_its_own_may_ask() {
    let named = example();
    let resolver = resolver(&[named.address()]);
    let task = tokio::spawn(async move {
        let mut rng = rng();
        let plan = resolver.mail_hosts(&to("mail.example.com"), &rules(), &mut rng).await?;
        let host = resolver.host(&to("a.example.com"), &rules(), &mut rng).await?;
        Ok::<_, NoHosts>((plan, host))
    });
    assert!(task.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_host_whose_addresses_are_not_known_now_is_for_later() {
    let named = example();
    let plan = hosts(&resolver(&[named.address()]), "later.example.com").await.unwrap();
    assert_eq!(plan.hosts[0].name, to("b.example.com"));
    let later = &plan.later[0];
    assert_eq!((later.name.as_str(), later.preference), ("host.broken.example", 10));
    assert_eq!(
        later.failure.to_string(),
        "cannot find the A of host.broken.example: the name server failed (SERVFAIL)"
    );
}

#[tokio::test]
async fn mail_never_comes_back_to_this_gateway() {
    // RFC 5321 §5.1
    let named = example();
    let resolver = resolver(&[named.address()]);
    let with = |names: &[&str], listeners: &[&str]| {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        let own = Own { names, listeners: listeners.iter().map(|text| text.parse().unwrap()).collect() };
        Rules { own, ..rules() }
    };
    for rules in [with(&["itself.example.com"], &[]), with(&[], &["192.0.2.4:25"])] {
        let plan = resolver.mail_hosts(&to("ours.example.com"), &rules, &mut rng()).await.unwrap();
        assert_eq!(lines(&plan), ["10 a.example.com 192.0.2.1 2001:db8::1"]);
        let error = resolver.mail_hosts(&to("itself.example.com"), &rules, &mut rng()).await.unwrap_err();
        assert_eq!(error.to_string(), "the MX of itself.example.com points back to this gateway");
        assert_eq!((error.code().number(), error.status().to_string().as_str()), (554, "5.4.6"));
    }
}

#[tokio::test]
async fn a_host_with_a_port_is_looked_up_by_its_address_records_only() {
    let named = example();
    let resolver = resolver(&[named.address()]);
    let host = |name: &'static str| {
        let resolver = resolver.clone();
        async move { resolver.host(&to(name), &rules(), &mut rng()).await }
    };
    let found = host("a.example.com").await.unwrap();
    assert_eq!(
        found.addresses,
        ["192.0.2.1", "2001:db8::1"].map(|text| text.parse::<std::net::IpAddr>().unwrap())
    );
    assert_eq!(named.asked("a.example.com", "MX").unwrap(), 0);
    assert_eq!(host("192.0.2.7").await.unwrap().addresses, [std::net::IpAddr::from([192, 0, 2, 7])]);
    assert_eq!(host("gone.example.com").await.unwrap_err().category(), "no_such_host");
    assert_eq!(host("host.broken.example").await.unwrap_err().category(), "server_failed");
}

#[tokio::test]
async fn what_does_not_fit_into_a_datagram_comes_over_tcp() {
    // RFC 7766 §5; the bounds hold for what comes.
    let mut records = String::new();
    for host in 0..100 {
        let _ = writeln!(
            records,
            "many.example.com. MX {} host-with-a-rather-long-name-{host}.example.com.",
            host / 10
        );
        let _ = writeln!(records, "host-with-a-rather-long-name-{host}.example.com. A 192.0.2.{host}");
        let _ = writeln!(records, "big.example.com. A 198.51.100.{host}");
    }
    let named = Named::start(&[Zone::new("example.com", &records)]).unwrap();
    let resolver = resolver(&[named.address()]);
    let host = resolver.host(&to("big.example.com"), &rules(), &mut rng()).await.unwrap();
    assert_eq!(host.addresses.len(), MOST_ADDRESSES_OF_HOST);
    assert!(named.asked_over_tcp("big.example.com", "A").unwrap() >= 1, "{}", named.log());
    let plan = hosts(&resolver, "many.example.com").await.unwrap();
    assert!(named.asked_over_tcp("many.example.com", "MX").unwrap() >= 1, "{}", named.log());
    assert!(plan.hosts.is_sorted_by_key(|host| host.preference));
    assert!((30..=32).contains(&plan.hosts.len()), "{}", plan.hosts.len());
    assert!(plan.hosts.iter().map(|host| host.addresses.len()).sum::<usize>() <= MOST_ADDRESSES);
}

#[tokio::test]
async fn silence_is_waited_for_no_longer_than_is_set() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let millis = Duration::from_millis;
    let mut settings = settings(&[silent.local_addr().unwrap()]);
    // The bound of one reply, then that of a question.
    for patience in [
        Patience { reply: millis(50), ..settings.patience },
        Patience { question: millis(50), rounds: 1000, ..settings.patience },
    ] {
        settings.patience = patience;
        let resolver = Resolver::new(&settings).unwrap();
        let error = hosts(&resolver, "example.com").await.unwrap_err();
        assert_eq!(error.to_string(), "cannot find the MX of example.com: no name server answered in time");
        assert_eq!((error.category(), error.status().to_string().as_str()), ("timed_out", "4.4.3"));
    }
}

#[tokio::test]
async fn another_name_server_answers_for_one_that_does_not() {
    let named = example();
    let wrong = Named::start(&[Zone::broken("example.com")]).unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let mut settings = settings(&[silent.local_addr().unwrap(), wrong.address(), named.address()]);
    settings.patience.reply = Duration::from_secs(2);
    let resolver = Resolver::new(&settings).unwrap();
    // The silent one costs its time, SERVFAIL of the next says nothing of the third.
    let asked = question("itself.example.com", Kind::A);
    assert!(matches!(resolver.ask(asked).await.unwrap().content, Content::Addresses(_)));
    // From now on the one that answered is asked first.
    let mut datagram = [0; 512];
    while silent.recv(&mut datagram).is_ok() {}
    assert!(hosts(&resolver, "mail.example.com").await.is_ok());
    assert!(silent.recv(&mut datagram).is_err());
    assert_eq!(wrong.asked("mail.example.com", "MX").unwrap(), 0);
}

#[tokio::test]
async fn a_referral_is_no_absence() {
    // RFC 2308 §2.2: without an SOA and with NS records the name server only says who would know.
    let zone = Zone::new("example", "com.example. NS ns.com.example.\nns.com.example. A 192.0.2.53");
    let named = Named::start(&[zone]).unwrap();
    let error = hosts(&resolver(&[named.address()]), "mail.com.example").await.unwrap_err();
    assert_eq!((error.category(), error.is_permanent()), ("malformed", false));
}

#[tokio::test]
async fn records_are_kept_for_their_ttl() {
    let named =
        Named::start(&[Zone::new("example.com", "short 1 A 192.0.2.1\nlong 3600 A 192.0.2.2")]).unwrap();
    let resolver = resolver(&[named.address()]);
    let began = Instant::now();
    asked_once(&resolver, &named, "long.example.com").await;
    until_asked_again(&resolver, &named, "short.example.com").await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    // The TTL of an alias counts as well (RFC 1034 §3.6.2), and names are one in any case.
    asked_once(&resolver, &named, "long.example.com").await;
}

#[tokio::test]
async fn an_absence_is_kept_as_long_as_the_minimum_of_the_soa() {
    // RFC 2308 §5: not as long as the SOA itself, which is an hour in both zones.
    let zones = [
        Zone::new("long.example", "x A 192.0.2.1"),
        Zone::new("short.example", "x A 192.0.2.1").with_minimum(1),
    ];
    let named = Named::start(&zones).unwrap();
    let resolver = resolver(&[named.address()]);
    for absent in ["gone", "ns-of-test"] {
        // NXDOMAIN, then no record of this type
        asked_once(&resolver, &named, &format!("{absent}.long.example")).await;
        until_asked_again(&resolver, &named, &format!("{absent}.short.example")).await;
        asked_once(&resolver, &named, &format!("{absent}.long.example")).await;
    }
}

#[tokio::test]
async fn a_failure_is_kept_but_not_for_long() {
    // RFC 9520 §3.2
    let named = Named::start(&[Zone::broken("broken.example")]).unwrap();
    let cache = CacheBounds { failure_ttl: Duration::from_secs(1), ..CacheBounds::default() };
    let resolver = Resolver::new(&Settings { cache, ..settings(&[named.address()]) }).unwrap();
    until_asked_again(&resolver, &named, "host.broken.example").await;
    let failure = resolver.ask(question("host.broken.example", Kind::Aaaa)).await.unwrap_err();
    assert_eq!(failure.cause, Cause::ServerFailed);
}

/// Asks for the AAAA of a name many times; the name server hears of it once.
async fn asked_once(resolver: &Resolver, named: &Named, name: &str) {
    for _ in 0..50 {
        let _ = resolver.ask(question(name, Kind::Aaaa)).await;
    }
    let asked = named.asked(name, "AAAA").unwrap();
    assert!((1..=1 + REPEATED).contains(&asked), "{asked}\n{}", named.log());
}

/// Asks until the name server hears of it again: not before a second is over, and well before an hour.
async fn until_asked_again(resolver: &Resolver, named: &Named, name: &str) {
    let began = Instant::now();
    let kind = if name.starts_with("short.") { Kind::A } else { Kind::Aaaa };
    let _ = resolver.ask(question(name, kind)).await;
    let before = named.asked(name, &kind.to_string()).unwrap();
    while named.asked(name, &kind.to_string()).unwrap() <= before + REPEATED {
        assert!(began.elapsed() < SOON, "{}", named.log());
        let asked = Instant::now();
        let _ = resolver.ask(question(name, kind)).await;
        // One question every second: what is kept costs none.
        if asked.elapsed() < Duration::from_millis(20) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{name} was not kept");
}
