//! Network filters in front of the one that ends a chain.

use super::{last_words, one_segment, scope};
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

/// `<stat_prefix>.rbac.`
#[derive(Clone, Debug)]
pub struct RbacStats {
    /// A connection was let through.
    pub(crate) allowed: Counter,
    /// A connection was denied.
    pub(crate) denied: Counter,
    /// The shadow rules would have let a connection through.
    pub(crate) shadow_allowed: Counter,
    /// The shadow rules would have denied a connection.
    pub(crate) shadow_denied: Counter,
}

impl RbacStats {
    /// The scope of a network filter. `shadow_prefix` stands in front of the names of what its shadow rules count.
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
}
