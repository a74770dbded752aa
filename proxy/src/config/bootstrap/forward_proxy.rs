//! Forward proxies: clusters and filters whose hosts come from requests, and the caches that both name, as written.

use serde::Deserialize;

use super::SocketAddress;
use super::resolver::{DnsLookupFamily, RefreshRate, TypedDnsResolver};
use crate::config::constraints::{AtLeastOne, NonEmpty, Positive};
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct DnsCacheConfig {
    pub(crate) dns_cache_circuit_breaker: Option<DnsCacheCircuitBreakers>,
    pub(crate) dns_failure_refresh_rate: Option<At<RefreshRate>>,
    pub(crate) dns_lookup_family: Option<DnsLookupFamily>,
    pub(crate) dns_min_refresh_rate: Option<At<Seconds>>,
    pub(crate) dns_query_timeout: Option<Seconds>,
    pub(crate) dns_refresh_rate: Option<At<Seconds>>,
    pub(crate) host_ttl: Option<Positive>,
    pub(crate) max_hosts: Option<AtLeastOne>,
    pub(crate) name: NonEmpty,
    #[serde(default)]
    pub(crate) preresolve_hostnames: Vec<At<SocketAddress>>,
    pub(crate) typed_dns_resolver_config: Option<TypedDnsResolver>,
}

/// `envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheCircuitBreakers`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct DnsCacheCircuitBreakers {
    pub(crate) max_pending_requests: Option<u32>,
}

/// `envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct ForwardProxyCluster {
    #[serde(default)]
    pub(crate) allow_insecure_cluster_options: bool,
    pub(crate) dns_cache_config: Option<At<DnsCacheConfig>>,
}

/// `envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct ForwardProxyFilter {
    pub(crate) dns_cache_config: Option<At<DnsCacheConfig>>,
}

/// `envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct ForwardProxyPerRoute {
    pub(crate) host_rewrite_header: Option<At<String>>,
    pub(crate) host_rewrite_literal: Option<At<String>>,
}
