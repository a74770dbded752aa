//! `envoy.filters.http.local_ratelimit`, typed: how many requests are let through.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::fraction::Fraction;
use super::log_format::Format;
use super::matching::{Condition, Sense};
use super::metadata::MetadataPath;
use super::mutation::Edits;
use super::trust::Cidr;

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
    /// `local_cluster_rate_limit`: the cluster whose endpoints share the limit. A request takes a token for each of them.
    pub shared_among: Option<Arc<str>>,
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
    /// `descriptors`: requests with one of these take tokens from its bucket. That which fills most slowly comes first.
    pub descriptors: Vec<Descriptor>,
    /// `max_dynamic_descriptors`: so many values at most have buckets, for each descriptor that takes any.
    pub values_max: NonZeroU32,
    /// `always_consume_default_token_bucket`
    pub default_bucket: DefaultBucket,
    /// `rate_limits`: what requests are told apart by; none leaves it to the route.
    pub policies: Arc<[Policy]>,
    /// `stage`: policies of routes with another one do not count.
    pub stage: u32,
    /// `vh_rate_limits`: whether the policies of the virtual host count.
    pub of_host: OfHost,
    /// Whether responses have headers about the bucket.
    pub headers: BucketHeaders,
}

/// Requests that take tokens from a bucket of their own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Descriptor {
    /// Keys and values, in their order. Without a value a key takes any, and each has a bucket of its own.
    pub entries: Vec<(String, Option<String>)>,
    /// `token_bucket`
    pub bucket: BucketSize,
    /// `shadow_mode`
    pub enforcing: Enforcing,
}

/// What becomes of a request that gets no token from the bucket of a descriptor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcing {
    /// It is counted, and goes on.
    Off,
    /// It is refused.
    On,
}

impl Descriptor {
    /// Are there several buckets, by values of requests?
    #[must_use]
    pub fn has_any_value(&self) -> bool {
        self.entries.iter().any(|(_, value)| value.is_none())
    }

    /// Is a request with these keys and values one of those it is about?
    #[must_use]
    pub fn takes(&self, requested: &[(String, String)]) -> bool {
        let is_taken = |((key, value), (its_key, its_value)): (&(String, Option<String>), &(String, String))| {
            key == its_key && value.as_ref().is_none_or(|value| value == its_value)
        };
        self.entries.len() == requested.len() && self.entries.iter().zip(requested).all(is_taken)
    }
}

/// Which requests take a token from `token_bucket` of the filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DefaultBucket {
    /// All.
    All,
    /// Those without a descriptor of the filter.
    Others,
}

/// Whether the policies of a virtual host count for its routes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OfHost {
    /// Never.
    Ignored,
    /// Besides those of the route.
    Included,
    /// Where the route has none.
    Overridden,
}

/// `envoy.config.route.v3.RateLimit`: what a descriptor of a request is made of. Without one of the parts there is none.
#[derive(Clone, Debug)]
pub struct Policy {
    /// `stage`
    pub stage: u32,
    /// One part each.
    pub actions: Vec<Action>,
    /// `disable_key`: the runtime key of the share of requests that it is made for.
    pub share_key: Option<String>,
    /// `limit`: what a rate limit service takes for the limit.
    pub limit: Option<LimitOverride>,
    /// `hits_addend`: how much a request counts for.
    pub hits: Option<Hits>,
    /// `apply_on_stream_done`
    pub at: Moment,
    /// `x_ratelimit_option`: whether responses have headers about it; `None` is as the filter says.
    pub headers: Option<BucketHeaders>,
}

/// When a descriptor is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// When the stream is over. What the service responds then changes nothing.
    End,
    /// When the request has come.
    Request,
}

/// `envoy.config.route.v3.RateLimit.Override`
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LimitOverride {
    /// `rate_limit`: so many requests in a unit, by its number in the enumeration `RateLimitUnit`.
    Fixed {
        /// `requests_per_unit`
        requests: u32,
        /// `unit`
        unit: i32,
    },
    /// `dynamic_metadata`: what stands there, if it is one.
    Metadata(MetadataPath),
}

/// The names of the units of time, in the order of their numbers.
pub const UNITS: [&str; 8] = ["UNKNOWN", "SECOND", "MINUTE", "HOUR", "DAY", "MONTH", "YEAR", "WEEK"];

/// `envoy.config.route.v3.RateLimit.HitsAddend`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hits {
    /// How many.
    pub count: HitCount,
    /// `is_negative_hits`
    pub sign: HitSign,
}

/// What hits do to what has been counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HitSign {
    /// They come to it.
    Added,
    /// They are given back.
    GivenBack,
}

/// How many hits a request counts for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HitCount {
    /// `format`: the number that comes out; without one there is no descriptor.
    Made(Format),
    /// `number`
    Fixed(u64),
}

/// A part of a descriptor.
#[derive(Clone, Debug)]
pub enum Action {
    /// `remote_address_match`: for clients with such an address.
    AddressMatch {
        /// `descriptor_key`
        key: String,
        /// `descriptor_value`
        value: Format,
        /// `default_value`: where `value` comes out empty.
        default: String,
        /// `address_matcher.ranges`
        ranges: Vec<Cidr>,
        /// The address is in one of them, or in none.
        sense: Sense,
    },
    /// `destination_cluster`: that of the route.
    DestinationCluster,
    /// `generic_key`, and `header_value_match` and `query_parameter_value_match` for requests that these conditions take.
    Fixed {
        /// `descriptor_key`
        key: String,
        /// `descriptor_value`
        value: String,
        /// All of them hold, or do not all hold.
        conditions: Option<(Vec<Condition>, Sense)>,
    },
    /// `masked_remote_address`: so many bits of the client's address.
    MaskedRemoteAddress {
        /// Of IPv4.
        v4: u32,
        /// Of IPv6.
        v6: u32,
    },
    /// `metadata`: a text that stands there.
    Metadata {
        /// `descriptor_key`
        key: String,
        /// `source`
        source: MetadataSource,
        /// `default_value`: where there is no text.
        default: Option<String>,
        /// What becomes of the descriptor of a request without it.
        absent: Absent,
    },
    /// `query_parameters`
    Query {
        /// `query_parameter_name`
        name: String,
        /// `descriptor_key`
        key: String,
        /// What becomes of the descriptor of a request without it.
        absent: Absent,
    },
    /// `remote_address`: the client's address.
    RemoteAddress,
    /// `request_headers`
    RequestHeader {
        /// `header_name`
        name: String,
        /// `descriptor_key`
        key: String,
        /// What becomes of the descriptor of a request without it.
        absent: Absent,
    },
    /// `source_cluster`: that of this proxy.
    SourceCluster,
}

/// Where metadata comes from, and where it stands in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MetadataSource {
    /// `CLUSTER_ENTRY`: the cluster's.
    Cluster(MetadataPath),
    /// `CLUSTER_LOCALITY_ENTRY`: that of the locality of the endpoint, once there is one.
    Locality(MetadataPath),
    /// `ROUTE_ENTRY`: the route's.
    Route(MetadataPath),
    /// The same where the route is known: the text that its metadata has.
    Known(Option<String>),
    /// `DYNAMIC`: what filters have left for the stream.
    Stream(MetadataPath),
}

/// `skip_if_absent`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Absent {
    /// There is no descriptor.
    Ends,
    /// The descriptor goes without the part.
    Skipped,
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
