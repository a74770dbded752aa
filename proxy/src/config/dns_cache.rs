//! Caches of hosts that requests name (`dns_cache_config`), and the filter that looks them up
//! (`envoy.filters.http.dynamic_forward_proxy`).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::resolution::{FailureRefresh, LookupFamily};

/// `dns_cache_config`: hosts that are resolved because a request names them. Filters and clusters that name the same cache share its hosts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsCache {
    /// `dns_cache.<name>.`
    pub name: String,
    /// Which addresses of a host count.
    pub family: LookupFamily,
    /// `dns_refresh_rate`: a host without an address is resolved again after this.
    pub refresh: Duration,
    /// `dns_min_refresh_rate`: a host with an address is not resolved again before this has passed.
    pub refresh_min: Duration,
    /// `dns_failure_refresh_rate`: the pauses while the name server fails; without it they are `refresh`.
    pub after_failure: Option<FailureRefresh>,
    /// `host_ttl`: a host that no request has named for so long is forgotten when it would be resolved again.
    pub host_ttl: Duration,
    /// `max_hosts`: so many are known at once.
    pub hosts_max: u32,
    /// `max_pending_requests`: so many requests may wait for a host at once.
    pub pending_max: u32,
    /// `dns_query_timeout`; `None` is no limit.
    pub query_timeout: Option<Duration>,
    /// `preresolve_hostnames`: these are resolved when the cache begins.
    pub preresolved: Vec<(String, u16)>,
}

/// `envoy.filters.http.dynamic_forward_proxy`: has the host of a request resolved before the request goes on.
#[derive(Clone, Debug)]
pub struct ForwardProxy {
    /// The cache that resolves it.
    pub cache: Arc<DnsCache>,
    /// What becomes the host before that; `None` leaves it as it is.
    pub rewrite: Option<HostRewrite>,
}

/// `PerRouteConfig`
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HostRewrite {
    /// `host_rewrite_literal`
    Literal(HeaderValue),
    /// `host_rewrite_header`: the value of this header, where a request has it.
    Header(HeaderName),
}
