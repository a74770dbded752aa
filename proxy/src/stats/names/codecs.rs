//! The stats of codecs, which are listed once a first connection uses one of that kind, as in Envoy.

use std::sync::{Arc, OnceLock};

use super::{Http1Stats, Http2Stats};
use crate::stats::Registry;

/// The stats of the codecs of a cluster, or of all clients.
#[derive(Debug)]
pub struct CodecStats {
    registry: Arc<Registry>,
    /// `None` is all clients.
    cluster: Option<String>,
    http1: OnceLock<Http1Stats>,
    http2: OnceLock<Http2Stats>,
}

impl CodecStats {
    /// Of all clients. Those of HTTP/1 are there from the start: the admin interface speaks it.
    #[must_use]
    pub fn downstream(registry: &Arc<Registry>) -> Self {
        let stats = Self::new(registry, None);
        stats.http1();
        stats
    }

    /// Of a cluster.
    #[must_use]
    pub fn upstream(registry: &Arc<Registry>, cluster: &str) -> Self {
        Self::new(registry, Some(cluster.to_owned()))
    }

    fn new(registry: &Arc<Registry>, cluster: Option<String>) -> Self {
        Self { registry: Arc::clone(registry), cluster, http1: OnceLock::new(), http2: OnceLock::new() }
    }

    /// Of connections with HTTP/1; there is one.
    pub fn http1(&self) -> &Http1Stats {
        self.http1.get_or_init(|| match &self.cluster {
            None => Http1Stats::downstream(&self.registry),
            Some(cluster) => Http1Stats::upstream(&self.registry, cluster),
        })
    }

    /// Of connections with HTTP/2; there is one.
    pub fn http2(&self) -> &Http2Stats {
        self.http2.get_or_init(|| match &self.cluster {
            None => Http2Stats::downstream(&self.registry),
            Some(cluster) => Http2Stats::upstream(&self.registry, cluster),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_of_a_codec_are_listed_with_its_first_connection() {
        let registry = Arc::new(Registry::new());
        let (clients, cluster) = (CodecStats::downstream(&registry), CodecStats::upstream(&registry, "up"));
        let listed = || {
            let names = registry.snapshot().numbers.into_iter().map(|number| number.name);
            let prefixes = names.filter_map(|name| Some(name.rsplit_once('.')?.0.to_owned()));
            prefixes.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(listed(), ["http1"]);
        cluster.http1();
        assert_eq!(listed(), ["cluster.up.http1", "http1"]);
        clients.http2();
        cluster.http2();
        assert_eq!(listed(), ["cluster.up.http1", "cluster.up.http2", "http1", "http2"]);
    }
}
