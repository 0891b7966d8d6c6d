//! Messages with every property at once along a whole chain: Postfix, the gateway, Exim; and, for what Debian's Postfix does not know, a client, the
//! gateway, servers that know it and one that does not. Each recipient has the result that a table says, and nothing else happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests say what they expect"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use posthouse_tests::gateway::Gateway;
use posthouse_tests::manifests::{GATEWAY, Manifests};
use posthouse_tests::peers::exim::Exim;
use posthouse_tests::peers::postfix::Postfix;
use posthouse_tests::process::free_address;
use posthouse_tests::sink::{Letter, Manner, Sink};
use posthouse_tests::smtp::Client;
use posthouse_tests::wait::SOON;

const FROM: &str = "jörg@src.test";

/// What is asked in MAIL besides BODY.
const WISHES: &str = "SMTPUTF8 RET=HDRS ENVID=QQ+2B314";

/// What a server knows that knows all.
const ALL: [&str; 8] =
    ["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "BINARYMIME", "ENHANCEDSTATUSCODES", "SIZE 0"];

const MEBIBYTES: usize = 30 * 1024 * 1024;

/// Domains, of which the last one is dead, and recipients of each.
const DOMAINS: usize = 5;
const USERS: usize = 20;

/// What a recipient's sender wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Default,
    Never,
    Success,
    FailureAndDelay,
}

/// One of the hundred.
#[derive(Clone, Debug)]
struct Recipient {
    address: String,
    domain: usize,
    wish: Wish,
}

impl Recipient {
    /// The path and the parameters of RCPT.
    fn command(&self) -> String {
        let Self { address, wish, .. } = self;
        let notify = match wish {
            Wish::Default => return format!("<{address}>"),
            Wish::Never => "NEVER",
            Wish::Success => "SUCCESS,FAILURE",
            Wish::FailureAndDelay => "FAILURE,DELAY",
        };
        format!("<{address}> NOTIFY={notify} ORCPT={}", self.original())
    }

    /// The original recipient, where one is given: another address.
    fn original(&self) -> String {
        let kind = if self.address.is_ascii() { "rfc822" } else { "utf-8" };
        format!("{kind};first-{}", self.address)
    }

    fn wants_failures(&self) -> bool {
        self.wish != Wish::Never
    }
}

/// Twenty of each domain, every second one beyond ASCII, with every wish.
fn recipients() -> Vec<Recipient> {
    let wishes = [Wish::Default, Wish::Never, Wish::Success, Wish::FailureAndDelay];
    let of = |domain: usize| {
        (0..USERS).map(move |user| {
            let name = if user % 2 == 0 { "user" } else { "почта" };
            Recipient { address: format!("{name}{user}@d{domain}.test"), domain, wish: wishes[user / 2 % 4] }
        })
    };
    (0..DOMAINS).flat_map(of).collect()
}

/// A header beyond ASCII, and above 30 MiB of these pieces.
fn content(encoding: &str, piece: impl Fn(&mut u32, &mut Vec<u8>)) -> Vec<u8> {
    let mut content = format!(
        "From: <{FROM}>\r\nTo: všichni:;\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@src.test>\r\n\
         Subject: žluťoučký kůň\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    .into_bytes();
    let mut state = 1_u32;
    while content.len() < MEBIBYTES {
        piece(&mut state, &mut content);
    }
    content
}

fn random(state: &mut u32) -> u8 {
    *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    u8::try_from(*state >> 24).unwrap()
}

/// Lines of any octets but NUL and line ends, often with dots where they stand out.
fn eight_bit(state: &mut u32, content: &mut Vec<u8>) {
    let dots = usize::from(random(state) % 3);
    content.extend(std::iter::repeat_n(b'.', dots));
    content.extend((0..70).map(|_| match random(state) {
        0 | b'\r' | b'\n' => b'.',
        octet => octet,
    }));
    content.extend(b"\r\n");
}

/// Any octets, and ends that are none.
fn binary(state: &mut u32, content: &mut Vec<u8>) {
    content.extend((0..997).map(|_| random(state)));
    content.extend(b"\n.\n\r.\r\r\n.\r\n\0");
}

/// Adds the rules; the last domain is led where nobody listens.
fn rules(manifests: &Manifests, home: &Sink, hosts: &[std::net::SocketAddr]) {
    // Nobody takes the mail of the dead domain: its time is over soon.
    let gateway = GATEWAY.replace("expireAfter: 1h", "expireAfter: 5s");
    assert_ne!(gateway, GATEWAY);
    manifests.write("gateway.yaml", &gateway).unwrap();
    manifests.relay("home", "{senders: [\"<>\"], recipients: [\"*@src.test\"]}", home.address()).unwrap();
    let dead = free_address().unwrap();
    for (domain, host) in hosts.iter().chain([&dead]).enumerate() {
        let matching = format!("{{recipients: [\"*@d{domain}.test\"]}}");
        manifests.relay(&format!("d{domain}"), &matching, *host).unwrap();
    }
}

/// What notifications say of each recipient: action, status, original recipient.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, Vec<(String, String, Option<String>)>>);

impl Told {
    /// Of a notification that came to its sender, as it may.
    fn hear(&mut self, letter: &Letter) {
        assert_eq!((letter.from.as_str(), &letter.to), ("", &vec![FROM.to_owned()]));
        self.read(&letter.content, "QQ+314");
    }

    /// `envid`: as it is told, with or without its encoding.
    fn read(&mut self, content: &[u8], envid: &str) {
        let text = String::from_utf8_lossy(content).into_owned();
        // RET=HDRS: what comes back is no body.
        assert!(content.len() < 1024 * 1024, "the whole message came back");
        assert!(
            text.to_lowercase().contains(&format!("original-envelope-id: {envid}").to_lowercase()),
            "{text}"
        );
        for block in text.split("\r\n\r\n") {
            let field = |name: &str| {
                let is_it = |line: &&str| line.to_lowercase().starts_with(&name.to_lowercase());
                block.lines().find(is_it).map(|line| line[name.len()..].trim().to_owned())
            };
            let Some(recipient) = field("Final-Recipient:") else { continue };
            let address = recipient.split_once(';').unwrap().1.trim().to_owned();
            let told = (field("Action:").unwrap(), field("Status:").unwrap(), field("Original-Recipient:"));
            self.0.entry(address).or_default().push(told);
        }
    }

    /// Hears what comes until this many recipients were told of.
    fn until(&mut self, recipients: usize, home: &Sink, gateway: &mut Gateway) {
        let end = Instant::now() + SOON;
        while self.0.len() < recipients {
            let letter = home.letter(end.saturating_duration_since(Instant::now())).unwrap_or_else(|error| {
                panic!(
                    "{error:#}: only {} of {recipients}: {self:?}\n{}",
                    self.0.len(),
                    gateway.operator().log_tail()
                )
            });
            self.hear(&letter);
        }
    }
}

/// Without the `\x{43F}` of an address beyond ASCII (RFC 6533 §3).
fn unescaped(text: &str) -> String {
    let mut parts = text.split("\\x{");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_once('}').unwrap();
        let letter = char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap();
        format!("{text}{letter}{rest}")
    })
}

/// Exactly these were told of once, in this way; each by the original recipient that was given.
fn expect_told<'r>(told: &Told, action: &str, expected: impl Iterator<Item = (&'r Recipient, &'r str)>) {
    let mut seen = BTreeSet::new();
    for (recipient, status) in expected {
        let found = told.0.get(&recipient.address).unwrap_or_else(|| panic!("nothing of {recipient:?}"));
        let [(how, what, original)] = found.as_slice() else { panic!("{recipient:?}: {found:?}") };
        assert_eq!(how, action, "{recipient:?}");
        assert!(what.starts_with(status), "{recipient:?}: {what}");
        if recipient.wish != Wish::Default {
            let original = original.as_deref().unwrap_or_default().replace("; ", ";");
            assert_eq!(unescaped(&original), recipient.original(), "{recipient:?}");
        }
        seen.insert(&recipient.address);
    }
    assert_eq!(told.0.keys().collect::<BTreeSet<_>>(), seen, "nobody else was told of");
}

#[test]
fn what_debian_speaks_comes_through_postfix_and_the_gateway_to_exim_for_each_of_a_hundred_recipients() {
    let mut exim = Exim::start("").unwrap();
    let home = Sink::serve(Manner::open().keywords(&ALL)).unwrap();
    let manifests = Manifests::new().unwrap();
    rules(&manifests, &home, &[exim.address(); DOMAINS - 1]);
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let settings =
        "smtputf8_enable = yes\nmessage_size_limit = 0\ndefault_destination_recipient_limit = 1000\n";
    let postfix = Postfix::origin_with(gateway.smtp().unwrap(), settings).unwrap();
    let (all, content) = (recipients(), content("8bit", eight_bit));
    let commands: Vec<String> = all.iter().map(Recipient::command).collect();
    let mail = format!("<{FROM}> BODY=8BITMIME {WISHES}");
    let sent = Client::hello(postfix.address()).unwrap().send_with(&mail, &commands, &content).unwrap();
    assert_eq!(sent.code, 250, "{sent}");

    // Who is dead is told of by the gateway, those who want to hear of it.
    let (dead, alive): (Vec<&Recipient>, Vec<&Recipient>) =
        all.iter().partition(|recipient| recipient.domain == DOMAINS - 1);
    let failed: Vec<&Recipient> = dead.into_iter().filter(|recipient| recipient.wants_failures()).collect();
    let mut told = Told::default();
    told.until(failed.len(), &home, &mut gateway);
    gateway.until_drained(SOON).unwrap();
    assert!(home.arrived().is_empty(), "each was told of once");
    expect_told(&told, "failed", failed.into_iter().map(|recipient| (recipient, "4.4.")));

    // Everybody else has it at Exim, which tells of those whose success is asked for.
    let mailbox =
        exim.until_mailbox(2 * (DOMAINS - 1)).unwrap_or_else(|error| panic!("{error:#}\n{}", postfix.log()));
    let (letters, notifications): (Vec<_>, Vec<_>) =
        mailbox.into_iter().partition(|message| message.len() >= content.len());
    let mut arrived = Vec::new();
    for letter in letters {
        assert!(letter.ends_with(&content), "changed on its way");
        let head = String::from_utf8_lossy(&letter[..letter.len() - content.len()]).into_owned();
        let envelope = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let to = envelope.lines().find_map(|line| line.strip_prefix("Envelope-to: ")).unwrap();
        arrived.extend(to.split(',').map(|to| to.trim().to_owned()));
    }
    arrived.sort();
    let mut expected: Vec<String> = alive.iter().map(|recipient| recipient.address.clone()).collect();
    expected.sort();
    assert_eq!(arrived, expected, "each once");
    let mut told = Told::default();
    // Exim tells what it was given, encoded as it was.
    for notification in &notifications {
        told.read(notification, "QQ+2B314");
    }
    let delivered = alive.into_iter().filter(|recipient| recipient.wish == Wish::Success);
    expect_told(&told, "delivered", delivered.map(|recipient| (recipient, "2.")));
}

#[test]
fn binary_content_comes_through_the_gateway_for_each_of_a_hundred_recipients_whose_server_takes_it() {
    let exim = Exim::start("").unwrap();
    let home = Sink::serve(Manner::open().keywords(&ALL)).unwrap();
    let knows: Vec<Sink> =
        (0..DOMAINS - 2).map(|_| Sink::serve(Manner::open().keywords(&ALL)).unwrap()).collect();
    let manifests = Manifests::new().unwrap();
    let mut hosts: Vec<_> = knows.iter().map(Sink::address).collect();
    hosts.push(exim.address());
    rules(&manifests, &home, &hosts);
    let mut gateway = Gateway::start(manifests.path()).unwrap();
    let (all, content) = (recipients(), content("binary", binary));
    let commands: Vec<String> = all.iter().map(Recipient::command).collect();
    let mail = format!("<{FROM}> BODY=BINARYMIME {WISHES}");
    let mut client = Client::hello(gateway.smtp().unwrap()).unwrap();
    let sent = client.send_chunks(&mail, &commands, &content, 1_000_003).unwrap();
    assert_eq!(sent.code, 250, "{sent}");

    for (domain, sink) in knows.iter().enumerate() {
        let letter =
            sink.letter(SOON).unwrap_or_else(|error| panic!("{error:#}\n{}", gateway.operator().log_tail()));
        assert!(letter.content.ends_with(&content), "changed on its way");
        let here = all.iter().filter(|recipient| recipient.domain == domain);
        let expected: BTreeSet<String> = here.clone().map(|recipient| recipient.address.clone()).collect();
        assert_eq!(letter.to.into_iter().collect::<BTreeSet<_>>(), expected);
        // What the sender wished is wished of it.
        let mail = sink.command("MAIL ").unwrap().line;
        assert!(mail.starts_with(&format!("MAIL FROM:<{FROM}>")), "{mail}");
        for wish in ["BODY=BINARYMIME", "SMTPUTF8", "RET=HDRS", "ENVID=QQ+2B314"] {
            assert!(mail.contains(wish), "no {wish} in {mail}");
        }
        for recipient in here.filter(|recipient| recipient.wish != Wish::Default) {
            let said = sink.command(&format!("RCPT TO:<{}> ", recipient.address)).unwrap().line;
            let words: BTreeSet<&str> = said.split(' ').collect();
            let asked = recipient.command();
            assert!(asked.split(' ').skip(1).all(|word| words.contains(word)), "{said} for {asked}");
        }
        assert_eq!(sink.command("DATA"), None);
    }
    // RFC 3030 §3, RFC 3463 §3.7: Exim does not know binary content, and nothing is converted; the dead domain's time is over.
    let failed: Vec<(&Recipient, &str)> = all
        .iter()
        .filter(|recipient| recipient.domain >= DOMAINS - 2 && recipient.wants_failures())
        .map(|recipient| (recipient, if recipient.domain == DOMAINS - 1 { "4.4." } else { "5.6." }))
        .collect();
    let mut told = Told::default();
    told.until(failed.len(), &home, &mut gateway);
    gateway.until_drained(SOON).unwrap();
    assert!(home.arrived().is_empty(), "each was told of once");
    expect_told(&told, "failed", failed.into_iter());
    assert!(knows.iter().all(|sink| sink.arrived().is_empty()), "nothing came twice");
}
