//! What happened, as one line per stream.
//!
//! A [`StreamInfo`] is made when a stream begins, filled by every station the request visits, and written once, when the last byte
//! has left. [`flags`] and [`details`] hold the words for what went wrong and how, [`format`] turns the whole into a line, and
//! `entry` into a message for a service.

pub mod details;
mod downstream;
pub(crate) mod entry;
mod filter_details;
pub mod flags;
pub mod format;
pub(crate) mod grpc_status;
mod jwt;
mod log;
mod process;
pub(crate) mod time;

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Version};
use tokio::time::Instant;

use crate::codec::{Counted, Headers, RequestHead, ResponseHead, WireBytes};
use crate::config::cluster::{ClusterMetadata, ClusterNames};
use crate::config::filter_state::{FilterState, Object};
use crate::config::metadata::{Metadata, Struct, merge};
use crate::gate::Denial;
use crate::net::{Address, ConnInfo};
use crate::stats::{Charged, PartStats};
use crate::trace::Trace;

pub use details::{ConnectionTermination, Details, ResetCause, ResponseStart, UpstreamReset};
pub use downstream::{Downstream, LocalEnd};
pub use filter_details::{DeniedBy, HealthCheck, Unresolved, Unsendable};
pub use flags::{ResponseFlag, ResponseFlags};
pub use jwt::{JwtDenied, JwtFailure};
pub use log::{AccessLog, EntrySink};
pub use process::Process;

/// What is known of a stream. Every station writes its own part into the public fields.
#[derive(Clone, Debug)]
pub struct StreamInfo {
    /// When the first byte of the head came, in wall time.
    pub started: SystemTime,
    /// When what happened.
    pub times: Times,
    /// The connection it came on.
    pub downstream: Rc<Downstream>,
    /// The client, where a trusted header names another than the socket's peer.
    pub client: Option<Address>,
    /// What the client speaks; `None` where its first bytes did not say.
    pub protocol: Option<Version>,
    /// The request as decorated and sent on; `None` if its head could not be read.
    pub request: Option<RequestHead>,
    /// Did it come from inside (`x-envoy-internal: true`)?
    pub internal: bool,
    /// The response head as sent.
    pub response: Option<ResponseHead>,
    /// The trailers behind it, where a log reads them.
    pub trailers: Option<Headers>,
    /// The status sent; `None` prints 0.
    pub response_code: Option<u16>,
    /// What went wrong.
    pub flags: ResponseFlags,
    /// How the response came about.
    pub details: Option<Details>,
    /// Why the connection ended, where that was a fault of the client.
    pub connection_termination: Option<ConnectionTermination>,
    /// The policy of the network filter `rbac` that denied the connection.
    pub denied_by: Option<Box<Denial>>,
    /// Body bytes from the client; of a tunnel, all bytes.
    pub bytes_received: u64,
    /// Body bytes to the client; of a tunnel, all bytes.
    pub bytes_sent: u64,
    /// Its bytes on the wire, if some log shows them.
    pub wire: Option<Wire>,
    /// There is a route.
    pub has_route: bool,
    /// The route's name.
    pub route_name: Option<Rc<str>>,
    /// `metadata` of the route.
    pub route_metadata: Option<Arc<Metadata>>,
    /// The id of a connection, where a log shows it; that of a request is in its head.
    pub stream_id: Option<Box<str>>,
    /// The name of the virtual cluster that it belongs to.
    pub virtual_cluster: Option<Arc<str>>,
    /// The names of the cluster.
    pub upstream_cluster: Option<Rc<ClusterNames>>,
    /// The endpoint chosen last.
    pub upstream_host: Option<Address>,
    /// The name of that endpoint, where a log shows it.
    pub upstream_name: Option<HeaderValue>,
    /// A log shows it.
    pub shows_upstream_name: bool,
    /// What the configuration says of the cluster and of that endpoint.
    pub upstream_metadata: Option<UpstreamMetadata>,
    /// The connection to it, once there is one.
    pub upstream_connection: Option<ConnInfo>,
    /// Whether an upstream has begun to respond: an informational response is a beginning.
    pub response_start: ResponseStart,
    /// What the upstream speaks.
    pub upstream_protocol: Option<Version>,
    /// Number of attempts, the first included.
    pub attempts: u32,
    /// The response says so too.
    pub attempts_in_response: bool,
    /// `dynamic_stats` is on: its response counts by its status.
    pub has_code_stats: bool,
    /// Its response counts without its status.
    pub is_codeless: bool,
    /// The request is the proxy's own, and of no connection of a client: one to a service, or a copy.
    pub is_own: bool,
    /// The request asks for the health of this proxy: responses to such do not count.
    pub is_health_check: bool,
    /// What filters have left for logs and headers.
    pub metadata: Option<Box<Metadata>>,
    /// Objects that filters have left for logs, headers and upstreams, beside those of the connection.
    pub filter_state: Option<Box<FilterState>>,
    /// The parts of the requests that it belongs to and that have stats of their own.
    pub parts: Vec<Rc<PartStats>>,
    /// What the request's stats shall be called besides.
    pub alt_stat_name: Option<Box<str>>,
    /// The zone of the endpoint that was chosen last, where the cluster's stats count zones.
    pub upstream_zone: Option<Box<str>>,
    /// The endpoint is a canary, by its `metadata` or by its own word (`x-envoy-upstream-canary: true`).
    pub is_canary: bool,
    /// Why the upstream connection failed: `delayed connect error: Connection refused`.
    pub transport_failure: Option<Cow<'static, str>>,
    /// Its trace, where its connection manager has tracing.
    pub trace: Option<Box<Trace>>,
    /// For headers that name the process.
    pub process: Process,
}

/// The bytes of a stream on the wire.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// On the connection of the client.
    pub downstream: Rc<WireBytes>,
    /// On those of all tries.
    pub upstream: Rc<WireBytes>,
}

/// What the configuration says of a cluster, and which of its endpoints was chosen.
#[derive(Clone, Debug)]
pub struct UpstreamMetadata {
    /// Of the cluster and of all endpoints.
    pub all: Arc<ClusterMetadata>,
    /// The place of the endpoint in it; `None` until there is one.
    pub endpoint: Option<usize>,
}

/// When the stages of a stream were reached; `None` is not (yet).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Times {
    /// First byte of the head from the client.
    pub begin: Instant,
    /// Last byte of the request from the client.
    pub request_end: Option<Instant>,
    /// How long the last try waited for a connection.
    pub pool_wait: Option<Duration>,
    /// When the last try had its connection, and began to write.
    pub upstream_ready: Option<Instant>,
    /// First byte of the response from the upstream.
    pub upstream_response_begin: Option<Instant>,
    /// Last byte of the response from the upstream.
    pub upstream_response_end: Option<Instant>,
    /// First byte of the response to the client.
    pub response_begin: Option<Instant>,
    /// Last byte of the response to the client, or when the stream was given up.
    pub end: Option<Instant>,
}

impl Times {
    /// Nothing but the beginning.
    #[must_use]
    pub fn new(begin: Instant) -> Self {
        Self {
            begin,
            request_end: None,
            pool_wait: None,
            upstream_ready: None,
            upstream_response_begin: None,
            upstream_response_end: None,
            response_begin: None,
            end: None,
        }
    }

    /// Last byte of the request to the upstream: it goes out as it comes.
    #[must_use]
    pub fn upstream_request_end(&self) -> Option<Instant> {
        self.upstream_ready.zip(self.request_end).map(|(ready, end)| ready.max(end))
    }

    /// From the beginning to the end; 0 before there is one.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.end.map_or(Duration::ZERO, |end| end.saturating_duration_since(self.begin))
    }
}

impl StreamInfo {
    /// A stream that begins at `begin`, which by the wall clock is `started`.
    #[must_use]
    pub fn new(begin: Instant, started: SystemTime, downstream: Rc<Downstream>) -> Self {
        Self {
            started,
            times: Times::new(begin),
            downstream,
            client: None,
            protocol: None,
            request: None,
            internal: false,
            response: None,
            trailers: None,
            response_code: None,
            flags: ResponseFlags::default(),
            details: None,
            connection_termination: None,
            denied_by: None,
            bytes_received: 0,
            bytes_sent: 0,
            wire: None,
            has_route: false,
            route_name: None,
            route_metadata: None,
            stream_id: None,
            virtual_cluster: None,
            upstream_cluster: None,
            upstream_host: None,
            upstream_name: None,
            shows_upstream_name: false,
            upstream_metadata: None,
            upstream_connection: None,
            response_start: ResponseStart::Before,
            upstream_protocol: None,
            attempts: 0,
            attempts_in_response: false,
            has_code_stats: true,
            is_codeless: false,
            is_own: false,
            is_health_check: false,
            metadata: None,
            filter_state: None,
            parts: Vec::new(),
            alt_stat_name: None,
            upstream_zone: None,
            is_canary: false,
            transport_failure: None,
            trace: None,
            process: Process::default(),
        }
    }

    /// What its response is counted under.
    #[must_use]
    pub fn charged(&self) -> Charged<'_> {
        Charged {
            is_codeless: self.is_codeless,
            is_internal: self.internal,
            is_canary: self.is_canary,
            named: self.alt_stat_name.as_deref(),
            zone: self.upstream_zone.as_deref(),
        }
    }

    /// Something went wrong.
    pub fn flag(&mut self, flag: ResponseFlag) {
        self.flags.insert(flag);
    }

    /// Leaves these values under a namespace of its metadata, merged with what is there.
    pub(crate) fn leave(&mut self, namespace: &str, values: &Struct) {
        if !values.is_empty() {
            let Metadata(all) = &mut **self.metadata.get_or_insert_default();
            merge(all.entry(namespace.to_owned()).or_default(), values);
        }
    }

    /// How the response came about. The last call stands.
    pub fn detail(&mut self, details: impl Into<Details>) {
        self.details = Some(details.into());
    }

    /// We ended the stream's connection under it.
    pub fn end_locally(&mut self, why: LocalEnd) {
        why.flag().into_iter().for_each(|flag| self.flag(flag));
        self.detail(why.details());
    }

    /// The object that a filter has left under `key`, for the stream or for its connection.
    #[must_use]
    pub fn state(&self, key: &str) -> Option<&Object> {
        let of_connection = || self.downstream.state.as_ref()?.get(key);
        self.filter_state.as_ref().and_then(|state| state.get(key)).or_else(of_connection)
    }

    /// Puts an object under `key`, unless there is one that stays. As in Envoy, one of the connection stays for its streams.
    pub fn set_state(&mut self, key: Arc<str>, object: Object) {
        if self.downstream.state.as_ref().is_some_and(|state| state.get(&key).is_some()) {
            return;
        }
        self.filter_state.get_or_insert_default().set(key, object);
    }

    /// Has a filter left anything for it?
    #[must_use]
    pub fn has_state(&self) -> bool {
        self.filter_state.is_some() || self.downstream.state.is_some()
    }

    /// What goes with a connection to an upstream, as the other end of it has it.
    #[must_use]
    pub fn shared_state(&self) -> FilterState {
        let mut shared = FilterState::default();
        let of_stream = self.filter_state.as_deref();
        self.downstream.state.as_deref().into_iter().chain(of_stream).for_each(|state| state.share(&mut shared));
        shared
    }

    /// Where the tries are counted.
    pub(crate) fn counted_upstream(&self) -> Counted {
        self.wire.as_ref().map(|wire| Rc::clone(&wire.upstream))
    }

    /// The stream is over. The first call stands.
    pub fn finish(&mut self, at: Instant) {
        self.times.end.get_or_insert(at);
    }
}
