//! Endpoints from names: every address of every name, if it is of the right family, is an endpoint. Names are asked for
//! again and again.

use std::net::SocketAddr;
use std::rc::Weak;
use std::time::Duration;

use super::Cluster;
use crate::config::cluster::LookupFamily;
use crate::net::{Address, Outside};

/// The addresses of all targets, in the order of the file and of the answers; `None` if any question failed,
/// so that a name server in trouble does not empty a working cluster.
pub(super) async fn resolve_all(
    outside: &Outside,
    family: LookupFamily,
    targets: &[(String, u16)],
) -> Option<Vec<Address>> {
    let mut found = Vec::new();
    for (name, port) in targets {
        let addresses = match outside.net.resolve(name).await {
            Ok(addresses) => addresses,
            Err(error) => {
                tracing::warn!(name, %error, "cannot resolve; keeping the endpoints known so far");
                return None;
            }
        };
        for ip in family.select(&addresses) {
            let address = Address::Socket(SocketAddr::new(ip, *port));
            if !found.contains(&address) {
                found.push(address);
            }
        }
    }
    Some(found)
}

/// Asks every `interval` for as long as the cluster exists.
pub(super) async fn refresh(
    cluster: Weak<Cluster>,
    family: LookupFamily,
    targets: Vec<(String, u16)>,
    interval: Duration,
) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(outside) = cluster.upgrade().map(|cluster| cluster.outside.clone()) else { return };
        let Some(found) = resolve_all(&outside, family, &targets).await else { continue };
        let Some(cluster) = cluster.upgrade() else { return };
        for watch in cluster.set_endpoints(found) {
            cluster.tasks.borrow_mut().spawn_local(watch.run());
        }
    }
}
