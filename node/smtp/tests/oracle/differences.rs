//! Where we and smtp-proto do not say the same of a command line, and who is right. A refusal of ours counts only with its reason, and only if the
//! grammar of the RFC, written down here once more, agrees that there is such a reason.

use std::sync::LazyLock;

use regex::Regex;

use crate::{Case, Difference, requests::Meaning};

/// In their order: the first that fits counts.
pub(crate) const LISTED: &[Difference<Meaning>] = &[
    // What only we refuse.
    ("RFC 5321 §4.1.1: a command begins with its verb, not with white space", |case| {
        case.only_we_refuse("command not recognised") && case.text().starts_with([' ', '\t'])
    }),
    (
        "RFC 5321 §4.1.2, RFC 3629: a command has no control characters and no octets that are no UTF-8",
        |case| case.only_we_refuse("not a command line") && !is_text(case.text),
    ),
    ("RFC 5321 §2.3.8: only CRLF ends a line", |case| {
        case.only_we_refuse("lines end with CRLF") && case.text.contains(&b'\r')
    }),
    ("RFC 5321 §4.5.3.1.4, RFC 3461 §5.4: a command line has a bound", |case| {
        case.only_we_refuse("line too long") && case.text.len() > 1036
    }),
    ("RFC 5321 §4.1.1.4, §4.1.1.5, §4.1.1.10, RFC 3207 §4: these verbs have no argument", |case| {
        case.only_we_refuse("has no argument") && is(case, r"(?i)^(DATA|RSET|QUIT|STARTTLS)[ \t]+[^ \t]")
    }),
    ("RFC 5321 §4.1.1.1: one name follows EHLO, without what no name has", |case| {
        case.only_we_refuse("your name is missing or not a name")
            && !is(case, r"(?i)^(EHLO|HELO)[ \t]+[!#-'*+\-./0-:=?A-Z\[\]^_`{|}~]+[ \t]*$")
    }),
    ("RFC 5321 §4.2.4: known, and not offered here", |case| {
        (case.only_we_refuse("command not implemented") || case.only_we_refuse("command not recognised"))
            && is(case, r"(?i)^(EXPN|ETRN|ATRN|AUTH|BURL|LHLO)([ \t]|$)")
    }),
    ("RFC 5321 §4.1.1.2, §4.1.1.3: nothing stands between FROM or TO and the colon", |case| {
        (case.only_we_refuse("MAIL FROM:<address>") || case.only_we_refuse("RCPT TO:<address>"))
            && is(case, r"(?i)^(MAIL|RCPT)[ \t]+(FROM|TO)[^:A-Za-z0-9-] *:")
    }),
    ("RFC 5321 §4.1.1.3: only a sender can be nobody", |case| {
        case.only_we_refuse("bad recipient: the local part is not valid")
            && argument(case).is_some_and(|to| to.starts_with("<>"))
    }),
    ("RFC 5321 §4.1.1.3: only a recipient can be the postmaster of this host", |case| {
        case.only_we_refuse("bad sender: there is no @ after the local part")
            && argument_is(case, r#"(?i)^<"?postmaster"?>"#)
    }),
    ("RFC 5321 §4.1.2: a local part is a dot-string or a quoted string, an @ behind it", |case| {
        (case.only_we_refuse("the local part is not valid")
            || case.only_we_refuse("there is no @ after the local part"))
            && !argument_is(case, &format!("^<{ROUTE}{LOCAL}@"))
    }),
    ("RFC 5321 §4.5.3.1.1: a local part has 64 octets", |case| {
        case.only_we_refuse("the local part is longer than 64 octets")
            && argument(case)
                .is_some_and(|path| LONG_LOCAL.captures(&path).is_some_and(|found| found[1].len() > 64))
    }),
    ("RFC 1035 §2.3.4, RFC 5321 §4.5.3.1.2: a label has 63 octets, a domain 255", |case| {
        case.only_we_refuse("the domain is too long")
            && argument(case).is_some_and(|path| path.split(['@', ',', ':', '>']).any(is_long_domain))
    }),
    ("RFC 6531 §3.3, RFC 5891 §4: not everything beyond ASCII is a U-label", |case| {
        case.only_we_refuse("the domain is not valid") && argument_is(case, r"@[^@>]*[^\x00-\x7f]")
    }),
    ("RFC 5321 §4.1.2: a domain is labels of letters, digits and inner hyphens", |case| {
        case.only_we_refuse("the domain is not valid")
            && !argument_is(case, &format!("^<(@{DOMAIN}(,@{DOMAIN})*:)?{LOCAL}@{DOMAIN}[^.A-Za-z0-9-]"))
    }),
    ("RFC 5321 §4.1.2: a source route is domains, each with its @, and a colon", |case| {
        case.only_we_refuse("the source route is not valid")
            && !argument_is(case, &format!("^<@{DOMAIN}(,@{DOMAIN})*:"))
    }),
    ("RFC 5321 §4.1.2: nothing but the mailbox stands in the brackets", |case| {
        case.only_we_refuse("the path is not in angle brackets")
            && !argument_is(case, &format!("^<{ROUTE}{LOCAL}@{DOMAIN}>"))
    }),
    ("RFC 5321 §4.5.3.1.3: a path has 256 octets with its brackets", |case| {
        case.only_we_refuse("the path is longer than 256 octets")
            && path(case).is_some_and(|path| path.whole.len() > 256)
    }),
    ("RFC 5321 §4.1.2: a parameter is white space, keyword, and what there is behind `=`", |case| {
        case.only_we_refuse("malformed parameters")
            && path(case).is_some_and(|path| !PARAMETERS.is_match(&path.tail))
    }),
    ("RFC 5321 §4.1.1.11: a parameter that comes twice says two things", |case| {
        case.only_we_refuse("malformed parameters")
            && path(case).is_some_and(|path| has_doubled_keyword(&path.tail))
    }),
    ("RFC 5321 §4.1.1.11: this parameter is not offered here", |case| {
        case.only_we_refuse("555 ")
            && is(
                case,
                r"(?i)[ \t](BY|HOLDFOR|HOLDUNTIL|SOLICIT|TRANSID|MTRK|AUTH|MT-PRIORITY|RRVS)=|[ \t](REQUIRETLS|CONPERM|CONNEG)\b",
            )
    }),
    ("RFC 1870 §5: SIZE has 1 to 20 digits", |case| {
        case.only_we_refuse("SIZE=number") && is(case, r"(?i)[ \t]SIZE=[0-9]{21}")
    }),
    ("RFC 3461 §4.1: NEVER stands alone", |case| {
        case.only_we_refuse("NOTIFY is NEVER") && is(case, r"(?i)[ \t]NOTIFY=NEVER,")
    }),
    ("RFC 3461 §4, RFC 5321 §4.1.2: a value has no white space", |case| {
        case.only_we_refuse("NOTIFY is NEVER") && is(case, r"(?i)[ \t]NOTIFY=[^ \t]*,[ \t]")
    }),
    ("RFC 3461 §4, §4.4: ENVID is xtext of printable characters", |case| {
        case.only_we_refuse("ENVID is at most")
            && !is(case, &format!(r"(?i:[ \t]ENVID)={PRINTABLE_XTEXT}+([ \t]|$)"))
    }),
    ("RFC 3461 §4.4: ENVID has 100 characters", |case| {
        case.only_we_refuse("ENVID is at most") && is(case, r"(?i)[ \t]ENVID=[^ \t]{101}")
    }),
    ("RFC 3461 §4.2: the address of ORCPT is xtext without control characters", |case| {
        case.only_we_refuse("ORCPT is an address type")
            && !is(case, &format!(r"(?i:[ \t]ORCPT=[a-z0-9]+);{PRINTABLE_XTEXT}+([ \t]|$)"))
    }),
    ("RFC 6531 §3.5: beyond ASCII only by who said SMTPUTF8", |case| {
        case.only_we_refuse("the address needs SMTPUTF8")
            && !case.text.is_ascii()
            && !is(case, r"(?i)[ \t]SMTPUTF8([ \t]|$)")
    }),
    ("RFC 3030 §2: BDAT has one number, and perhaps LAST", |case| {
        case.only_we_refuse("BDAT octets") && !is(case, r"(?i)^BDAT[ \t]+[0-9]+([ \t]+LAST)?[ \t]*$")
    }),
    ("RFC 3030 §4.2: of a chunk that nobody can swallow nothing is read", |case| {
        case.only_we_refuse("larger than allowed") && is(case, r"(?i)^BDAT[ \t]+[0-9]{10}")
    }),
    // What only they refuse.
    ("RFC 5321 §4.1.3: an address literal is a domain; smtp-proto has none", |case| {
        (case.only_they_refuse("Invalid") || case.only_they_refuse("Syntax error"))
            && argument_is(case, r"^<.*@\[[^\]]+\][>:,]")
    }),
    ("RFC 5321 §4.1.2: a quoted string may be empty", |case| {
        case.only_they_refuse("Invalid") && argument_is(case, &format!(r#"^<{ROUTE}""@"#))
    }),
    ("RFC 5321 §4.1.1: white space before the brackets is tolerated, tabs and all", |case| {
        case.only_they_refuse("Syntax error")
            && is(case, r"^[A-Za-z]+[ \t]+[A-Za-z]+:[ \t]*\t[ \t]*<|^[A-Za-z]+[ \t]+\t[ \t]*[A-Za-z]+:")
    }),
    ("RFC 3461 §4.2, RFC 6533 §3: addresses have other types than rfc822", |case| {
        case.only_they_refuse("Invalid parameter: ORCPT")
            && path(case).is_some_and(|path| {
                OTHER_TYPE.captures(&path.tail).is_some_and(|found| !found[1].eq_ignore_ascii_case("rfc822"))
            })
    }),
    ("RFC 3461 §4.2: ORCPT has 500 characters", |case| {
        case.only_they_refuse("Invalid parameter: ORCPT") && is(case, r"(?i)[ \t]ORCPT=rfc822;[^ \t]{257}")
    }),
    ("RFC 1870 §5: 20 digits can say more than 64 bits can", |case| {
        case.only_they_refuse("Invalid parameter: SIZE") && is(case, r"(?i)[ \t]SIZE=[0-9]{20}([ \t]|$)")
    }),
    ("RFC 5321 §4.1.1: more white space than needed is tolerated", |case| {
        case.only_they_refuse("Syntax error")
            && is(case, r"(?i)^(EHLO|HELO|BDAT|VRFY)[ \t]{2}|^(BDAT|EHLO|HELO)\t")
    }),
    ("RFC 5321 §4.1.1.6: what VRFY asks for is not looked at, so it is not judged", |case| {
        case.only_they_refuse("Syntax error: VRFY") && is(case, r"(?i)^VRFY[ \t]+[^ \t]")
    }),
    // What both take, and understand differently.
    ("RFC 5321 §4.1.1: a tab is white space: it belongs to no name and to no value", |case| {
        case.both_take() && is(case, r"(?i)^(EHLO|HELO|BDAT).*\t|[ \t](ENVID|ORCPT)=[^ \t]*\t")
            || case.only_we_refuse("555 ") && is(case, r"(?i)[ \t](ENVID|ORCPT)=[^ \t]*\t")
    }),
    ("RFC 3461 §4, RFC 6533 §3: what xtext means in ORCPT is UTF-8, not ISO 8859-1", |case| {
        case.both_take() && is(case, r"(?i)[ \t]ORCPT=rfc822;[^ \t]*\+[89A-F]")
    }),
];

/// A dot-string or a quoted string (RFC 5321 §4.1.2, RFC 6531 §3.3).
const LOCAL: &str = r#"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u{a0}-\u{10ffff}]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u{a0}-\u{10ffff}]+)*|"(?:[ !#-\[\]-~\u{a0}-\u{10ffff}]|\\[ -~])*")"#;
/// A name or an address literal (RFC 5321 §4.1.2, §4.1.3).
const DOMAIN: &str = r"(?:[A-Za-z0-9\u{80}-\u{10ffff}]([A-Za-z0-9\u{80}-\u{10ffff}-]*[A-Za-z0-9\u{80}-\u{10ffff}])?(?:\.[A-Za-z0-9\u{80}-\u{10ffff}]([A-Za-z0-9\u{80}-\u{10ffff}-]*[A-Za-z0-9\u{80}-\u{10ffff}])?)*|\[[^\]]*\])";
/// A source route, if there is one (RFC 5321 §4.1.2); whatever is in it.
const ROUTE: &str = r"(?:@[^:>]*:)?";
/// xtext of printable characters (RFC 3461 §4, §4.4).
const PRINTABLE_XTEXT: &str = r"(?:[!-*,-<>-~]|\+(?:[2-6][0-9A-F]|7[0-9A-E]))";

/// RFC 5321 §4.1.2, RFC 6531 §3.3.
static PARAMETERS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:[ \t]+[A-Za-z0-9][A-Za-z0-9-]*(?:=[!-<>-~\u{80}-\u{10ffff}]+)?)*[ \t]*$").unwrap()
});

static LONG_LOCAL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!("^[ \t]*<{ROUTE}({LOCAL})")).unwrap());

static OTHER_TYPE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?i)[ \t]ORCPT=([!-:<-~]+);").unwrap());

static ARGUMENT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)^(?:MAIL|RCPT)[ \t]+(?:FROM|TO):(.*)$").unwrap());

static PATH: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!("^[ \t]*(?<whole><{ROUTE}{LOCAL}@[^>]*>|<>|<[^@>]*>)(?<tail>.*)$")).unwrap()
});

fn is(case: &Case<'_, Meaning>, pattern: &str) -> bool {
    Regex::new(pattern).unwrap().is_match(&case.text())
}

/// What follows `FROM:` or `TO:`.
fn argument(case: &Case<'_, Meaning>) -> Option<String> {
    Some(ARGUMENT.captures(&case.text())?[1].to_owned())
}

fn argument_is(case: &Case<'_, Meaning>, pattern: &str) -> bool {
    let pattern = Regex::new(pattern).unwrap();
    argument(case).is_some_and(|argument| pattern.is_match(argument.trim_start_matches([' ', '\t'])))
}

/// A path taken apart, and what follows it.
struct Path {
    whole: String,
    tail: String,
}

fn path(case: &Case<'_, Meaning>) -> Option<Path> {
    let argument = argument(case)?;
    let found = PATH.captures(&argument)?;
    let group = |name: &str| found.name(name).map_or_else(String::new, |group| group.as_str().to_owned());
    Some(Path { whole: group("whole"), tail: group("tail") })
}

fn is_text(line: &[u8]) -> bool {
    str::from_utf8(line).is_ok_and(|line| !line.chars().any(|c| c.is_control() && c != '\t'))
}

fn is_long_domain(domain: &str) -> bool {
    domain.len() > 255 || domain.split('.').any(|label| label.len() > 63)
}

fn has_doubled_keyword(tail: &str) -> bool {
    let mut keywords: Vec<_> = tail
        .split_ascii_whitespace()
        .map(|word| word.split('=').next().unwrap().to_ascii_uppercase())
        .collect();
    let count = keywords.len();
    keywords.sort();
    keywords.dedup();
    keywords.len() < count
}
