//! Relay control: who may send to domains that are not ours. A truth table, written out. Pure.

use std::fmt;

use ipnet::IpNet;
use posthouse_config::{AddressTrust, RelayAuthentication, RelayControl};
use serde::Serialize;

use crate::{
    client::{AddressSource, Authentication, Client, Source},
    router::Router,
};

/// Whether a client may relay, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RelayPermission {
    /// It may.
    Granted(Grant),
    /// It may not.
    Denied(Denial),
}

/// Why mail may be relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Grant {
    /// The client's address is in this network.
    Network(IpNet),
    /// The client has authenticated.
    Login,
    /// Both, as is asked for.
    NetworkAndLogin(IpNet),
    /// A domain's owner sends it on: it was given for a group or an alias.
    Expansion,
    /// The gateway's own notification.
    Own,
    /// It was accepted before.
    Accepted,
}

/// Why mail may not be relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Denial {
    /// The gateway has no relayControl: nobody relays.
    NoRelayControl,
    /// The client's authentication failed: final for the session.
    AuthenticationFailed,
    /// The client's address is not known.
    AddressUnknown,
    /// The address that the node sees may not be the client's own.
    AddressNotTrusted,
    /// The client's address is in no network that may relay.
    AddressNotInNetworks,
    /// No network may relay, and the client has not authenticated.
    NoNetworks,
    /// The client has to authenticate; its address, where that is asked for, is right.
    AuthenticationRequired,
}

impl RelayPermission {
    /// Whether it may.
    #[must_use]
    pub fn is_granted(self) -> bool {
        matches!(self, Self::Granted(_))
    }
}

impl Router {
    /// Whether mail of this source may be relayed.
    #[must_use]
    pub fn may_relay(&self, source: Source<'_>) -> RelayPermission {
        match source {
            Source::Client(client) => permission(self.snapshot().gateway.relay_control.as_ref(), client),
            Source::Gateway => RelayPermission::Granted(Grant::Own),
            Source::Queue { .. } => RelayPermission::Granted(Grant::Accepted),
        }
    }

    /// Whether the client's address is in a network of relayControl and believed: its mail is exempt from sender checks, and its address hidden in
    /// Received. This alone lets nobody relay.
    #[must_use]
    pub fn is_own_network(&self, client: &Client) -> bool {
        let relay_control = self.snapshot().gateway.relay_control.as_ref();
        relay_control.is_some_and(|relay_control| network_of(relay_control, client).is_ok())
    }
}

fn permission(relay_control: Option<&RelayControl>, client: &Client) -> RelayPermission {
    use RelayPermission::{Denied, Granted};

    let Some(relay_control) = relay_control else { return Denied(Denial::NoRelayControl) };
    let is_authenticated = match client.authentication {
        // no silent way down from a bad password to a good address
        Authentication::Failed => return Denied(Denial::AuthenticationFailed),
        Authentication::As(_) => true,
        Authentication::None => false,
    };
    let network = network_of(relay_control, client);
    match relay_control.authentication {
        RelayAuthentication::Disabled => {
            network.map_or_else(Denied, |network| Granted(Grant::Network(network)))
        }
        RelayAuthentication::Optional => match network {
            Ok(network) => Granted(Grant::Network(network)),
            Err(_) if is_authenticated => Granted(Grant::Login),
            Err(denial) => Denied(denial),
        },
        RelayAuthentication::Required => match network {
            // no networks are named: the login is all that is asked for
            Err(Denial::NoNetworks) if is_authenticated => Granted(Grant::Login),
            Err(Denial::NoNetworks) => Denied(Denial::AuthenticationRequired),
            Err(denial) => Denied(denial),
            Ok(network) if is_authenticated => Granted(Grant::NetworkAndLogin(network)),
            Ok(_) => Denied(Denial::AuthenticationRequired),
        },
    }
}

/// The network that the client's address is in, if the address is believed.
fn network_of(relay_control: &RelayControl, client: &Client) -> Result<IpNet, Denial> {
    if relay_control.networks.is_empty() {
        return Err(Denial::NoNetworks);
    }
    let address = client.address.ok_or(Denial::AddressUnknown)?.to_canonical();
    let is_trusted = match relay_control.address_trust {
        AddressTrust::Always => true,
        AddressTrust::ProxyProtocol => client.address_source == AddressSource::ProxyProtocol,
    };
    if !is_trusted {
        return Err(Denial::AddressNotTrusted);
    }
    let network = relay_control.networks.iter().find(|network| network.contains(&address));
    network.copied().ok_or(Denial::AddressNotInNetworks)
}

impl fmt::Display for RelayPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(grant) => write!(f, "may relay: {grant}"),
            Self::Denied(denial) => write!(f, "may not relay: {denial}"),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => {
                write!(f, "the client's address is in {network} of relayControl.networks")
            }
            Self::Login => f.write_str("the client has authenticated"),
            Self::NetworkAndLogin(network) => {
                write!(
                    f,
                    "the client has authenticated and its address is in {network} of relayControl.networks"
                )
            }
            Self::Expansion => f.write_str("the owner of a domain sends it on, by a group or an alias"),
            Self::Own => f.write_str("it is the gateway's own"),
            Self::Accepted => f.write_str("it was accepted before"),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRelayControl => "the gateway has no relayControl, so nobody relays",
            Self::AuthenticationFailed => "the client's authentication failed, which is final for the session",
            Self::AddressUnknown => "the client's address is not known",
            Self::AddressNotTrusted => {
                "the client's address is not trusted: there is no PROXY protocol and relayControl.addressTrust is not Verified"
            }
            Self::AddressNotInNetworks => "the client's address is not in relayControl.networks",
            Self::NoNetworks => "relayControl.networks is empty and the client has not authenticated",
            Self::AuthenticationRequired => {
                "relayControl.authentication is Required and the client has not authenticated"
            }
        })
    }
}
