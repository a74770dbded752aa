//! Network filters before the one that ends a chain, typed: what a connection has to pass.

use std::sync::Arc;
use std::time::Duration;

use super::filter_state::StateEntry;
use super::judge::Judge;
use super::rate_limit::BucketSize;

/// A network filter before the one that ends its chain.
#[derive(Clone, Debug)]
pub enum Gate {
    /// `envoy.filters.network.connection_limit`
    ConnectionLimit(ConnectionLimit),
    /// `envoy.filters.network.local_ratelimit`
    RateLimit(ConnectionRate),
    /// `envoy.filters.network.rbac`
    Rbac(Rbac),
    /// `envoy.filters.network.set_filter_state`: what connections bring along is set as they come.
    SetFilterState(Arc<[StateEntry]>),
}

/// What connections bring along, one after the other.
pub fn state_entries(gates: &[Gate]) -> impl Iterator<Item = &StateEntry> {
    gates.iter().flat_map(|gate| if let Gate::SetFilterState(entries) = gate { &entries[..] } else { &[] })
}

/// `connection_limit`: so many connections of the chain may be open at once.
#[derive(Clone, Debug)]
pub struct ConnectionLimit {
    /// `connection_limit.<stat_prefix>.`
    pub stat_prefix: String,
    /// At least 1.
    pub connections_max: u32,
    /// `runtime_enabled`: while it is off, connections are neither counted nor closed.
    pub enabled: RuntimeFlag,
    /// `delay`: a connection above the limit is closed after this.
    pub delay: Option<Duration>,
}

/// `local_ratelimit`: connections of the chain may come so fast.
#[derive(Clone, Debug)]
pub struct ConnectionRate {
    /// `local_rate_limit.<stat_prefix>.`
    pub stat_prefix: String,
    /// Each connection takes a token.
    pub bucket: BucketSize,
    /// `share_key`: filters of all listeners with this key and such a bucket take tokens from one.
    pub share_key: Option<String>,
    /// `runtime_enabled`: while it is off, connections take no tokens.
    pub enabled: RuntimeFlag,
}

/// A switch that the runtime may turn (`envoy.config.core.v3.RuntimeFeatureFlag`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuntimeFlag {
    /// Where no layer has the key.
    pub is_on: bool,
    /// The key; `None` is fixed.
    pub key: Option<String>,
}

/// `rbac`: rules by which connections are let through.
#[derive(Clone, Debug)]
pub struct Rbac {
    /// `<stat_prefix>.rbac.`
    pub stat_prefix: String,
    /// None lets everything through.
    pub rules: Option<Judge>,
    /// These only count.
    pub shadow_rules: Option<Judge>,
    /// In front of the names of what the shadow rules count.
    pub shadow_prefix: String,
    /// `delay_deny`: a connection that is denied is closed after this.
    pub delay: Option<Duration>,
    /// `enforcement_type`
    pub enforcement: Enforcement,
}

/// When rules are applied to a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Enforcement {
    /// `ONE_TIME_ON_FIRST_BYTE`
    #[default]
    Once,
    /// `CONTINUOUS`
    WithEachRead,
}
