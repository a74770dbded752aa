//! Caches of hosts that requests name.

use std::sync::Arc;

use super::{Counter, Registry, State, last_words, one_segment, scope};
use crate::stats::Derived;

scope! {
    /// `dns_cache.<name>.`: a cache of hosts.
    DnsCacheStats {
        /// The name server was queried, or a host that is an address was taken as it is.
        dns_query_attempt: Counter,
        /// A query failed.
        dns_query_failure: Counter,
        /// A query had a response, if only that there is no such name.
        dns_query_success: Counter,
        /// A query took longer than `dns_query_timeout`.
        dns_query_timeout: Counter,
        /// A request was refused: too many wait for a host.
        dns_rq_pending_overflow: Counter,
        /// A host was named that was not known.
        host_added: Counter,
        /// A host has other addresses, or its first.
        host_address_changed: Counter,
        /// A request was refused: too many hosts are known.
        host_overflow: Counter,
        /// A host was forgotten.
        host_removed: Counter,
        /// Hosts that are known.
        num_hosts: State,
    }
}

/// Names that dashboards expect and that stay 0: this proxy has no such thing.
const ALWAYS_ZERO: &[&str] = &["cache_load", "dns_address_filter_out"];

impl DnsCacheStats {
    /// The scope of a cache.
    #[must_use]
    pub fn new(registry: &Registry, name: &str) -> Self {
        let prefix = prefix(name);
        ALWAYS_ZERO.iter().for_each(|name| drop(Counter::named(registry, &prefix, name)));
        Self::under(registry, &prefix)
    }

    /// The gauge `circuit_breakers.<last>` is what `read` returns for `limit`, for as long as there is that limit.
    pub fn derive<T>(
        registry: &Registry,
        (name, last): (&str, &str),
        limit: &Arc<T>,
        read: impl Fn(&T) -> Derived + Send + Sync + 'static,
    ) where
        T: Send + Sync + 'static,
    {
        let limit = Arc::downgrade(limit);
        let name = format!("{}.circuit_breakers.{last}", prefix(name));
        registry.derive(name, move || limit.upgrade().map(|limit| read(&limit)));
    }
}

fn prefix(name: &str) -> String {
    format!("dns_cache.{}", one_segment(name))
}
