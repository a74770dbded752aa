//! How and how often names are resolved, as written: the operating system does it here, whichever resolver is named.

use serde::Deserialize;

use super::Address;
use crate::config::constraints::{LongerThan, NonEmpty};
use crate::config::yaml::At;

/// `envoy.config.core.v3.TypedExtensionConfig`, of a resolver
#[derive(Debug, Deserialize)]
pub(crate) struct TypedDnsResolver {
    #[expect(dead_code, reason = "the type tells; having read it is the check")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: DnsResolver,
}

/// The resolvers that may be named.
#[derive(Debug, Deserialize)]
pub(crate) enum DnsResolver {
    #[serde(rename = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig")]
    Cares(CaresDnsResolverConfig),
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig"
    )]
    GetAddrInfo(GetAddrInfoDnsResolverConfig),
}

/// `envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct CaresDnsResolverConfig {
    #[serde(default)]
    pub(crate) resolvers: Vec<At<Address>>,
    #[serde(default)]
    pub(crate) use_resolvers_as_fallback: bool,
}

/// `envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct GetAddrInfoDnsResolverConfig {}

/// `envoy.config.cluster.v3.Cluster.RefreshRate`
#[derive(Debug, Deserialize)]
pub(crate) struct RefreshRate {
    pub(crate) base_interval: LongerThan<1_000_000>,
    pub(crate) max_interval: Option<LongerThan<1_000_000>>,
}

/// `envoy.config.cluster.v3.Cluster.DnsLookupFamily`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum DnsLookupFamily {
    #[serde(rename = "AUTO")]
    Auto,
    #[serde(rename = "V4_ONLY")]
    V4Only,
    #[serde(rename = "V6_ONLY")]
    V6Only,
    #[serde(rename = "V4_PREFERRED")]
    V4Preferred,
    #[serde(rename = "ALL")]
    All,
}
