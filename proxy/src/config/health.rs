//! How a cluster finds out which of its endpoints work, typed.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use http::Method;

use super::address::ProxyVersion;
use super::mutation::Edits;
use super::string_match::StringMatch;

/// One entry of `health_checks`.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// From the start of a check to its end.
    pub timeout: Duration,
    /// The first check comes after a random part of this.
    pub initial_jitter: Duration,
    /// After a check that succeeded.
    pub interval: Duration,
    /// After one that did, for an endpoint that has to succeed more often before it is healthy.
    pub healthy_edge_interval: Duration,
    /// After a check that failed.
    pub unhealthy_interval: Duration,
    /// After one that did, for an endpoint that has to fail more often before it is unhealthy.
    pub unhealthy_edge_interval: Duration,
    /// After a check that succeeded, and left nothing to wait for, as long as the cluster has had no traffic at all.
    pub no_traffic_healthy_interval: Duration,
    /// After any other check, as long as that is so.
    pub no_traffic_interval: Duration,
    /// A random part of this is added to each interval.
    pub interval_jitter: Duration,
    /// And a random part of so many percent of it.
    pub interval_jitter_percent: u32,
    /// A check uses the connection of the one before where it can.
    pub reuse_connection: bool,
    /// So many failures in a row make an endpoint unhealthy. A response with a wrong status does so at once.
    pub unhealthy_threshold: u32,
    /// So many successes in a row make it healthy again. The very first is enough.
    pub healthy_threshold: u32,
    /// `tls_options.alpn_protocols`: what is offered by ALPN; empty if the cluster's TLS decides.
    pub alpn: Vec<Vec<u8>>,
    /// `transport_socket_match_criteria`: which of `transport_socket_matches` they match; `None` leaves that to the endpoint.
    pub socket: Option<Option<usize>>,
    /// What is requested.
    pub probe: Probe,
}

/// Over what a check sends its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CheckVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What a health check requests, and which response it wants.
#[derive(Clone, Debug)]
pub enum Probe {
    /// `grpc.health.v1.Health/Check`, over HTTP/2: the service has to say SERVING.
    Grpc {
        /// `authority`; the cluster's name if absent.
        host: Option<String>,
        /// `service_name`; empty is the server as a whole.
        service: String,
        /// `initial_metadata`: changes of the head.
        edits: Edits,
    },
    /// A request of HTTP.
    Http(Box<HttpProbe>),
    /// Connects, and compares bytes if `send` and `receive` are set.
    Tcp {
        /// `proxy_protocol_config`: the connection begins with a header of this version.
        header: Option<ProxyVersion>,
        /// Is written if something is waited for; may be empty.
        send: Vec<u8>,
        /// Is waited for, one after the other, whatever stands between them.
        receive: Vec<Vec<u8>>,
    },
}

/// A request of HTTP, and which response is wanted.
#[derive(Clone, Debug)]
pub struct HttpProbe {
    /// `codec_client_type`
    pub version: CheckVersion,
    /// Never CONNECT.
    pub method: Method,
    /// `host`; the cluster's name if absent.
    pub host: Option<String>,
    /// The path of the request of each check.
    pub path: String,
    /// `request_headers_to_add`, `request_headers_to_remove`
    pub edits: Edits,
    /// `send`: the body; empty is none.
    pub body: Bytes,
    /// Statuses that mean health.
    pub expected: Vec<RangeInclusive<u16>>,
    /// Statuses that count as a failure like any other, and not as a verdict.
    pub retriable: Vec<RangeInclusive<u16>>,
    /// These have to stand in the body of the response, one behind the other, whatever stands between them.
    pub receive: Vec<Vec<u8>>,
    /// `response_buffer_size`: so many bytes of the body are searched; `None` is all.
    pub response_bytes_max: Option<usize>,
    /// `service_name_matcher`: what `x-envoy-upstream-healthchecked-cluster` of the response has to be.
    pub service: Option<StringMatch>,
}

/// `outlier_detection`: an endpoint whose responses are bad is left out for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OutlierDetection {
    /// So many 5xx in a row; 0 is off.
    pub consecutive_5xx: u32,
    /// So many 502, 503, 504 in a row; 0 is off.
    pub consecutive_gateway_failure: u32,
    /// So many failures in a row of our own making; 0 is off. Counted only if they are kept apart from those of the endpoint.
    pub consecutive_local_origin_failure: u32,
    /// Failures of our own making (a connect that failed, a connection that was lost, a timeout) are kept apart from bad responses
    /// of the endpoint; otherwise they count as 503 and 504.
    pub splits_local_origin: bool,
    /// Chance in percent that the first of these has consequences.
    pub enforcing_5xx: u32,
    /// Chance in percent that the second has.
    pub enforcing_gateway_failure: u32,
    /// Chance in percent that the third has.
    pub enforcing_local_origin_failure: u32,
    /// An endpoint that succeeds much more seldom than the others.
    pub success_rate: SuccessRate,
    /// An endpoint that fails too often, whatever the others do.
    pub failure_percentage: FailurePercentage,
    /// An active check that succeeds ends an ejection.
    pub check_ends_ejection: bool,
    /// How often it is looked who may come back.
    pub interval: Duration,
    /// An endpoint stays away for so long, times the number of its ejections.
    pub base_ejection_time: Duration,
    /// But no longer than this.
    pub ejection_time_max: Duration,
    /// `max_ejection_time_jitter`: a random part of this is added.
    pub ejection_jitter: Duration,
    /// No more than this share of the endpoints is away, in percent.
    pub ejection_percent_max: u32,
    /// One may be away whatever the share.
    pub always_eject_one: bool,
}

/// `success_rate_*`: an endpoint whose share of successes, in one interval, is further below the mean of all than so many times
/// the standard deviation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SuccessRate {
    /// So many endpoints have to have enough requests.
    pub endpoints_min: u32,
    /// So many requests are enough.
    pub requests_min: u32,
    /// Thousandths of the standard deviation.
    pub deviation: u32,
    /// Chance in percent that it has consequences.
    pub enforcing: u32,
    /// The same for failures of our own making, where they are kept apart.
    pub enforcing_local_origin: u32,
}

/// `failure_percentage_*`: an endpoint whose share of failures, in one interval, is at least this.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FailurePercentage {
    /// So many endpoints have to have enough requests.
    pub endpoints_min: u32,
    /// So many requests are enough.
    pub requests_min: u32,
    /// Percent of its requests.
    pub threshold: u32,
    /// Chance in percent that it has consequences.
    pub enforcing: u32,
    /// The same for failures of our own making, where they are kept apart.
    pub enforcing_local_origin: u32,
}
