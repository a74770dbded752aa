//! `envoy.filters.http.ratelimit`, typed: which requests a rate limit service counts, and what becomes of those above its limits.

use std::sync::Arc;

use http::StatusCode;

use super::fraction::Fraction;
use super::mutation::Edits;
use super::rate_limit::{BucketHeaders, OfHost, Policy};
use super::service::GrpcService;

/// The filter.
#[derive(Clone, Debug)]
pub struct GlobalRateLimit {
    /// The service that counts.
    pub service: Arc<GrpcService>,
    /// `domain`
    pub domain: Arc<str>,
    /// `stage`: policies of routes with another one do not count.
    pub stage: u32,
    /// `request_type`
    pub origin: CountedOrigin,
    /// `filter_enabled`: of these requests the service is asked.
    pub enabled: Fraction,
    /// `filter_enforced`: of these requests those above a limit are refused.
    pub enforced: Fraction,
    /// `failure_mode_deny`: of these requests those are refused about which the service has said nothing.
    pub denied_on_error: Fraction,
    /// `status_on_error`
    pub status_on_error: StatusCode,
    /// `rate_limited_status`: of the response to a request above a limit.
    pub status: StatusCode,
    /// The status of that response for a gRPC client, where it does not follow from `status`.
    pub grpc_status: Option<u32>,
    /// `response_headers_to_add`: what that response says besides.
    pub response: Arc<Edits>,
    /// `disable_x_envoy_ratelimited_header`
    pub mark: LimitedMark,
    /// `enable_retry_after_header`
    pub retry_after: RetryAfterHeader,
    /// `enable_x_ratelimit_headers`: whether responses have headers about the limits.
    pub headers: BucketHeaders,
    /// `stat_prefix`
    pub stat_prefix: String,
    /// `metadata_namespace`: where what the service says is left for logs and other filters.
    pub namespace: String,
    /// `rate_limits`: what requests are told apart by; none leaves it to the route.
    pub policies: Arc<[Policy]>,
}

/// The filter, as it is for the requests of one route.
#[derive(Clone, Debug)]
pub struct GloballyLimited {
    /// The filter.
    pub limit: Arc<GlobalRateLimit>,
    /// `domain` of the route, or the filter's.
    pub domain: Arc<str>,
    /// What requests are told apart by.
    pub policies: Arc<[Policy]>,
}

/// What a level says of the filter: `RateLimitPerRoute`.
#[derive(Clone, Debug)]
pub struct GlobalOfRoute {
    /// `domain`, if there is one.
    pub domain: Option<Arc<str>>,
    /// `rate_limits`: they take the place of all others.
    pub policies: Arc<[Policy]>,
    /// `vh_rate_limits`: whether the policies of the virtual host count.
    pub of_host: OfHost,
}

/// Whose requests are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CountedOrigin {
    /// `both`
    Any,
    /// `external`
    External,
    /// `internal`
    Internal,
}

/// Whether a response to a request above a limit has `x-envoy-ratelimited`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimitedMark {
    /// It has.
    Set,
    /// It has not.
    Unset,
}

/// Whether a response to a request above a limit says when to come back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetryAfterHeader {
    /// It does, in seconds.
    Set,
    /// It does not.
    Unset,
}
