//! Command lines: by the grammar of RFC 5321, 1870, 3030, 3461, 6152 and 6531, and mutilated ones.

use rand::{Rng as _, rngs::StdRng};

use crate::mutilate::{mutilated, one_of};

/// A line without its CRLF, and whether it is by the grammar and of a command that is offered.
pub(crate) fn line(random: &mut StdRng) -> (Vec<u8>, bool) {
    let (text, is_good) = match random.random_range(0..20) {
        0..8 => (mail(random), true),
        8..16 => (rcpt(random), true),
        16..19 => (other(random), true),
        _ => (unoffered(random), false),
    };
    if random.random_bool(0.06) {
        return (nearly_right(random), false);
    }
    if random.random_bool(0.4) {
        return (in_any_case(random, &text).into_bytes(), is_good);
    }
    (mutilated(random, text.into_bytes(), PIECES), false)
}

const PIECES: &[&[u8]] = &[
    b" ",
    b"  ",
    b"\t",
    b"\"",
    b"\\",
    b"@",
    b":",
    b",",
    b"<",
    b">",
    b".",
    b"..",
    b"=",
    b"+",
    b"+2b",
    b"+3D",
    b";",
    b"[",
    b"]",
    b"-",
    b"_",
    b"\0",
    b"\x7f",
    b"\r",
    b"\xff",
    "ü".as_bytes(),
    b"\"\"",
    b"<>",
    b"@a:",
    b"@a,@b:",
    b"[127.0.0.1]",
    b"[IPv6:::1]",
    b" SIZE=",
    b" SIZE=18446744073709551615",
    b" SIZE=99999999999999999999",
    b" SMTPUTF8",
    b" SMTPUTF8=1",
    b" BODY=7BIT",
    b" BODY=",
    b" NOTIFY=NEVER",
    b",SUCCESS",
    b",NEVER",
    b" ORCPT=",
    b" ORCPT=rfc822;a+C3+B6@b",
    b" ENVID=",
    b" RET=FULL",
    b" HOLDFOR=5",
    b" X=y",
    b" AUTH=<>",
    b" LAST",
    b"postmaster",
    b"0",
    b"llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll", // 68
];

fn mail(random: &mut StdRng) -> String {
    let utf8 = random.random_bool(0.2);
    let path = if random.random_bool(0.15) { "<>".to_owned() } else { path(random, utf8) };
    let mut parameters = Vec::new();
    if random.random_bool(0.4) {
        let digits = random.random_range(1..=19);
        parameters.push(format!(
            "SIZE={}",
            random.random::<u64>().to_string().chars().take(digits).collect::<String>()
        ));
    }
    if random.random_bool(0.3) {
        parameters.push(format!("BODY={}", one_of(random, &["7BIT", "8BITMIME", "BINARYMIME"])));
    }
    if utf8 || random.random_bool(0.1) {
        parameters.push("SMTPUTF8".to_owned());
    }
    if random.random_bool(0.2) {
        parameters.push(format!("RET={}", one_of(random, &["FULL", "HDRS"])));
    }
    if random.random_bool(0.2) {
        parameters.push(format!("ENVID={}", xtext(random)));
    }
    with(random, format!("MAIL FROM:{path}"), parameters)
}

fn rcpt(random: &mut StdRng) -> String {
    let path = if random.random_bool(0.05) { "<Postmaster>".to_owned() } else { path(random, true) };
    let mut parameters = Vec::new();
    if random.random_bool(0.4) {
        let notify = ["NEVER", "SUCCESS", "FAILURE", "DELAY", "SUCCESS,FAILURE", "DELAY,FAILURE,SUCCESS"];
        parameters.push(format!("NOTIFY={}", one_of(random, &notify)));
    }
    if random.random_bool(0.3) {
        let kind = one_of(random, &["rfc822", "rfc822", "rfc822", "RFC822", "utf-8", "X400"]);
        parameters.push(format!(
            "ORCPT={kind};{}",
            xtext(random).replace('+', if kind == "utf-8" { "-" } else { "+" })
        ));
    }
    with(random, format!("RCPT TO:{path}"), parameters)
}

/// A command with its parameters, in any order.
fn with(random: &mut StdRng, mut command: String, mut parameters: Vec<String>) -> String {
    while !parameters.is_empty() {
        let next = parameters.swap_remove(random.random_range(0..parameters.len()));
        command.push(' ');
        command.push_str(&next);
    }
    command
}

fn other(random: &mut StdRng) -> String {
    match random.random_range(0..6) {
        0 => format!("{} {}", one_of(random, &["EHLO", "HELO"]), domain(random, false)),
        1 => format!("BDAT {}{}", random.random_range(0..3000), one_of(random, &["", " LAST"])),
        2 => format!("VRFY {}", one_of(random, &["a", "postmaster", "a@b", "Some One"])),
        3 => format!("NOOP{}", one_of(random, &["", " x", " \"a b\""])),
        4 => format!("HELP{}", one_of(random, &["", " MAIL"])),
        _ => one_of(random, &["DATA", "RSET", "QUIT", "STARTTLS"]).to_owned(),
    }
}

fn unoffered(random: &mut StdRng) -> String {
    let commands = [
        "EXPN list",
        "ETRN @a.example",
        "ATRN a.example,b.example",
        "AUTH PLAIN AGEAYg==",
        "BURL imap://a LAST",
        "LHLO a",
        "TURN",
        "XCLIENT",
        "MAIL FROM:<a@b> HOLDFOR=5",
        "MAIL FROM:<a@b> MT-PRIORITY=3",
        "MAIL FROM:<a@b> REQUIRETLS",
        "RCPT TO:<a@b> RRVS=2014-04-03T23:01:00Z",
    ];
    one_of(random, &commands).to_owned()
}

/// What mutilation seldom comes to: each beyond one bound, or against one rule.
fn nearly_right(random: &mut StdRng) -> Vec<u8> {
    let path = path(random, false);
    match random.random_range(0..17) {
        0 => one_of(random, &["RCPT TO:<>", " MAIL FROM:<>", "  QUIT"]).to_owned(),
        1 => format!("MAIL FROM:<{}>", one_of(random, &["postmaster", "Postmaster", "\"postmaster\""])),
        2 => format!("RCPT TO:<{}@{}>", "l".repeat(random.random_range(60..70)), domain(random, false)),
        3 => format!(
            "MAIL FROM:<{}@{}>",
            local(random, false),
            vec!["d".repeat(60); random.random_range(2..6)].join(".")
        ),
        4 => format!("RCPT TO:<{}:a@b>", vec!["@hop.example"; random.random_range(15..25)].join(",")),
        5 => format!("RCPT TO:{path} NOTIFY=NEVER,{}", one_of(random, &["SUCCESS", "DELAY", "never"])),
        15 => format!("RCPT TO:{path} NOTIFY=DELAY, {}", one_of(random, &["SUCCESS", "FAILURE"])),
        6 => format!("MAIL FROM:{path} ENVID={}", "e".repeat(random.random_range(95..105))),
        7 => format!("MAIL FROM:{path} ENVID={}", "+2B".repeat(random.random_range(30..36))),
        8 => format!(
            "BDAT {}{}",
            random.random_range(1_000_000_000_u64..u64::MAX),
            one_of(random, &["", " LAST"])
        ),
        9 => format!("RCPT TO:{path} ORCPT=rfc822;{}", "o".repeat(random.random_range(240..510))),
        10 => format!(
            "MAIL FROM:{path} SIZE={}",
            one_of(
                random,
                &[
                    "18446744073709551614",
                    "18446744073709551615",
                    "18446744073709551616",
                    "99999999999999999999"
                ]
            )
        ),
        11 => format!("VRFY {}", one_of(random, &["\"\"", &"v".repeat(300), "\"a b\" c"])),
        12 => format!("{} {}\t", one_of(random, &["EHLO", "HELO", "ehlo"]), domain(random, false)),
        13 => format!(
            "RCPT TO:{path} ORCPT=rfc822;{}@b",
            one_of(random, &["j+C3+B6rg", "+E2+82+AC", "+FF", "+c3+b6"])
        ),
        14 => format!("NOOP {}", "n".repeat(random.random_range(1030..1060))),
        _ => {
            let lines = [
                "MAIL FROM:\t<>",
                "RCPT TO: \t <a@b>",
                "MAIL \tFROM:<>",
                "EHLO  c",
                "HELO\tc",
                "BDAT\t5",
                "VRFY  \t a",
            ];
            one_of(random, &lines).to_owned()
        }
    }
    .into_bytes()
}

fn path(random: &mut StdRng, utf8: bool) -> String {
    let route = match random.random_range(0..12) {
        0 => format!("@{}:", domain(random, false)),
        1 => format!("@{},@{}:", domain(random, false), domain(random, false)),
        _ => String::new(),
    };
    let path = format!("<{route}{}@{}>", local(random, utf8), domain(random, utf8));
    // RFC 5321 §4.5.3.1.3
    if path.len() <= 256 { path } else { "<a@b>".to_owned() }
}

fn local(random: &mut StdRng, utf8: bool) -> String {
    if random.random_bool(0.2) {
        let parts = [
            "a",
            " ",
            ".",
            "..",
            "@",
            "<",
            ">",
            ",",
            ":",
            "\\\"",
            "\\\\",
            "\\a",
            "\\ ",
            "(",
            "[",
            if utf8 { "ö" } else { "o" },
        ];
        let count = random.random_range(0..6);
        let inner: String = (0..count).map(|_| one_of(random, &parts)).collect();
        return format!("\"{inner}\"");
    }
    let atoms = [
        "a",
        "B",
        "user",
        "x+y",
        "o'k",
        "!#$%&*/=?^_`{|}~",
        "-",
        "0",
        if utf8 { "jörg" } else { "jorg" },
        &"l".repeat(50),
    ];
    let first = one_of(random, &atoms).to_owned();
    if random.random_bool(0.3) { format!("{first}.{}", one_of(random, &["b", "c-d", "7"])) } else { first }
}

fn domain(random: &mut StdRng, utf8: bool) -> String {
    match random.random_range(0..10) {
        0 => one_of(random, &["[192.0.2.1]", "[IPv6:2001:db8::1]", "[ipv6:::ffff:192.0.2.1]"]).to_owned(),
        1 if utf8 => one_of(random, &["bücher.example", "例え.jp", "MÜNCHEN.example"]).to_owned(),
        _ => {
            let long = "d".repeat(63);
            let labels = ["a", "Example", "x-y", "1", "xn--bcher-kva", "mail", long.as_str()];
            let count = random.random_range(1..4);
            (0..count).map(|_| one_of(random, &labels)).collect::<Vec<_>>().join(".")
        }
    }
}

/// xtext of printable characters (RFC 3461 §4), short enough for any parameter.
fn xtext(random: &mut StdRng) -> String {
    let count = random.random_range(1..8);
    (0..count)
        .map(|_| {
            one_of(random, &["a", "B@", ".", "+20", "+2B", "+3D", "q-", "<", "x".repeat(9).as_str()])
                .to_owned()
        })
        .collect()
}

/// Verbs and keywords in any case: what stands for itself (an address, a value of ENVID or ORCPT) keeps its own.
fn in_any_case(random: &mut StdRng, text: &str) -> String {
    let cased = |random: &mut StdRng, word: &str| match random.random_range(0..3) {
        0 => word.to_ascii_lowercase(),
        1 => word.to_owned(),
        _ => word
            .chars()
            .map(|c| if random.random() { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() })
            .collect(),
    };
    let (verb, rest) = text.split_once(' ').map_or((text, None), |(verb, rest)| (verb, Some(rest)));
    let verb = cased(random, verb);
    match rest
        .map(|rest| rest.split_once(':').filter(|(keyword, _)| matches!(*keyword, "FROM" | "TO")).ok_or(rest))
    {
        None => verb,
        Some(Err(rest)) => format!("{verb} {rest}"),
        Some(Ok((keyword, rest))) => format!("{verb} {}:{rest}", cased(random, keyword)),
    }
}
