//! Listeners and connection managers, typed.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

pub use super::access_log::{AccessLog, LogForm, LogPath};
use super::address::{Address, Binding};
use super::client_cert::ClientCertHeader;
use super::filter::{Chains, Kind};
use super::filter_chain::FilterChains;
use super::header_names::{NameCase, TrailerRule, Underscores};
pub use super::http2::{Http2Floods, Http2Options, Keepalive};
use super::listener_filter::ListenerFilters;
use super::local_reply::LocalReplies;
use super::log_format::Operator;
use super::network_filter::Gate;
use super::normalisation::Normalisation;
use super::rate_limit::RateLimit;
use super::route::{RouteTable, Upgrades};
use super::string_match::StringMatch;
use super::tcp_proxy::TcpProxy;
use super::tracing::Tracing;
use super::trust::Trust;

/// One or several listening sockets, and what happens to their connections.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Name, for logs and admin; made from the address if the file gives none.
    pub name: String,
    /// Where it listens: the address that its stats are named after.
    pub binding: Binding,
    /// `additional_addresses`: where else it listens.
    pub further_bindings: Vec<Binding>,
    /// `stat_prefix`: what its stats are called in place of its address.
    pub stat_prefix: Option<String>,
    /// What takes its connections.
    pub filter_chains: FilterChains<Terminal<Arc<ConnectionManager>, Arc<TcpProxy>>>,
    /// One line per connection goes to each.
    pub access_logs: Vec<AccessLog>,
    /// What is read before one of them is chosen.
    pub filters: ListenerFilters,
    /// Bytes that may wait in one direction of one connection before the other side is no longer read.
    pub buffer_bytes_max: usize,
    /// `traffic_direction: INBOUND`
    pub is_inbound: bool,
    /// Its connections are taken in though as many are open on all listeners together as may be.
    pub ignores_global_limit: bool,
}

impl Listener {
    /// The first of its addresses.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.binding.at
    }

    /// Everywhere it listens.
    pub fn bindings(&self) -> impl Iterator<Item = &Binding> {
        std::iter::once(&self.binding).chain(&self.further_bindings)
    }

    /// What its stats are called.
    #[must_use]
    pub fn stat_name(&self) -> String {
        self.stat_prefix.clone().unwrap_or_else(|| match self.address() {
            Address::Internal(at) => format!("envoy_internal_{}", at.name),
            at @ (Address::Pipe(_) | Address::Socket(_)) => at.to_string(),
        })
    }

    /// The network filters in front of those that end its chains, chain by chain.
    pub fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.filter_chains.terminals().flat_map(|terminal| match terminal {
            Terminal::Http(manager) => &manager.gates[..],
            Terminal::Nothing => &[],
            Terminal::Tcp(proxy) => &proxy.gates[..],
        })
    }

    /// The connection managers that its filter chains end in.
    pub fn managers(&self) -> impl Iterator<Item = &Arc<ConnectionManager>> {
        self.filter_chains.terminals().filter_map(Terminal::http)
    }

    /// The same, to change them before the configuration is served.
    pub fn managers_mut(&mut self) -> impl Iterator<Item = &mut ConnectionManager> {
        self.filter_chains.terminals_mut().filter_map(|terminal| match terminal {
            Terminal::Http(manager) => Some(Arc::make_mut(manager)),
            Terminal::Nothing | Terminal::Tcp(_) => None,
        })
    }
}

/// What upstreams are told of this node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeNames {
    /// `node.cluster`; empty if the node has none. It is the `user-agent` of requests without one, too.
    pub cluster: HeaderValue,
    /// `node.id`
    pub id: Option<HeaderValue>,
}

/// The filter that ends a network filter chain. `H` is an HTTP connection manager, `T` a TCP proxy; or they are the options.
#[derive(Clone, Debug)]
pub enum Terminal<H, T> {
    /// `envoy.filters.network.http_connection_manager`
    Http(H),
    /// None: connections are closed at once.
    Nothing,
    /// `envoy.filters.network.tcp_proxy`
    Tcp(T),
}

impl Default for NodeNames {
    /// Those of a node without names.
    fn default() -> Self {
        Self { cluster: HeaderValue::from_static(""), id: None }
    }
}

impl<H, T> Terminal<H, T> {
    /// The connection manager, if it is one.
    #[must_use]
    pub fn http(&self) -> Option<&H> {
        match self {
            Self::Http(manager) => Some(manager),
            Self::Nothing | Self::Tcp(_) => None,
        }
    }
}

/// Options of the HTTP connection manager.
#[derive(Clone, Debug)]
pub struct ConnectionManager {
    /// The network filters in front of it.
    pub gates: Vec<Gate>,
    /// `http.<stat_prefix>.`
    pub stat_prefix: String,
    /// Which protocols a client may speak.
    pub codec: CodecType,
    /// Virtual hosts and routes.
    pub routes: Arc<RouteTable>,
    /// Upgrades that are on, or known but off.
    pub upgrades: Upgrades,
    /// HTTP/2 towards clients.
    pub http2: Http2Options,
    /// HTTP/1 towards clients.
    pub http1: Http1Options,
    /// One line per stream goes to each.
    pub access_logs: Vec<AccessLog>,
    /// When there are lines besides that of a stream's end.
    pub early_logs: EarlyLogs,
    /// What becomes of responses of the proxy's own.
    pub local_replies: LocalReplies,
    /// Timeouts of the connection manager.
    pub timeouts: ManagerTimeouts,
    /// What the `server` header says, and when.
    pub server: ServerHeader,
    /// Its HTTP filter chains, as they are where no route says otherwise.
    pub filters: Chains,
    /// The filters with stats of their own that one of them has, whether or not a route has something for them to do.
    pub counted: BTreeSet<Kind>,
    /// `node.cluster`, which responses to health checks name.
    pub own_cluster: HeaderValue,
    /// Limits of requests that one of them has.
    pub rate_limits: Vec<Arc<RateLimit>>,
    /// Largest request head. Bytes.
    pub request_head_bytes_max: usize,
    /// `headers_with_underscores_action`
    pub underscores: Underscores,
    /// Most header fields in a request.
    pub request_headers_max: usize,
    /// Requests that one connection may carry; `None` is no limit.
    pub requests_per_connection_max: Option<NonZeroU32>,
    /// What is believed of what a request says of its sender.
    pub trust: Trust,
    /// What becomes of hosts and paths before they are matched.
    pub normalisation: Normalisation,
    /// `scheme_header_transformation.scheme_to_overwrite`: the scheme of every request, whatever it says.
    pub scheme: Option<HeaderValue>,
    /// `match_upstream`: upstreams get the scheme by which they are reached, which is `http`.
    pub scheme_matches_upstream: bool,
    /// `add_user_agent`: upstreams are told the names of this node.
    pub node_names: Option<NodeNames>,
    /// What becomes of `x-forwarded-client-cert`.
    pub client_cert: ClientCertHeader,
    /// `append_x_forwarded_port`: upstreams get the listener's port.
    pub adds_port_header: bool,
    /// `via`: this proxy's part of the `via` field of requests and responses.
    pub via: Option<HeaderValue>,
    /// Pass 100 (Continue) and other informational responses on, and the expectation with them, instead of meeting it
    /// here.
    pub proxy_100_continue: bool,
    /// Where `x-request-id` comes from and goes.
    pub request_ids: RequestIds,
    /// `tracing`, if there is a provider.
    pub tracing: Option<Tracing>,
}

impl ConnectionManager {
    /// Writes the texts that `said` has for operators into every format of lines and bodies.
    pub fn resolve(&mut self, said: &dyn Fn(&Operator) -> Option<String>) {
        let replies = &mut self.local_replies;
        let of_replies =
            replies.mappers.iter_mut().filter_map(|mapper| mapper.format.as_mut()).chain(&mut replies.format);
        of_replies.for_each(|body| body.format.resolve(said));
        self.access_logs.iter_mut().for_each(|log| log.resolve(said));
    }

    /// Does the body of one of the proxy's own responses have such an operator?
    #[must_use]
    pub fn replies_show(&self, is: fn(&Operator) -> bool) -> bool {
        let of_mappers = self.local_replies.mappers.iter().filter_map(|mapper| mapper.format.as_ref());
        of_mappers.chain(&self.local_replies.format).any(|body| body.format.any(&is))
    }
}

/// Which protocol a downstream connection speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CodecType {
    /// HTTP/2 if the first bytes are its preface, else HTTP/1.
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 with prior knowledge only.
    Http2,
}

/// HTTP/1 options. Every field has Envoy's name and default.
#[derive(Clone, Debug, Default)]
pub struct Http1Options {
    /// Serve HTTP/1.0 requests instead of refusing them with 426.
    pub accept_http_10: bool,
    /// Serve every method that is a token instead of those that Envoy knows.
    pub allow_custom_methods: bool,
    /// Members of `upgrade` that are treated as if they had not come: the request is an ordinary one without them.
    pub ignore_http_11_upgrade: Vec<StringMatch>,
    /// The host of an HTTP/1.0 request that names none. Without it such a request is refused.
    pub default_host_for_http_10: Option<String>,
    /// `header_key_format`
    pub name_case: NameCase,
    /// What becomes of trailers.
    pub trailers: TrailerRule,
    /// `http1_safe_max_connection_duration`: a connection that has reached its longest life serves one request more.
    pub safe_max_connection_duration: bool,
}

/// Timers of a downstream connection and its streams. `None` is off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ManagerTimeouts {
    /// A connection without streams is drained after this.
    pub idle: Option<Duration>,
    /// `max_connection_duration`: a connection is drained after this, counted from its acceptance.
    pub connection: Option<Duration>,
    /// `max_stream_duration`: a stream is ended after this, whatever it does.
    pub stream: Option<Duration>,
    /// A stream without progress in either direction is ended after this.
    pub stream_idle: Option<Duration>,
    /// From a response's last byte in the buffer to its last byte on an HTTP/2 client's connection: `None` is as long as
    /// a stream may be idle, `Some(None)` for ever.
    pub stream_flush: Option<Option<Duration>>,
    /// From the head's first byte to the request's end or the response's head.
    pub request: Option<Duration>,
    /// From the head's first byte to its last.
    pub request_headers: Option<Duration>,
    /// How long a closing connection waits for the client to close first. Zero: not at all.
    pub delayed_close: Duration,
    /// From the first step of a drain to the second.
    pub drain: Duration,
}

impl Default for ManagerTimeouts {
    fn default() -> Self {
        Self {
            idle: Some(Duration::from_secs(3600)),
            connection: None,
            stream: None,
            stream_idle: Some(Duration::from_secs(300)),
            stream_flush: None,
            request: None,
            request_headers: None,
            delayed_close: Duration::from_secs(1),
            drain: Duration::from_secs(5),
        }
    }
}

/// The `server` response header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerHeader {
    /// The value of the `server` header.
    pub name: HeaderValue,
    /// What happens to the upstream's.
    pub transformation: ServerTransformation,
}

/// `server_header_transformation`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerTransformation {
    /// Keep the upstream's, else add ours.
    AppendIfAbsent,
    /// OVERWRITE: the `server` header of the upstream is replaced.
    Overwrite,
    /// The upstream's or none.
    PassThrough,
}

/// Where `x-request-id` comes from and goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestIds {
    /// `generate_request_id`: one is made where none came.
    pub generate: bool,
    /// `preserve_external_request_id`: one that came from outside stays; else the edge makes its own.
    pub keep_external: bool,
    /// `always_set_request_id_in_response`
    pub in_response: bool,
}

/// `access_log_options`: on which occasions a line is written before the end of a stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EarlyLogs {
    /// Its head has been read and its route is known.
    pub at_begin: bool,
    /// It has become a tunnel.
    pub at_tunnel: bool,
    /// `access_log_flush_interval`: so much time has passed once more.
    pub every: Option<Duration>,
}
