//! Records that a name server made from a wildcard, and the proof that it was allowed to (RFC 4035 §5.3.4). Pure.
//!
//! hickory 0.26.3 finds no proof by NSEC where the name is one label below the wildcard's parent (its pull request 3812 says so); NSEC3 and deeper
//! names it proves itself.

use hickory_resolver::proto::{
    dnssec::{
        Proof,
        rdata::{DNSSECRData, NSEC, RRSIG},
    },
    rr::{Name, RData, Record},
};

/// Whether the signature over records of this name says that they come from a wildcard.
pub(super) fn is_expanded(name: &Name, answers: &[Record]) -> bool {
    signatures(name, answers).any(|(_, rrsig)| rrsig.input().num_labels < name.num_labels())
}

/// Whether there is any validated record of a denial.
pub(super) fn has_denial(authorities: &[Record]) -> bool {
    authorities.iter().any(|record| {
        let denies = matches!(&record.data, RData::DNSSEC(DNSSECRData::NSEC(_) | DNSSECRData::NSEC3(_)));
        denies && record.proof == Proof::Secure
    })
}

/// Whether validated NSEC records prove that no name is closer to this one than the wildcard that its records come from.
pub(super) fn is_proven(name: &Name, answers: &[Record], authorities: &[Record]) -> bool {
    // Which signature was verified is told by its proof; of several, the one with the fewest labels asks for most.
    let verified = signatures(name, answers).filter(|(record, _)| record.proof == Proof::Secure);
    let Some(rrsig) = verified.map(|(_, rrsig)| rrsig).min_by_key(|rrsig| rrsig.input().num_labels) else {
        return false;
    };
    let input = rrsig.input();
    // RFC 5155 §1.3 calls it the next closer name: one label longer than the parent of the wildcard.
    let next_closer = name.trim_to(usize::from(input.num_labels) + 1);
    authorities.iter().any(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::NSEC(nsec)) => {
            record.proof == Proof::Secure
                && input.signer_name.zone_of(&record.name)
                && signatures(&record.name, authorities)
                    .any(|(_, rrsig)| rrsig.input().signer_name == input.signer_name)
                && covers(&record.name, nsec, &next_closer, &input.signer_name)
        }
        _ => false,
    })
}

/// Whether no name of the zone is `name` or below it.
fn covers(owner: &Name, nsec: &NSEC, name: &Name, zone: &Name) -> bool {
    let next = nsec.next_domain_name();
    // RFC 6840 §4.1: the parent's record at a delegation says nothing of what is below.
    if nsec.is_ancestor_delegation() && owner.zone_of(name) {
        return false;
    }
    // The last of the zone points back to its apex. A next name below this one shows that this one exists, empty.
    owner < name && (next == zone || (name < next && !name.zone_of(next)))
}

fn signatures<'a>(name: &Name, records: &'a [Record]) -> impl Iterator<Item = (&'a Record, &'a RRSIG)> {
    records.iter().filter(move |record| record.name == *name).filter_map(|record| match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(rrsig)) => Some((record, rrsig)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::RecordType;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn a_denial_covers_what_lies_between_two_names_of_the_zone() {
        let zone = name("example.");
        for (owner, next, asked, covered) in [
            ("*.w.example.", "x.example.", "a.w.example.", true),
            ("*.w.example.", "example.", "a.w.example.", true), // the last one
            ("b.w.example.", "x.example.", "a.w.example.", false), // begins behind it
            ("a.w.example.", "x.example.", "a.w.example.", false), // is it
            ("*.w.example.", "0.example.", "a.w.example.", false), // ends before it
            ("*.w.example.", "b.a.w.example.", "a.w.example.", false), // shows that it exists
        ] {
            let nsec = NSEC::new(name(next), [RecordType::A]);
            assert_eq!(covers(&name(owner), &nsec, &name(asked), &zone), covered, "{owner} {next} {asked}");
        }
        let delegation = NSEC::new(name("x.example."), [RecordType::NS]);
        assert!(!covers(&name("w.example."), &delegation, &name("a.w.example."), &zone));
    }
}
