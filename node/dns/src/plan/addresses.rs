//! The addresses of one host, from its two answers, in the order to try them. Pure.

use std::net::IpAddr;

use rand::{Rng, seq::SliceRandom as _};

use crate::answer::{Answer, Content, Failure};

/// Which family of addresses comes first. They alternate, so that a network without one of them costs no more than every other try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstFamily {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Either, by chance, for each host.
    #[default]
    Either,
}

/// What was found of a host's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// At least one.
    Addresses {
        /// In the order to try them.
        addresses: Vec<IpAddr>,
        /// Whether DNSSEC proves both answers.
        secure: bool,
    },
    /// It has none.
    Nothing,
    /// It is not known whether it has any.
    Failed(Failure),
}

/// What the answers to the questions for A and AAAA say. One family is enough to go on with where the other has no answer.
pub fn looked(
    four: Result<&Answer, &Failure>,
    six: Result<&Answer, &Failure>,
    first: FirstFamily,
    rng: &mut (impl Rng + ?Sized),
) -> Looked {
    let secure = [four, six].iter().all(|answer| answer.is_ok_and(|answer| answer.secure));
    let failure = [four, six].into_iter().find_map(Result::err);
    let addresses = |answer: Result<&Answer, _>| match answer {
        Ok(Answer { content: Content::Addresses(addresses), .. }) => addresses.clone(),
        Ok(_) | Err(_) => Vec::new(),
    };
    let (mut four, mut six) = (addresses(four), addresses(six));
    // The cache would keep the name server's rotation still, and send all mail to one of them.
    four.shuffle(rng);
    six.shuffle(rng);
    let six_first = match first {
        FirstFamily::Ipv4 => false,
        FirstFamily::Ipv6 => true,
        FirstFamily::Either => rng.random(),
    };
    let addresses = if six_first { alternate(six, four) } else { alternate(four, six) };
    match failure {
        _ if !addresses.is_empty() => Looked::Addresses { addresses, secure },
        Some(failure) => Looked::Failed(failure.clone()),
        None => Looked::Nothing,
    }
}

fn alternate(first: Vec<IpAddr>, second: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::with_capacity(first.len() + second.len());
    while first.len() + second.len() > 0 {
        all.extend(first.next());
        all.extend(second.next());
    }
    all
}
