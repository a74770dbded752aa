//! HTTP/1 connections, in either direction.

use super::{cluster_prefix, last_words, scope};
use crate::stats::{Counter, Registry};

scope! {
    /// `http1.` for all clients together, `cluster.<name>.http1.` for each cluster.
    Http1Stats {
        /// A field was left out of a request because its name has an underscore.
        dropped_headers_with_underscores: Counter,
        /// A request was refused because a name in it has an underscore.
        requests_rejected_with_underscores_in_headers: Counter,
    }
}

/// Names under `http1.` that dashboards expect and that stay 0: this proxy has no such thing.
const HTTP1_ALWAYS_ZERO: &[&str] = &["metadata_not_supported_error", "response_flood"];

impl Http1Stats {
    /// The scope of all clients with HTTP/1.
    #[must_use]
    pub fn downstream(registry: &Registry) -> Self {
        Self::new(registry, "http1")
    }

    /// The scope of a cluster with HTTP/1.
    #[must_use]
    pub fn upstream(registry: &Registry, cluster: &str) -> Self {
        Self::new(registry, &format!("{}.http1", cluster_prefix(cluster)))
    }

    fn new(registry: &Registry, prefix: &str) -> Self {
        HTTP1_ALWAYS_ZERO.iter().for_each(|name| drop(Counter::named(registry, prefix, name)));
        Self::under(registry, prefix)
    }
}
