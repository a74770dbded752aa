//! Network filters in front of the one that ends a chain.

use super::{last_words, one_segment, scope};
use crate::config::filter::RbacPrefixes;
use crate::stats::{Counter, Gauge, Registry};

scope! {
    /// `connection_limit.<stat_prefix>.`
    ConnectionLimitStats {
        /// Connections that are open.
        active_connections: Gauge,
        /// A connection was closed, because as many were open as may be.
        limited_connections: Counter,
    }
}

impl ConnectionLimitStats {
    /// The scope of a filter.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        Self::under(registry, &format!("connection_limit.{}", one_segment(stat_prefix)))
    }
}

scope! {
    /// `local_rate_limit.<stat_prefix>.`
    ConnectionRateStats {
        /// A connection was closed, because there was no token for it.
        rate_limited: Counter,
    }
}

impl ConnectionRateStats {
    /// The scope of a filter.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        Self::under(registry, &format!("local_rate_limit.{}", one_segment(stat_prefix)))
    }
}

/// `<stat_prefix>.rbac.`, and `http.<stat_prefix>.rbac.` of the HTTP filter.
#[derive(Clone, Debug)]
pub struct RbacStats {
    /// A connection or a request was let through.
    pub(crate) allowed: Counter,
    /// One was denied.
    pub(crate) denied: Counter,
    /// The shadow rules would have let one through.
    pub(crate) shadow_allowed: Counter,
    /// The shadow rules would have denied one.
    pub(crate) shadow_denied: Counter,
}

impl RbacStats {
    /// The scope of a network filter. `shadow_prefix` precedes the names of what its shadow rules count.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str, shadow_prefix: &str) -> Self {
        let prefix = format!("{}.rbac", one_segment(stat_prefix));
        let counter = |name: &str| Counter::named(registry, &prefix, name);
        Self {
            allowed: counter("allowed"),
            denied: counter("denied"),
            shadow_allowed: counter(&format!("{shadow_prefix}shadow_allowed")),
            shadow_denied: counter(&format!("{shadow_prefix}shadow_denied")),
        }
    }

    /// `http.<stat_prefix>.rbac.`: the scope of an HTTP filter. Its prefixes are parts of names of their own.
    #[must_use]
    pub fn of_requests(registry: &Registry, stat_prefix: &str, prefixes: &RbacPrefixes) -> Self {
        let counter = |own: &str, name: &str| {
            let dot = if own.is_empty() || own.ends_with('.') { "" } else { "." };
            Counter::named(registry, &format!("http.{}.rbac", one_segment(stat_prefix)), &format!("{own}{dot}{name}"))
        };
        Self {
            allowed: counter(&prefixes.rules, "allowed"),
            denied: counter(&prefixes.rules, "denied"),
            shadow_allowed: counter(&prefixes.shadow_rules, "shadow_allowed"),
            shadow_denied: counter(&prefixes.shadow_rules, "shadow_denied"),
        }
    }
}
