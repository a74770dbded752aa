//! `envoy.filters.http.local_ratelimit`, typed: how many requests are let through.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::fraction::Fraction;
use super::mutation::Edits;

/// A limit of requests.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Where it stands in the file: one place has one bucket.
    pub place: String,
    /// `<stat_prefix>.http_local_rate_limit.`
    pub stat_prefix: String,
    /// `token_bucket`: a request takes a token. Without a bucket none is refused.
    pub bucket: Option<BucketSize>,
    /// Whose requests take tokens from one bucket.
    pub sharing: Sharing,
    /// `filter_enabled`: of these requests tokens are taken.
    pub enabled: Fraction,
    /// `filter_enforced`: of these requests those that get no token are refused.
    pub enforced: Fraction,
    /// `status.code`: of the response to a request that is refused.
    pub status: StatusCode,
    /// The status of that response for a gRPC client, where it does not follow from `status`.
    pub grpc_status: Option<u32>,
    /// What that response says besides.
    pub response: Arc<Edits>,
    /// What is set in a request that gets no token and is forwarded all the same.
    pub unenforced: Edits,
    /// Whether responses have headers about the bucket.
    pub headers: BucketHeaders,
}

/// `envoy.type.v3.TokenBucket`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BucketSize {
    /// `max_tokens`
    pub tokens_max: u32,
    /// How many come in each interval.
    pub tokens_per_fill: NonZeroU32,
    /// At least 50 ms.
    pub fill_interval: Duration,
}

/// `local_rate_limit_per_downstream_connection`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sharing {
    /// All requests share the bucket.
    All,
    /// Those of one connection share a bucket.
    Connection,
}

/// `enable_x_ratelimit_headers`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BucketHeaders {
    /// Every response has `x-ratelimit-limit`, `x-ratelimit-remaining` and `x-ratelimit-reset`.
    Draft03,
    /// None.
    Off,
}
