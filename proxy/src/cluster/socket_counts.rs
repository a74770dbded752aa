//! For how many endpoints each of the cluster's transport sockets was chosen: `cluster.<name>.<match>.total_match_count`, and
//! `default` for those that no entry of `transport_socket_matches` matches.

use crate::config;
use crate::stats::{ClusterStats, Counter, Registry};

/// What Envoy calls the transport socket of endpoints that match nothing.
const DEFAULT: &str = "default";

/// Counts endpoints when they come to be known.
pub(super) struct SocketCounts {
    default: Counter,
    /// In the order of `transport_socket_matches`; entries of one name count together.
    matches: Vec<Counter>,
}

impl SocketCounts {
    pub(super) fn new(config: &config::Cluster, registry: &Registry) -> Self {
        let counter = |name: &str| ClusterStats::socket_matches(registry, config.stat_name(), name);
        let matches = config.socket_matches.iter().map(|matched| counter(&matched.name));
        Self { default: counter(DEFAULT), matches: matches.collect() }
    }

    /// An endpoint is there that is connected to in this way.
    pub(super) fn count(&self, matched: Option<usize>) {
        matched.and_then(|nth| self.matches.get(nth)).unwrap_or(&self.default).inc();
    }
}
