//! What a reply says: records at the end of its aliases, an alias to go on with, an absence, or no answer. Pure.

use std::{net::IpAddr, time::Duration};

use hickory_resolver::{
    net::{DnsError, NetError, NoRecords},
    proto::{
        dnssec::Proof,
        op::{DnsResponse, ResponseCode},
        rr::{Name, RData, Record, RecordType},
    },
};

use super::{Found, record_type, wildcard};
use crate::{
    answer::{Answer, Cause, Content, Exchanger, Kind, Target},
    name::HostName,
};

/// Records of one answer that are kept, the best ones of MX: a reply over TCP has room for thousands.
const MOST_RECORDS: usize = 128;

/// Aliases that are followed within a reply.
const MOST_ALIASES: usize = 8;

/// What a reply comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Records, or a proper absence.
    Found(Found),
    /// The name is an alias, and the reply does not say what of.
    Alias { target: Name, secure: bool, ttl: Duration },
}

/// Reads a reply. `validated`: hickory has put its proofs on the records.
pub(super) fn read(
    name: &Name,
    kind: Kind,
    response: Result<DnsResponse, NetError>,
    validated: bool,
) -> Result<Read, Cause> {
    match response {
        Ok(response) => match DnsError::from_response(response) {
            Ok(response) => present(name, kind, &response, validated),
            Err(error) => absent(name, &error.into(), validated),
        },
        Err(NetError::Dns(DnsError::Nsec { response, proof, .. })) => unproven(name, kind, &response, proof),
        Err(error) => absent(name, &error, validated),
    }
}

/// The records at the end of the aliases. What else the answer section has is nothing to us.
fn present(name: &Name, kind: Kind, response: &DnsResponse, validated: bool) -> Result<Read, Cause> {
    let answers = &response.answers;
    let (mut owner, mut chain) = (name.clone(), Vec::new());
    while let Some((record, target)) = alias(&owner, answers) {
        if chain.len() == MOST_ALIASES {
            return Err(Cause::Malformed);
        }
        chain.push(record);
        owner = target;
        if validated && wildcard::is_expanded(&owner, answers) {
            break; // hickory proves this for the first name only: asked for alone, this one is the first
        }
    }
    let asked_alone = validated && !chain.is_empty() && wildcard::is_expanded(&owner, answers);
    let records = if asked_alone { Vec::new() } else { of_type(&owner, kind, answers) };
    let used = || chain.iter().chain(&records);
    if used().any(|record| record.proof == Proof::Bogus) {
        return Err(Cause::Bogus);
    }
    // RFC 4035 §5.3.4. hickory lets a reply pass whose authority section has unsigned records only.
    let expanded = || used().any(|record| wildcard::is_expanded(&record.name, answers));
    if validated && expanded() && !wildcard::has_denial(&response.authorities) {
        return Err(Cause::Bogus);
    }
    let secure = used().all(|record| record.proof == Proof::Secure);
    let ttl = used().map(|record| Duration::from_secs(record.ttl.into())).min().unwrap_or_default();
    if records.is_empty() {
        return if chain.is_empty() {
            Err(Cause::Malformed)
        } else {
            Ok(Read::Alias { target: owner, secure, ttl })
        };
    }
    let answer = Answer { content: content(kind, &records), secure };
    Ok(Read::Found(Found { answer, ttl: Some(ttl) }))
}

/// A reply whose absence or expansion hickory found no proof for. Its records have been validated one by one.
fn unproven(name: &Name, kind: Kind, response: &DnsResponse, proof: Proof) -> Result<Read, Cause> {
    let answers = &response.answers;
    if proof == Proof::Insecure {
        // Proven to be beyond proof: too many iterations of NSEC3, or an opt-out.
        return match DnsError::from_response(response.clone()) {
            Ok(response) => Ok(without_proof(present(name, kind, &response, true)?)),
            Err(error) => Ok(without_proof(absent(name, &error.into(), true)?)),
        };
    }
    // hickory wants the denial for the name that was asked: behind an alias it is one for another name, so that is asked for alone.
    let is_proven = |record: &Record| {
        matches!(record.proof, Proof::Secure | Proof::Insecure)
            && (!wildcard::is_expanded(name, answers)
                || wildcard::is_proven(name, answers, &response.authorities))
    };
    if let Some((record, target)) = alias(name, answers).filter(|(record, _)| is_proven(record)) {
        let ttl = Duration::from_secs(record.ttl.into());
        return Ok(Read::Alias { target, secure: record.proof == Proof::Secure, ttl });
    }
    let records = of_type(name, kind, answers);
    let is_secure = |record: &&Record| record.proof == Proof::Secure;
    if !records.is_empty()
        && records.iter().all(is_secure)
        && wildcard::is_expanded(name, answers)
        && wildcard::is_proven(name, answers, &response.authorities)
    {
        return present(name, kind, response, true);
    }
    Err(Cause::Bogus)
}

fn without_proof(read: Read) -> Read {
    match read {
        Read::Found(Found { answer, ttl }) => {
            Read::Found(Found { answer: Answer { secure: false, ..answer }, ttl })
        }
        Read::Alias { target, ttl, .. } => Read::Alias { target, secure: false, ttl },
    }
}

fn alias<'a>(owner: &Name, records: &'a [Record]) -> Option<(&'a Record, Name)> {
    records.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == *owner => Some((record, target.0.clone())),
        _ => None,
    })
}

fn of_type<'a>(owner: &Name, kind: Kind, records: &'a [Record]) -> Vec<&'a Record> {
    let wanted = record_type(kind);
    records.iter().filter(|record| record.name == *owner && record.record_type() == wanted).collect()
}

fn content(kind: Kind, records: &[&Record]) -> Content {
    match kind {
        Kind::Mx => Content::Exchangers(exchangers(records)),
        Kind::A | Kind::Aaaa => Content::Addresses(addresses(records)),
    }
}

fn exchangers(records: &[&Record]) -> Vec<Exchanger> {
    let mut found: Vec<Exchanger> = records
        .iter()
        .filter_map(|record| match &record.data {
            RData::MX(mx) => Some(Exchanger { preference: mx.preference, target: target(&mx.exchange) }),
            _ => None,
        })
        .collect();
    found.sort_by_key(|exchanger| exchanger.preference);
    found.truncate(MOST_RECORDS);
    found
}

fn target(name: &Name) -> Target {
    if name.is_root() {
        return Target::Nobody;
    }
    let text = name.to_ascii();
    HostName::new(text.strip_suffix('.').unwrap_or(&text)).map_or(Target::Unusable, Target::Host)
}

fn addresses(records: &[&Record]) -> Vec<IpAddr> {
    let address = |record: &&Record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    records.iter().filter_map(address).take(MOST_RECORDS).collect()
}

/// An absence, or why there is no answer.
fn absent(name: &Name, error: &NetError, validated: bool) -> Result<Read, Cause> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => no_records(name, none, validated),
        NetError::Dns(DnsError::Nsec { .. } | DnsError::DnssecBogus) => Err(Cause::Bogus),
        NetError::Dns(DnsError::ResponseCode(ResponseCode::ServFail)) => Err(Cause::ServerFailed),
        NetError::Dns(DnsError::ResponseCode(_)) => Err(Cause::Refused),
        NetError::Timeout => Err(Cause::TimedOut),
        NetError::Io(_) | NetError::NoConnections | NetError::Busy => Err(Cause::Network),
        _ => Err(Cause::Malformed),
    }
}

fn no_records(name: &Name, none: &NoRecords, validated: bool) -> Result<Read, Cause> {
    match &none.soa {
        // Of another zone it says nothing of this name; hickory would let an unsigned one pass for a signed zone's.
        Some(soa) if !soa.name.zone_of(name) => return Err(Cause::Malformed),
        None if validated => return Err(Cause::Malformed),
        // A referral: this name server does not look further, so it knows nothing of the name.
        None if none.ns.is_some() => return Err(Cause::Malformed),
        _ => {}
    }
    // RFC 2308 §5: the lesser of the SOA's own TTL and its minimum
    let ttl = none.soa.as_ref().map(|soa| Duration::from_secs(soa.ttl.min(soa.data.minimum).into()));
    let authorities = none.authorities.as_deref().unwrap_or_default();
    let mut proofs = authorities.iter().filter(|record| record.record_type() != RecordType::RRSIG);
    let secure = !authorities.is_empty() && proofs.all(|record| record.proof == Proof::Secure);
    let content = match none.response_code {
        ResponseCode::NXDomain => Content::NoSuchName,
        ResponseCode::NoError => Content::NoRecords,
        _ => return Err(Cause::Malformed),
    };
    Ok(Read::Found(Found { answer: Answer { content, secure }, ttl }))
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::{
        op::{Message, OpCode, Query},
        rr::rdata::{CNAME, MX, NS, SOA},
    };

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn record(owner: &str, ttl: u32, data: RData) -> Record {
        Record::from_rdata(name(owner), ttl, data)
    }

    fn soa(owner: &str) -> Record {
        record(owner, 3600, RData::SOA(SOA::new(name("ns."), name("host."), 1, 1, 1, 1, 60)))
    }

    /// What a reply to the question for the MX of `mail.example.` says.
    fn said(
        code: ResponseCode,
        answers: &[Record],
        authorities: &[Record],
        validated: bool,
    ) -> Result<Read, Cause> {
        let asked = name("mail.example.");
        let mut message = Message::response(0, OpCode::Query);
        message.metadata.response_code = code;
        message.add_query(Query::query(asked.clone(), RecordType::MX));
        message.add_answers(answers.iter().cloned());
        message.add_authorities(authorities.iter().cloned());
        read(&asked, Kind::Mx, Ok(DnsResponse::from_message(message).unwrap()), validated)
    }

    fn absence(content: Content, ttl: Option<u64>) -> Read {
        let answer = Answer { content, secure: false };
        Read::Found(Found { answer, ttl: ttl.map(Duration::from_secs) })
    }

    #[test]
    fn an_absence_is_told_by_the_soa_of_a_zone_that_the_name_is_in() {
        // RFC 2308 §2, §5
        let (gone, here) = (ResponseCode::NXDomain, ResponseCode::NoError);
        assert_eq!(said(gone, &[], &[soa("example.")], true), Ok(absence(Content::NoSuchName, Some(60))));
        assert_eq!(said(here, &[], &[soa("mail.example.")], true), Ok(absence(Content::NoRecords, Some(60))));
        assert_eq!(said(here, &[], &[], false), Ok(absence(Content::NoRecords, None)));
        // An unsigned zone's SOA proves nothing of a signed one, and nothing at all proves nothing.
        assert_eq!(said(gone, &[], &[soa("elsewhere.")], true), Err(Cause::Malformed));
        assert_eq!(said(gone, &[], &[], true), Err(Cause::Malformed));
        let referral = record("example.", 60, RData::NS(NS(name("ns.example."))));
        assert_eq!(said(here, &[], &[referral], false), Err(Cause::Malformed));
    }

    #[test]
    fn codes_that_are_no_answer_are_causes() {
        for (code, cause) in [
            (ResponseCode::ServFail, Cause::ServerFailed),
            (ResponseCode::Refused, Cause::Refused),
            (ResponseCode::NotImp, Cause::Refused),
            (ResponseCode::FormErr, Cause::Refused),
            (ResponseCode::Unknown(77), Cause::Malformed),
        ] {
            assert_eq!(said(code, &[], &[], false), Err(cause), "{code}");
        }
    }

    #[test]
    fn aliases_are_followed_to_their_end_and_their_ttl_counts() {
        let alias = |from, to, ttl| record(from, ttl, RData::CNAME(CNAME(name(to))));
        let mx = |owner| record(owner, 300, RData::MX(MX::new(10, name("A.example."))));
        let code = ResponseCode::NoError;
        let chain = [alias("mail.example.", "b.example.", 20), alias("b.example.", "c.example.", 10)];
        let content = Content::Exchangers(vec![Exchanger {
            preference: 10,
            target: Target::Host("a.example".parse().unwrap()),
        }]);
        let answer = Answer { content, secure: false };
        let found = Found { answer, ttl: Some(Duration::from_secs(10)) };
        let with = |last: Record| [chain.to_vec(), vec![last]].concat();
        assert_eq!(said(code, &with(mx("c.example.")), &[], false), Ok(Read::Found(found)));
        let on = Read::Alias { target: name("c.example."), secure: false, ttl: Duration::from_secs(10) };
        assert_eq!(said(ResponseCode::NXDomain, &chain, &[soa("example.")], false), Ok(on));
        // Records of another name are not the answer, and a circle has no end.
        assert_eq!(said(code, &[mx("other.example.")], &[], false), Err(Cause::Malformed));
        let circle = alias("c.example.", "mail.example.", 10);
        assert_eq!(said(code, &with(circle), &[], false), Err(Cause::Malformed));
    }
}
