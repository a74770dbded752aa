//! `envoy.filters.http.fault`, typed: which requests are delayed or refused, and whose responses are slowed down.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use http::StatusCode;

use super::metadata::Struct;
use super::route::HeaderMatch;

/// Faults, and the requests that get them.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Comes first.
    pub delay: Option<Injected<Duration>>,
    /// Comes when the delay is over, or at once.
    pub abort: Option<Injected<Abort>>,
    /// `response_rate_limit`: how many times 1024 bytes of a response's body go out in a second.
    pub response_limit: Option<Injected<NonZeroU64>>,
    /// Requests whose route leads to this cluster; `None` is all.
    pub upstream_cluster: Option<String>,
    /// Requests that have all of these.
    pub headers: Vec<HeaderMatch>,
    /// Requests whose `x-envoy-downstream-service-node` is one of these; none is all.
    pub downstream_nodes: BTreeSet<String>,
    /// `max_active_faults`: so many requests of the connection manager have faults at one time; `None` is any number.
    pub active_max: Option<u32>,
    /// The runtime keys of numbers.
    pub keys: Keys,
    /// What is counted for the clusters that requests name as their origin.
    pub cluster_stats: ClusterStats,
    /// `filter_metadata`: what a request with a fault has in its metadata.
    pub metadata: Option<Struct>,
}

/// A fault, and the share of the requests that get it.
#[derive(Clone, Debug)]
pub struct Injected<T> {
    /// Whence its value comes.
    pub from: Source<T>,
    /// `percentage.numerator`
    pub numerator: u32,
    /// How many millionths one of the numerator is.
    pub unit: u32,
    /// The runtime key of the share.
    pub key: String,
}

/// Whence the value of a fault comes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source<T> {
    /// The configuration.
    Fixed(T),
    /// A header of the request, which may also lower the share.
    Header,
}

/// What becomes of a request that is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Abort {
    /// A status of gRPC; other clients get 200.
    Grpc(u32),
    /// This status.
    Http(StatusCode),
}

/// The runtime keys of numbers.
#[derive(Clone, Debug)]
pub struct Keys {
    /// `abort_grpc_status_runtime`
    pub abort_grpc_status: String,
    /// `abort_http_status_runtime`
    pub abort_http_status: String,
    /// `max_active_faults_runtime`
    pub active_max: String,
    /// `delay_duration_runtime`, in milliseconds
    pub delay_ms: String,
}

/// `disable_downstream_cluster_stats`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClusterStats {
    /// Delays and aborts are counted under `http.<stat_prefix>.fault.<cluster>.`.
    Counted,
    /// Nothing is.
    Off,
}
