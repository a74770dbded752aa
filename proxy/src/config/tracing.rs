//! Distributed tracing, typed: which requests are traced, what is said of them, and who gets the spans.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::cluster::ClusterName;

/// What a connection manager does for tracing.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// Who gets the spans.
    pub collector: Arc<Collector>,
    /// Which requests are traced.
    pub sampling: Sampling,
    /// What is said of each of them besides.
    pub tags: Vec<CustomTag>,
    /// `max_path_tag_length`: so much of a path is said.
    pub path_bytes_max: usize,
    /// `verbose`: when each stage of a request was reached is said as well.
    pub has_times: bool,
    /// Whose requests they are.
    pub side: Side,
    /// What is said of this node.
    pub node: TracedNode,
}

/// On which side of a service its requests are seen.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Side {
    /// The service makes them: the listener's `traffic_direction` is OUTBOUND.
    Egress,
    /// They come to it.
    #[default]
    Ingress,
}

/// What spans say of this node; empty is not said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TracedNode {
    /// `node.cluster`
    pub service: String,
    /// `node.id`
    pub id: String,
    /// `node.locality.zone`
    pub zone: String,
}

/// Who gets spans, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Collector {
    /// `envoy.tracers.opentelemetry`
    OpenTelemetry(OpenTelemetry),
    /// `envoy.tracers.zipkin`
    Zipkin(Zipkin),
}

impl Collector {
    /// The cluster that it is reached through.
    #[must_use]
    pub fn cluster(&self) -> &ClusterName {
        match self {
            Self::OpenTelemetry(options) => &options.cluster,
            Self::Zipkin(options) => &options.cluster,
        }
    }

    /// The name of its tracer in stats and runtime keys.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::OpenTelemetry(_) => "opentelemetry",
            Self::Zipkin(_) => "zipkin",
        }
    }
}

/// `envoy.tracers.opentelemetry`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenTelemetry {
    /// The cluster of the collector.
    pub cluster: ClusterName,
    /// `service_name`
    pub service: String,
    /// How it is spoken to.
    pub transport: Transport,
    /// It is to respond within this; `None` is no limit.
    pub timeout: Option<Duration>,
}

/// How a collector of OpenTelemetry is spoken to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Transport {
    /// `grpc_service`
    Grpc {
        /// Of its requests.
        authority: HeaderValue,
    },
    /// `http_service`
    Http {
        /// Of its requests.
        authority: HeaderValue,
        /// Where it takes spans.
        path: HeaderValue,
    },
}

/// `envoy.tracers.zipkin`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Zipkin {
    /// `collector_cluster`
    pub cluster: ClusterName,
    /// `collector_endpoint`: the path at which the collector takes spans.
    pub path: HeaderValue,
    /// `collector_hostname`, or the name of the cluster.
    pub host: HeaderValue,
    /// How long the ids of traces are that begin here.
    pub trace_ids: TraceIds,
    /// Whether a span has the id of that of its client.
    pub sharing: Sharing,
}

/// `trace_id_128bit`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TraceIds {
    /// 128 bits.
    Long,
    /// 64 bits.
    Short,
}

/// `shared_span_context`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sharing {
    /// Both sides of a call have one span.
    Shared,
    /// Each has its own.
    Separate,
}

/// A share of the requests, as Envoy draws it: those whose number leaves less than `numerator` when it is divided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Share {
    /// So many
    pub numerator: u32,
    /// of so many; never 0.
    pub denominator: u32,
}

impl Share {
    /// All requests.
    pub const ALL: Self = Self { numerator: 100, denominator: 100 };

    /// Does it take the request with this number?
    #[must_use]
    pub fn takes(self, number: u64) -> bool {
        number.checked_rem(self.denominator.into()).is_some_and(|rest| rest < self.numerator.into())
    }
}

/// Which requests are traced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sampling {
    /// `client_sampling`: of those with `x-client-trace-id`.
    pub client: Share,
    /// `random_sampling`: of the others.
    pub random: Share,
    /// `overall_sampling`: of all that would be traced.
    pub overall: Share,
}

/// The runtime key of [`Sampling::client`].
pub const CLIENT_ENABLED: &str = "tracing.client_enabled";
/// The runtime key of [`Sampling::random`].
pub const RANDOM_SAMPLING: &str = "tracing.random_sampling";
/// The runtime key of [`Sampling::overall`].
pub const GLOBAL_ENABLED: &str = "tracing.global_enabled";
/// The runtime key of the milliseconds that a collector of Zipkin has for its response.
pub const REQUEST_TIMEOUT: &str = "tracing.zipkin.request_timeout";

/// The runtime key of the milliseconds after which spans are sent, however few they are.
#[must_use]
pub fn flush_interval_ms(tracer: &str) -> String {
    format!("tracing.{tracer}.flush_interval_ms")
}

/// The runtime key of the number of spans that are sent at once.
#[must_use]
pub fn min_flush_spans(tracer: &str) -> String {
    format!("tracing.{tracer}.min_flush_spans")
}

/// `custom_tags`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CustomTag {
    /// Its name.
    pub name: String,
    /// What it says.
    pub value: TagValue,
}

/// What a tag says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TagValue {
    /// A variable of the environment, or else this text.
    Environment {
        /// Its name.
        name: String,
        /// Where there is none.
        default: String,
    },
    /// A header of the request, or else this text.
    Header {
        /// Its name.
        name: HeaderName,
        /// Where there is none.
        default: String,
    },
    /// This text.
    Literal(String),
}

/// What a route says of the tracing of its requests.
#[derive(Clone, Debug, Default)]
pub struct RouteTracing {
    /// In place of the connection manager's.
    pub sampling: Option<Sampling>,
    /// Besides the connection manager's; of one name, these count.
    pub tags: Vec<CustomTag>,
    /// `decorator`: what its spans are called.
    pub decorator: Option<Decorator>,
}

/// `decorator`
#[derive(Clone, Debug)]
pub struct Decorator {
    /// What spans are called.
    pub operation: HeaderValue,
    /// The other side of the call is told.
    pub propagates: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_the_numbers_that_envoys_takes() {
        for (numerator, denominator, number, taken) in [
            (0, 100, 0, false),
            (100, 100, 99, true),
            (50, 100, 149, true),
            (50, 100, 150, false),
            (4999, 10_000, 4998, true),
            (4999, 10_000, 4999, false),
            (1, 0, 0, false),
        ] {
            assert_eq!(Share { numerator, denominator }.takes(number), taken, "{numerator}/{denominator} {number}");
        }
    }
}
