//! Distributed tracing of the requests of one connection manager: which are traced, what their spans are called, and what is
//! said of them.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Version};
use tokio::time::Instant;

use super::reports::Reports;
use crate::access_log::StreamInfo;
use crate::codec::{Headers, RequestHead, ResponseHead, names};
use crate::config::listener::ConnectionManager;
use crate::config::tracing::{
    CLIENT_ENABLED, Collector, CustomTag, GLOBAL_ENABLED, RANDOM_SAMPLING, RouteTracing, Sampling, Share, Sharing,
    Side, TagValue, TraceIds, Tracing, Zipkin,
};
use crate::net::Outside;
use crate::runtime::{Runtime, Watched};
use crate::stats::{Registry, TracingStats};
use crate::trace::b3::{self, Came};
use crate::trace::span::{Endpoint, Kind, Span, Tags};
use crate::trace::{Context, Propagation, Reason, Trace, w3c};

static CLIENT_TRACE_ID: HeaderName = HeaderName::from_static("x-client-trace-id");
static FORCE_TRACE: HeaderName = HeaderName::from_static("x-envoy-force-trace");
static ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");

/// The tracing of one connection manager, on one worker.
pub(crate) struct Tracer {
    options: Tracing,
    stats: TracingStats,
    client: Watched,
    random: Watched,
    overall: Watched,
    reports: Rc<Reports>,
    own_address: Option<IpAddr>,
    /// The connection manager's tags.
    tags: Vec<CustomTag>,
    outside: Outside,
}

impl Tracer {
    /// With the spans going to `reports`.
    pub(crate) fn new(
        options: &Tracing,
        manager: &ConnectionManager,
        reports: Rc<Reports>,
        (runtime, registry): (&Runtime, &Registry),
        outside: &Outside,
    ) -> Self {
        let share = |key: &str| runtime.watch_share(key.to_owned(), 0);
        Self {
            stats: TracingStats::new(registry, &manager.stat_prefix),
            client: share(CLIENT_ENABLED),
            random: share(RANDOM_SAMPLING),
            overall: share(GLOBAL_ENABLED),
            reports,
            own_address: outside.net.own_address(),
            tags: options.tags.clone(),
            options: options.clone(),
            outside: outside.clone(),
        }
    }

    /// A request has come to its route, or has none.
    pub(super) fn begin(&self, head: &mut RequestHead, route: Option<&Arc<RouteTracing>>, info: &mut StreamInfo) {
        let sampling = route.and_then(|route| route.sampling).unwrap_or(self.options.sampling);
        let reason = self.decide(&mut head.headers, sampling);
        let mut trace = self.trace(head, reason);
        let decorator = route.and_then(|route| route.decorator.as_ref());
        if let Some(decorator) = decorator {
            trace.name = decorator.operation.as_bytes().to_vec();
        }
        let told = decorator.filter(|decorator| decorator.propagates).map(|decorator| decorator.operation.clone());
        match self.options.side {
            Side::Egress => {
                if let Some(operation) = told {
                    head.headers.set(names::X_ENVOY_DECORATOR_OPERATION.clone(), operation);
                }
            }
            Side::Ingress => {
                trace.decoration = told;
                if let Some(wanted) =
                    head.headers.get(&names::X_ENVOY_DECORATOR_OPERATION).filter(|wanted| !wanted.is_empty())
                {
                    trace.name = wanted.as_bytes().to_vec();
                    trace.decoration = None;
                }
                head.headers.remove(&names::X_ENVOY_DECORATOR_OPERATION);
            }
        }
        trace.route = route.map(Arc::clone);
        info.trace = Some(Box::new(trace));
    }

    /// Whether the request is traced; its id says so from here on.
    fn decide(&self, headers: &mut Headers, sampling: Sampling) -> Reason {
        let Some(id) = headers.get(&names::X_REQUEST_ID).map(|id| id.as_bytes().to_vec()) else {
            return Reason::NotTraced;
        };
        let (Some(number), Some(digit)) = (number_of(&id), id.get(Reason::AT)) else { return Reason::NotTraced };
        let came = Reason::of_digit(*digit);
        let takes = |watched: &Watched, share: Share| watched.of_layers().map_or(share, of_runtime).takes(number);
        let mut reason = came;
        if came == Reason::NotTraced {
            if headers.contains(&CLIENT_TRACE_ID) && self.client_takes(sampling.client) {
                reason = Reason::Client;
            } else if headers.contains(&FORCE_TRACE) {
                reason = Reason::Forced;
            } else if takes(&self.random, sampling.random) {
                reason = Reason::Sampled;
            }
        }
        if reason != Reason::NotTraced && !takes(&self.overall, sampling.overall) {
            reason = Reason::NotTraced;
        }
        if reason != came {
            let mut id = id;
            if let Some(digit) = id.get_mut(Reason::AT) {
                *digit = reason.digit();
            }
            // A part of a value is a value, and so is one with another digit.
            if let Ok(id) = HeaderValue::from_bytes(&id) {
                headers.set(names::X_REQUEST_ID.clone(), id);
            }
        }
        reason
    }

    /// The share of requests that clients want traced is drawn by chance, and not by their ids.
    fn client_takes(&self, share: Share) -> bool {
        let share = self.client.of_layers().map_or(share, of_runtime);
        match share {
            Share { numerator: 0, .. } => false,
            Share { numerator, denominator } if numerator >= denominator => true,
            share => share.takes(self.outside.random.next_u64()),
        }
    }

    /// The ids of the request's span: those that came, those within which it is, or ones of its own.
    fn trace(&self, head: &RequestHead, reason: Reason) -> Trace {
        let host = head.authority.as_ref().map(|host| host.as_bytes().to_vec()).unwrap_or_default();
        let is_traced = reason != Reason::NotTraced;
        let (propagation, context, name) = match &*self.options.collector {
            Collector::OpenTelemetry(_) => {
                let (propagation, context) = self.of_w3c(&head.headers, is_traced);
                let name = match self.options.side {
                    Side::Egress => [b"egress ", &*host].concat(),
                    Side::Ingress => b"ingress".to_vec(),
                };
                (propagation, context, name)
            }
            Collector::Zipkin(zipkin) => match b3::extract(&head.headers) {
                Ok(came) => (Propagation::B3(came.form), Some(self.of_b3(zipkin, came, is_traced)), host),
                Err(b3::Malformed) => (Propagation::B3(b3::Form::Several), None, host),
            },
        };
        Trace { context, reason, propagation, name, decoration: None, route: None, began: Instant::now() }
    }

    fn of_w3c(&self, headers: &Headers, is_traced: bool) -> (Propagation, Option<Context>) {
        let random = &*self.outside.random;
        match w3c::extract(headers) {
            Ok(Some(w3c::Came { is_sampled, ids, state })) => {
                let (trace_high, trace) = (ids.trace_high, ids.trace);
                let context = Context { trace_high, trace, id: random.next_u64(), parent: Some(ids.id), is_sampled };
                (Propagation::W3c { state }, Some(context))
            }
            Ok(None) => {
                let (trace_high, trace) = (Some(random.next_u64()), random.next_u64());
                let context = Context { trace_high, trace, id: random.next_u64(), parent: None, is_sampled: is_traced };
                (Propagation::W3c { state: w3c::empty() }, Some(context))
            }
            Err(b3::Malformed) => (Propagation::W3c { state: w3c::empty() }, None),
        }
    }

    fn of_b3(&self, zipkin: &Zipkin, Came { is_sampled, ids, .. }: Came, is_traced: bool) -> Context {
        let random = &*self.outside.random;
        let is_sampled = is_sampled.unwrap_or(is_traced);
        let Some(ids) = ids else {
            let id = random.next_u64();
            let trace_high = (zipkin.trace_ids == TraceIds::Long).then(|| random.next_u64());
            return Context { trace_high, trace: id, id, parent: None, is_sampled };
        };
        let (id, parent) = match (self.options.side, zipkin.sharing) {
            (Side::Ingress, Sharing::Shared) => (ids.id, ids.parent.filter(|parent| *parent > 0)),
            (Side::Ingress, Sharing::Separate) | (Side::Egress, _) => (random.next_u64(), Some(ids.id)),
        };
        Context { trace_high: ids.trace_high, trace: ids.trace, id, parent, is_sampled }
    }

    /// A response is on its way: each side tells the other what its span is called.
    pub(super) fn respond(&self, head: &mut ResponseHead, info: &mut StreamInfo) {
        let is_health_check = info.is_health_check;
        let Some(trace) = &mut info.trace else { return };
        if !is_health_check {
            self.count(trace.reason);
        }
        match self.options.side {
            Side::Egress => {
                let named = head.headers.get(&names::X_ENVOY_DECORATOR_OPERATION);
                if let Some(operation) = named.filter(|operation| !operation.is_empty()) {
                    trace.name = operation.as_bytes().to_vec();
                }
                head.headers.remove(&names::X_ENVOY_DECORATOR_OPERATION);
            }
            Side::Ingress => {
                if let Some(operation) = trace.decoration.take() {
                    head.headers.set(names::X_ENVOY_DECORATOR_OPERATION.clone(), operation);
                }
            }
        }
    }

    /// Counts a request that has a response, as Envoy does. One for the health of this proxy counts as that.
    fn count(&self, reason: Reason) {
        match reason {
            Reason::Client => self.stats.client_enabled.inc(),
            Reason::Forced => self.stats.service_forced.inc(),
            Reason::NotTraced => self.stats.not_traceable.inc(),
            Reason::Sampled => self.stats.random_sampling.inc(),
        }
    }

    /// The request is over.
    pub(super) fn finish(&self, info: &StreamInfo) {
        let Some(trace) = &info.trace else { return };
        let Some(context) = trace.context.filter(|context| context.is_sampled) else { return };
        let (kind, last) = match self.options.side {
            Side::Egress => (Kind::Client, "cr"),
            Side::Ingress => (Kind::Server, "ss"),
        };
        let now = Instant::now();
        let mut annotations = if self.options.has_times { stages(info) } else { Vec::new() };
        annotations.push((wall(info, now), last));
        self.reports.add(Span {
            context,
            kind,
            is_shared: self.is_shared(),
            name: String::from_utf8_lossy(&trace.name).into_owned(),
            began: info.started,
            took: now.saturating_duration_since(trace.began),
            ended: wall(info, now),
            tags: self.tags(trace, info),
            annotations,
            status: info.response_code.unwrap_or(0),
            state: state_of(trace),
            at: Endpoint { ip: self.own_address, service: self.options.node.service.clone() },
        });
    }

    fn is_shared(&self) -> bool {
        match &*self.options.collector {
            Collector::OpenTelemetry(_) => false,
            Collector::Zipkin(zipkin) => zipkin.sharing == Sharing::Shared,
        }
    }

    fn tags(&self, trace: &Trace, info: &StreamInfo) -> Tags {
        let mut tags = Tags::default();
        let mut set = |name: &str, value: &str| tags.set(name, value);
        set("node_id", &self.options.node.id);
        set("zone", &self.options.node.zone);
        if let Some(head) = &info.request {
            request_tags(head, self.options.path_bytes_max, info, &mut set);
        }
        set("request_size", &info.bytes_received.to_string());
        set("response_size", &info.bytes_sent.to_string());
        set("component", "proxy");
        if let Some(names) = &info.upstream_cluster {
            set("upstream_cluster", &names.own);
            set("upstream_cluster.name", &names.shown);
        }
        let status = info.response_code.unwrap_or(0);
        set("http.status_code", &status.to_string());
        let flags: Vec<&str> = info.flags.iter().map(|flag| flag.short()).collect();
        set("response_flags", if flags.is_empty() { "-".to_owned() } else { flags.join(",") }.as_str());
        if status == 0 || status >= 500 {
            set("error", "true");
        }
        let of_route = trace.route.iter().flat_map(|route| &route.tags);
        for tag in self.tags.iter().chain(of_route) {
            let value = self.own_value(&tag.value, info.request.as_ref());
            set(&tag.name, &value);
        }
        tags
    }

    /// What a tag of the configuration says.
    fn own_value(&self, value: &TagValue, head: Option<&RequestHead>) -> String {
        match value {
            TagValue::Environment { name, default } => {
                self.outside.net.environment(name).unwrap_or_else(|| default.clone())
            }
            TagValue::Header { name, default } => {
                let value = head.and_then(|head| head.headers.get(name));
                value.map_or_else(|| default.clone(), text)
            }
            TagValue::Literal(text) => text.clone(),
        }
    }
}

/// The number by which shares are drawn: the first eight digits of an id.
fn number_of(id: &[u8]) -> Option<u64> {
    const LENGTH: usize = 36;
    if id.len() < LENGTH {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(id.get(..8)?).ok()?, 16).ok()
}

/// A share of the runtime, in millionths, drawn as Envoy draws percentages.
fn of_runtime(millionths: u32) -> Share {
    const PERCENT: u32 = 10_000;
    if millionths.is_multiple_of(PERCENT) {
        Share { numerator: millionths / PERCENT, denominator: 100 }
    } else {
        Share { numerator: millionths, denominator: 1_000_000 }
    }
}

fn request_tags(head: &RequestHead, path_bytes_max: usize, info: &StreamInfo, set: &mut impl FnMut(&str, &str)) {
    let headers = &head.headers;
    let header = |name: &HeaderName| headers.get(name).map(text).unwrap_or_default();
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    set("guid:x-request-id", &header(&names::X_REQUEST_ID));
    let path = headers.get(&ORIGINAL_PATH).or(head.path.as_ref()).map(HeaderValue::as_bytes).unwrap_or_default();
    let path = String::from_utf8_lossy(path.get(..path_bytes_max).unwrap_or(path));
    let host = head.authority.as_ref().map(text).unwrap_or_default();
    set("http.url", &format!("{}://{host}{path}", header(&names::X_FORWARDED_PROTO)));
    set("http.method", head.method.as_str());
    set("downstream_cluster", &or_dash(header(&names::X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER)));
    set("user_agent", &or_dash(header(&USER_AGENT)));
    set("http.protocol", protocol(info.protocol));
    set("peer.address", &peer(info));
    if headers.contains(&CLIENT_TRACE_ID) {
        set("guid:x-client-trace-id", &header(&CLIENT_TRACE_ID));
    }
    if headers.is_grpc() {
        set("grpc.path", &head.path.as_ref().map(text).unwrap_or_default());
        set("grpc.authority", &host);
        set("grpc.content_type", &header(&CONTENT_TYPE));
        if headers.contains(&names::GRPC_TIMEOUT) {
            set("grpc.timeout", &header(&names::GRPC_TIMEOUT));
        }
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn protocol(version: Option<Version>) -> &'static str {
    match version {
        Some(Version::HTTP_10) => "HTTP/1.0",
        Some(Version::HTTP_11) => "HTTP/1.1",
        Some(Version::HTTP_2) => "HTTP/2",
        Some(_) | None => "-",
    }
}

/// What the caller said of the trace besides.
fn state_of(trace: &Trace) -> String {
    match &trace.propagation {
        Propagation::B3(_) => String::new(),
        Propagation::W3c { state } => text(state),
    }
}

/// The other end of the client's socket, without its port.
fn peer(info: &StreamInfo) -> String {
    let peer = info.downstream.direct.as_ref().map_or(&info.downstream.peer, |direct| &direct.peer);
    peer.ip().map_or_else(|| peer.to_string(), |ip| ip.to_string())
}

/// When the stages of the request were reached.
fn stages(info: &StreamInfo) -> Vec<(SystemTime, &'static str)> {
    let times = &info.times;
    let stages = [
        (times.request_end, "last_downstream_rx_byte_received"),
        (times.upstream_ready, "first_upstream_tx_byte_sent"),
        (times.upstream_request_end(), "last_upstream_tx_byte_sent"),
        (times.upstream_response_begin, "first_upstream_rx_byte_received"),
        (times.upstream_response_end, "last_upstream_rx_byte_received"),
        (times.response_begin, "first_downstream_tx_byte_sent"),
        (times.response_begin.and(times.end), "last_downstream_tx_byte_sent"),
    ];
    stages.into_iter().filter_map(|(at, what)| Some((wall(info, at?), what))).collect()
}

/// By the wall clock.
fn wall(info: &StreamInfo, at: Instant) -> SystemTime {
    let since: Duration = at.saturating_duration_since(info.times.begin);
    info.started.checked_add(since).unwrap_or(info.started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_why_a_request_is_traced() {
        for (reason, digit) in [(Reason::Client, b'b'), (Reason::Forced, b'a'), (Reason::Sampled, b'9')] {
            assert_eq!(reason.digit(), digit);
            assert_eq!(Reason::of_digit(digit), reason);
        }
        assert_eq!(Reason::of_digit(b'4'), Reason::NotTraced);
        for (id, number) in [
            ("0000000a-bbbb-4ccc-8ddd-eeeeeeeeeeee", Some(10)),
            ("foo", None),
            ("0000000z-bbbb-4ccc-8ddd-eeeeeeeeeeee", None),
        ] {
            assert_eq!(number_of(id.as_bytes()), number, "{id}");
        }
        assert_eq!(of_runtime(500_000), Share { numerator: 50, denominator: 100 });
        assert_eq!(of_runtime(1), Share { numerator: 1, denominator: 1_000_000 });
    }
}
