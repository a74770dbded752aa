//! TLS that a listener passes on as it is: whose certificate its clients want to see then.

use finwait::config::Listener;
use finwait::config::cluster::ClusterName;
use finwait::config::filter_chain::{FilterChain, TransportProtocol};
use finwait::config::listener::Terminal;
use finwait::config::tcp_proxy::TcpClusters;

/// The clusters behind chains that pass TLS on as it is, with the name that a client asks for.
pub(super) fn passed_on(listeners: &[Listener]) -> Vec<(ClusterName, String)> {
    let mut passed = Vec::new();
    for chain in listeners.iter().flat_map(|listener| &listener.filter_chains.chains) {
        let Terminal::Tcp(tcp) = &chain.terminal else { continue };
        let wanted = server_name(chain);
        if chain.tls.is_some() || wanted.is_none() && chain.matches.transport != TransportProtocol::Tls {
            continue;
        }
        let clusters: Vec<&ClusterName> = match &tcp.clusters {
            TcpClusters::One(name) => vec![name],
            TcpClusters::Weighted(several) => several.iter().map(|(name, _)| name).collect(),
        };
        let name = wanted.unwrap_or_else(|| "example.com".into());
        passed.extend(clusters.into_iter().map(|cluster| (cluster.clone(), name.clone())));
    }
    passed
}

/// A name that a chain takes connections for.
pub(super) fn server_name<T>(chain: &FilterChain<T>) -> Option<String> {
    let name = chain.matches.server_names.first()?;
    Some(name.strip_prefix("*.").map_or(name.clone(), |domain| format!("www.{domain}")))
}
