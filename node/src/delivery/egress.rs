//! What is not connected to, whatever names lead there: looked at when the address is known, right before the connection (a name that was good when it was
//! configured may lead elsewhere by now). Where a recipient's own domain leads there, its mail can go nowhere else (decision 0015). Pure.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use posthouse_model::EnhancedStatus;

/// Why an address is not connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It is nobody's: the system would take it for its own, or for many.
    #[error("{0} is no address of a host")]
    Nobody(IpAddr),
    /// A listener of this node: mail would go in circles.
    #[error("{0} is this gateway itself: the mail would go in circles")]
    Itself(SocketAddr),
    /// The gateway denies it to what others have configured.
    #[error("{address} is in {network}, which the gateway's egress.deniedNetworks has")]
    Denied {
        /// The address.
        address: IpAddr,
        /// The network.
        network: IpNet,
    },
}

impl Forbidden {
    /// The enhanced status of what waits for it. All of it can be corrected, so nothing bounces.
    #[must_use]
    pub const fn status(&self) -> EnhancedStatus {
        match self {
            // RFC 3463 §3.5: X.4.4, unable to route
            Self::Nobody(_) => EnhancedStatus::transient(4, 4),
            // RFC 3463 §3.5: X.4.6, routing loop detected
            Self::Itself(_) => EnhancedStatus::transient(4, 6),
            // RFC 3463 §3.8: X.7.1, not authorized
            Self::Denied { .. } => EnhancedStatus::transient(7, 1),
        }
    }

    /// For a metric's label.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Nobody(_) => "nobody",
            Self::Itself(_) => "itself",
            Self::Denied { .. } => "denied",
        }
    }
}

/// Whether an address may be connected to. `denied`: the networks that it must not be in, none where the gateway's owner has chosen it.
pub fn allow(address: SocketAddr, is_itself: bool, denied: &[IpNet]) -> Result<(), Forbidden> {
    let ip = address.ip().to_canonical();
    // The system connects 0.0.0.0 and :: to itself.
    let is_broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    if ip.is_unspecified() || ip.is_multicast() || is_broadcast {
        return Err(Forbidden::Nobody(ip));
    }
    if is_itself {
        return Err(Forbidden::Itself(address));
    }
    let also = translated(ip);
    let is_in = |network: &&IpNet| network.contains(&ip) || also.is_some_and(|also| network.contains(&also));
    match denied.iter().find(is_in) {
        Some(network) => Err(Forbidden::Denied { address: ip, network: *network }),
        None => Ok(()),
    }
}

/// Of these addresses of one host those that may be connected to, and why the others may not.
pub fn sift(addresses: Vec<IpAddr>, port: u16, denied: &[IpNet]) -> (Vec<IpAddr>, Vec<Forbidden>) {
    let (mut allowed, mut forbidden) = (Vec::with_capacity(addresses.len()), Vec::new());
    for address in addresses {
        match allow(SocketAddr::new(address, port), false, denied) {
            Ok(()) => allowed.push(address),
            Err(why) => forbidden.push(why),
        }
    }
    (allowed, forbidden)
}

/// The IPv4 address that a translator (RFC 6052 §2.1: `64:ff9b::/96`) makes of this one.
fn translated(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(six) = ip else { return None };
    let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = six.segments() else { return None };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> Vec<IpNet> {
        ["127.0.0.0/8", "::1/128", "169.254.0.0/16"].iter().map(|text| text.parse().unwrap()).collect()
    }

    fn said(address: &str, is_itself: bool, denied: &[IpNet]) -> String {
        allow(address.parse().unwrap(), is_itself, denied)
            .map_or_else(|why| why.to_string(), |()| "yes".into())
    }

    #[test]
    fn what_a_tenant_chose_leads_into_no_denied_network_in_whatever_form() {
        for address in [
            "127.0.0.1:25",
            "127.9.9.9:6379",
            "[::1]:25",
            "[::ffff:127.0.0.1]:25",
            "169.254.169.254:80",
            "[::ffff:169.254.169.254]:80",
            "[64:ff9b::a9fe:a9fe]:80",
        ] {
            assert!(said(address, false, &denied()).contains("deniedNetworks"), "{address}");
            assert_eq!(said(address, false, &[]), "yes", "{address}");
        }
        assert_eq!(said("192.0.2.1:25", false, &denied()), "yes");
    }

    #[test]
    fn of_a_hosts_addresses_the_good_ones_stay_in_their_order() {
        let addresses =
            ["192.0.2.2", "127.0.0.1", "2001:db8::1", "0.0.0.0", "::ffff:169.254.169.254", "192.0.2.1"]
                .map(|text| text.parse::<IpAddr>().unwrap());
        let (allowed, forbidden) = sift(addresses.to_vec(), 25, &denied());
        assert_eq!(allowed, [addresses[0], addresses[2], addresses[5]]);
        let categories: Vec<_> = forbidden.iter().map(Forbidden::category).collect();
        assert_eq!(categories, ["denied", "nobody", "denied"]);
        assert_eq!(sift(addresses.to_vec(), 25, &[]).1.len(), 1);
    }

    #[test]
    fn nobody_is_connected_to_whoever_asks() {
        for address in [
            "0.0.0.0:25",
            "[::]:25",
            "224.0.0.1:25",
            "[ff02::1]:25",
            "255.255.255.255:25",
            "[::ffff:0.0.0.0]:25",
        ] {
            assert!(said(address, false, &[]).contains("no address of a host"), "{address}");
        }
    }

    #[test]
    fn the_gateway_does_not_send_to_itself() {
        let why = allow("192.0.2.1:25".parse().unwrap(), true, &[]).unwrap_err();
        assert_eq!((why.status().to_string().as_str(), why.category()), ("4.4.6", "itself"));
    }
}
