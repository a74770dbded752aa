//! Network filters in front of the one that ends a chain.

use super::{last_words, one_segment, scope};
use crate::config::filter::RbacPrefixes;
use crate::config::rbac::Outcome;
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

/// Which rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RuleKind {
    /// `rules`, `matcher`
    Enforced,
    /// `shadow_rules`, `shadow_matcher`: they only count.
    Shadow,
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
        let counter = |own: &str, name: &str| Counter::named(registry, &of_requests(stat_prefix, own), name);
        Self {
            allowed: counter(&prefixes.rules, "allowed"),
            denied: counter(&prefixes.rules, "denied"),
            shadow_allowed: counter(&prefixes.shadow_rules, "shadow_allowed"),
            shadow_denied: counter(&prefixes.shadow_rules, "shadow_denied"),
        }
    }

    /// Rules have been applied.
    pub fn count(&self, kind: RuleKind, outcome: Outcome) {
        match (kind, outcome) {
            (RuleKind::Enforced, Outcome::Allowed) => self.allowed.inc(),
            (RuleKind::Enforced, Outcome::Denied) => self.denied.inc(),
            (RuleKind::Shadow, Outcome::Allowed) => self.shadow_allowed.inc(),
            (RuleKind::Shadow, Outcome::Denied) => self.shadow_denied.inc(),
        }
    }
}

/// What stands in front of the names of an HTTP filter. `own` is the prefix of its rules or of its shadow rules, if they have one.
pub(in crate::stats) fn of_requests(stat_prefix: &str, own: &str) -> String {
    let dot = if own.is_empty() { "" } else { "." };
    format!("http.{}.rbac{dot}{}", one_segment(stat_prefix), own.strip_suffix('.').unwrap_or(own))
}
