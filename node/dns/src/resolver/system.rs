//! What `resolv.conf` says. It reads that file.

use std::net::SocketAddr;

use hickory_resolver::{config::ResolverConfig, system_conf::read_system_conf};

use crate::{
    name::HostName,
    settings::{Cluster, SettingsError},
};

/// The port of name servers, which `resolv.conf` cannot name.
const PORT: u16 = 53;

/// The system's name servers, at least one.
pub(super) fn nameservers() -> Result<Vec<SocketAddr>, SettingsError> {
    let (config, _) = read_system_conf().map_err(|error| SettingsError::System(Box::new(error)))?;
    Ok(addresses(&config))
}

/// The cluster that the system is in.
pub(super) fn cluster() -> Option<Cluster> {
    cluster_of(&read_system_conf().ok()?.0)
}

fn addresses(config: &ResolverConfig) -> Vec<SocketAddr> {
    config.name_servers.iter().map(|server| SocketAddr::new(server.ip, PORT)).collect()
}

/// A kubelet writes `search NAMESPACE.svc.DOMAIN svc.DOMAIN DOMAIN`, and the machine's own list behind that.
fn cluster_of(config: &ResolverConfig) -> Option<Cluster> {
    let domain = config.search.iter().find_map(|entry| {
        let text = entry.to_ascii().to_ascii_lowercase();
        HostName::new(text.strip_prefix("svc.")?.trim_end_matches('.')).ok()
    })?;
    Some(Cluster { domain, nameservers: addresses(config) })
}

#[cfg(test)]
mod tests {
    use hickory_resolver::system_conf::parse_resolv_conf;

    use super::*;

    #[test]
    fn a_pod_is_told_its_cluster_and_a_machine_is_in_none() {
        let of = |text: &str| cluster_of(&parse_resolv_conf(text).unwrap().0);
        let pod = "search mail.svc.Cluster.local svc.Cluster.local Cluster.local corp.example\n\
                   nameserver 10.96.0.10\noptions ndots:5\n";
        let (domain, nameservers) =
            ("cluster.local".parse().unwrap(), vec!["10.96.0.10:53".parse().unwrap()]);
        assert_eq!(of(pod), Some(Cluster { domain, nameservers }));
        assert_eq!(of("search corp.example\nnameserver 10.0.0.1\n"), None);
    }
}
