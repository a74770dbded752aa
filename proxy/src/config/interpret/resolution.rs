//! How names are resolved.

use std::time::Duration;

use crate::config::bootstrap::cluster::Cluster as Written;
use crate::config::bootstrap::resolver::{
    CaresDnsResolverConfig, DnsLookupFamily, DnsResolver, RefreshRate, TypedDnsResolver,
};
use crate::config::problem::Problem;
use crate::config::resolution::{FailureRefresh, LookupFamily, Refresh};
use crate::config::yaml::At;

const DNS_REFRESH: Duration = Duration::from_secs(5);

/// How often the names of a cluster are resolved.
pub(super) fn refresh(cluster: &Written) -> Result<Refresh, Problem> {
    Ok(Refresh {
        interval: cluster.dns_refresh_rate.map_or(DNS_REFRESH, |rate| rate.0),
        jitter: cluster.dns_jitter.map_or(Duration::ZERO, |jitter| jitter.0),
        after_failure: cluster.dns_failure_refresh_rate.as_ref().map(after_failure).transpose()?,
    })
}

/// Refuses name servers that would not be queried.
pub(super) fn check_resolver(written: Option<&TypedDnsResolver>) -> Result<(), Problem> {
    match written.map(|resolver| &resolver.typed_config) {
        Some(DnsResolver::Cares(CaresDnsResolverConfig { resolvers, use_resolvers_as_fallback: false })) => {
            let Some(first) = resolvers.first() else { return Ok(()) };
            Err(first.invalid_but(
                "names are resolved by the operating system, which has name servers of its own",
                "delete the resolvers, or write use_resolvers_as_fallback: true",
            ))
        }
        None | Some(DnsResolver::Cares(_) | DnsResolver::GetAddrInfo(_)) => Ok(()),
    }
}

/// The pauses while the name server fails.
pub(super) fn after_failure(written: &At<RefreshRate>) -> Result<FailureRefresh, Problem> {
    const MAX_FACTOR: u32 = 10; // Envoy's default, max_interval
    let base = written.value.base_interval.0;
    match written.value.max_interval {
        None => Ok(FailureRefresh { base, max: base.saturating_mul(MAX_FACTOR) }),
        Some(max) if max.0 >= base => Ok(FailureRefresh { base, max: max.0 }),
        Some(_) => Err(written.invalid("max_interval must not be less than base_interval")),
    }
}

/// Which addresses count.
pub(super) fn family(written: Option<DnsLookupFamily>) -> LookupFamily {
    match written {
        None | Some(DnsLookupFamily::Auto) => LookupFamily::Auto,
        Some(DnsLookupFamily::All) => LookupFamily::All,
        Some(DnsLookupFamily::V4Only) => LookupFamily::V4Only,
        Some(DnsLookupFamily::V4Preferred) => LookupFamily::V4Preferred,
        Some(DnsLookupFamily::V6Only) => LookupFamily::V6Only,
    }
}
