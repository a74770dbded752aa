//! Network filters before the one that ends a chain, typed: what a connection has to pass.

use std::time::Duration;

use super::rbac::Rules;

/// A network filter before the one that ends its chain.
#[derive(Clone, Debug)]
pub enum Gate {
    /// `envoy.filters.network.connection_limit`
    ConnectionLimit(ConnectionLimit),
    /// `envoy.filters.network.rbac`
    Rbac(Rbac),
}

/// `connection_limit`: so many connections of the chain may be open at once.
#[derive(Clone, Debug)]
pub struct ConnectionLimit {
    /// `connection_limit.<stat_prefix>.`
    pub stat_prefix: String,
    /// At least 1.
    pub connections_max: u32,
    /// `delay`: a connection above the limit is closed after this.
    pub delay: Option<Duration>,
}

/// `rbac`: rules by which connections are let through.
#[derive(Clone, Debug)]
pub struct Rbac {
    /// `<stat_prefix>.rbac.`
    pub stat_prefix: String,
    /// None lets everything through.
    pub rules: Option<Rules>,
    /// These only count.
    pub shadow_rules: Option<Rules>,
    /// In front of the names of what the shadow rules count.
    pub shadow_prefix: String,
}
