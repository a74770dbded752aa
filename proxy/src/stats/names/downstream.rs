//! Connection managers and listeners.

use http::StatusCode;

use super::{ByteStats, last_words, one_segment, scope};
use crate::stats::{Counter, Gauge, Histogram, Registry};

scope! {
    /// `http.<stat_prefix>.`: a connection manager and its router.
    HttpStats {
        /// `downstream_cx_rx_bytes_total` and its like.
        bytes: ByteStats = "downstream_cx",
        /// Number of open connections.
        downstream_cx_active: Gauge,
        /// The delayed-close timer ran out before the client closed.
        downstream_cx_delayed_close_timeout: Counter,
        /// A connection ended.
        downstream_cx_destroy: Counter,
        /// A connection ended with a stream open.
        downstream_cx_destroy_active_rq: Counter,
        /// We ended a connection.
        downstream_cx_destroy_local: Counter,
        /// We ended a connection with a stream open.
        downstream_cx_destroy_local_active_rq: Counter,
        /// The client ended a connection.
        downstream_cx_destroy_remote: Counter,
        /// The client ended a connection with a stream open.
        downstream_cx_destroy_remote_active_rq: Counter,
        /// A connection was closed because we drain.
        downstream_cx_drain_close: Counter,
        /// HTTP/1 connections open.
        downstream_cx_http1_active: Gauge,
        /// A connection turned out to be HTTP/1.
        downstream_cx_http1_total: Counter,
        /// HTTP/2 connections open.
        downstream_cx_http2_active: Gauge,
        /// A connection turned out to be HTTP/2.
        downstream_cx_http2_total: Counter,
        /// The idle timer closed a connection.
        downstream_cx_idle_timeout: Counter,
        /// How long a connection lived.
        downstream_cx_length_ms: Histogram,
        /// A connection reached its longest life.
        downstream_cx_max_duration_reached: Counter,
        /// A connection had as many requests as it may.
        downstream_cx_max_requests_reached: Counter,
        /// What came is not HTTP.
        downstream_cx_protocol_error: Counter,
        /// Number of open connections that TLS encrypts.
        downstream_cx_ssl_active: Gauge,
        /// The handshake of a connection was completed.
        downstream_cx_ssl_total: Counter,
        /// A connection was accepted.
        downstream_cx_total: Counter,
        /// Number of open tunnels.
        downstream_cx_upgrades_active: Gauge,
        /// An upgrade or CONNECT was let through.
        downstream_cx_upgrades_total: Counter,
        /// A client was not read any more, because its upstream took no more of its request.
        downstream_flow_control_paused_reading_total: Counter,
        /// It was read again, or the request was over.
        downstream_flow_control_resumed_reading_total: Counter,
        /// Number of requests under way.
        downstream_rq_active: Gauge,
        /// A path could not be normalised.
        downstream_rq_failed_path_normalization: Counter,
        /// The request head took too long.
        downstream_rq_header_timeout: Counter,
        /// A stream began on HTTP/1.
        downstream_rq_http1_total: Counter,
        /// A stream began on HTTP/2.
        downstream_rq_http2_total: Counter,
        /// A stream made no progress for too long.
        downstream_rq_idle_timeout: Counter,
        /// A stream reached its longest life.
        downstream_rq_max_duration_reached: Counter,
        /// A path does not begin with `/`.
        downstream_rq_non_relative_path: Counter,
        /// A client was sent to the normal form of its path.
        downstream_rq_redirected_with_normalized_path: Counter,
        /// The response ended before the request.
        downstream_rq_response_before_rq_complete: Counter,
        /// The client reset a stream or went away, or its request was never finished.
        downstream_rq_rx_reset: Counter,
        /// From a stream's first byte to its end, where a response was completed.
        downstream_rq_time: Histogram,
        /// The whole request took too long to arrive.
        downstream_rq_timeout: Counter,
        /// A request body was larger than may be buffered.
        downstream_rq_too_large: Counter,
        /// A connection was ended: too many of its streams were reset before they had a response.
        downstream_rq_too_many_premature_resets: Counter,
        /// A stream began, whatever became of it.
        downstream_rq_total: Counter,
        /// We reset a stream.
        downstream_rq_tx_reset: Counter,
        /// An upgrade was refused.
        downstream_rq_ws_on_non_ws_route: Counter,
        /// A route named a cluster that is not there.
        no_cluster: Counter,
        /// No route took a request.
        no_route: Counter,
        /// A redirect was passed on: it leads to no URL.
        passthrough_internal_redirect_bad_location: Counter,
        /// A redirect was passed on: no route takes the request there.
        passthrough_internal_redirect_no_route: Counter,
        /// A redirect was passed on: a predicate does not accept the place that it leads to.
        passthrough_internal_redirect_predicate: Counter,
        /// A redirect was passed on: the request has followed as many as it may.
        passthrough_internal_redirect_too_many_redirects: Counter,
        /// A redirect was passed on: it leads to another scheme.
        passthrough_internal_redirect_unsafe_scheme: Counter,
        /// A route responded by itself.
        rq_direct_response: Counter,
        /// An upstream broke off after the response to a gRPC request had begun. As in Envoy, no other request counts.
        rq_reset_after_downstream_response_started: Counter,
        /// A request reached the router.
        rq_total: Counter,
        /// A response's body that a filter has to keep was larger than may be buffered.
        rs_too_large: Counter,
        /// `downstream_rq_completed` and `downstream_rq_<class>xx`.
        responses: ResponseStats,
    }
}

/// Names under `http.<stat_prefix>.` that dashboards expect and that stay 0: this proxy has no such thing.
const HTTP_ALWAYS_ZERO: &[&str] = &[
    "downstream_cx_http3_total",
    "downstream_cx_overload_disable_keepalive",
    "downstream_rq_http3_total",
    "downstream_rq_overload_close",
    "downstream_rq_rejected_via_ip_detection",
    "rq_overload_local_reply",
    "rq_redirect",
    "tracing.client_enabled",
    "tracing.health_check",
    "tracing.not_traceable",
    "tracing.random_sampling",
    "tracing.service_forced",
];

impl HttpStats {
    /// The scope of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        let prefix = format!("http.{}", one_segment(stat_prefix));
        HTTP_ALWAYS_ZERO.iter().for_each(|name| drop(Counter::named(registry, &prefix, name)));
        drop(Gauge::named(registry, &prefix, "downstream_cx_http1_soft_drain")); // the one of these that is a gauge
        Self::under(registry, &prefix)
    }
}

scope! {
    /// `http.<stat_prefix>.cors.`: the filter `envoy.filters.http.cors`, where it is in a chain.
    CorsStats {
        /// A request had an `origin` that its route's policy does not allow.
        origin_invalid: Counter,
        /// A request had an `origin` that its route's policy allows.
        origin_valid: Counter,
    }
}

impl CorsStats {
    /// The scope of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        Self::under(registry, &format!("http.{}.cors", one_segment(stat_prefix)))
    }
}

scope! {
    /// `http.<stat_prefix>.basic_auth.`: the filter `envoy.filters.http.basic_auth`, where it is in a chain.
    BasicAuthStats {
        /// A request has the credentials of a user.
        allowed: Counter,
        /// A request has not, and goes no further.
        denied: Counter,
    }
}

impl BasicAuthStats {
    /// The scope of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        Self::under(registry, &format!("http.{}.basic_auth", one_segment(stat_prefix)))
    }
}

scope! {
    /// `http.<stat_prefix>.lua.`, or below that the `stat_prefix` of a filter: the filter `envoy.filters.http.lua`, where it is in a
    /// chain.
    LuaStats {
        /// A function of a script has failed.
        errors: Counter,
        /// A function of a script has begun.
        executions: Counter,
    }
}

impl LuaStats {
    /// The scope of a filter of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str, own: &str) -> Self {
        let prefix = format!("http.{}.lua", one_segment(stat_prefix));
        let own = own.trim_end_matches('.');
        let prefix = if own.is_empty() { prefix } else { format!("{prefix}.{}", one_segment(own)) };
        Self::under(registry, &prefix)
    }
}

scope! {
    /// `http.<stat_prefix>.csrf.`: the filter `envoy.filters.http.csrf`, where it is in a chain.
    CsrfStats {
        /// A request that changes something has neither `origin` nor `referer`.
        missing_source_origin: Counter,
        /// A request that changes something comes from no page that may.
        request_invalid: Counter,
        /// A request that changes something comes from a page that may.
        request_valid: Counter,
    }
}

impl CsrfStats {
    /// The scope of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        Self::under(registry, &format!("http.{}.csrf", one_segment(stat_prefix)))
    }
}

scope! {
    /// `http.<stat_prefix>.health_check.`: the filter `envoy.filters.http.health_check`, where it is in a chain.
    HealthCheckStats {
        /// The response to a check was the status that the upstream had for the last.
        cached_response: Counter,
        /// The proxy has responded that it is not well.
        failed: Counter,
        /// So it has because a cluster has no endpoints.
        failed_cluster_empty: Counter,
        /// So it has because there is no such cluster.
        failed_cluster_not_found: Counter,
        /// So it has because too few endpoints of a cluster are healthy.
        failed_cluster_unhealthy: Counter,
        /// The proxy has responded that it is well.
        ok: Counter,
        /// The proxy has responded to a check.
        request_total: Counter,
    }
}

impl HealthCheckStats {
    /// The scope of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        let prefix = format!("http.{}.health_check", one_segment(stat_prefix));
        // No endpoint is degraded here; dashboards expect the name.
        drop(Counter::named(registry, &prefix, "degraded"));
        Self::under(registry, &prefix)
    }

    /// `http.<stat_prefix>.tracing.health_check`: a request is a check.
    #[must_use]
    pub fn checks(registry: &Registry, stat_prefix: &str) -> Counter {
        Counter::named(registry, &format!("http.{}.tracing", one_segment(stat_prefix)), "health_check")
    }
}

scope! {
    /// `http.<stat_prefix>.jwt_authn.`: the filter `envoy.filters.http.jwt_authn`, where it is in a chain.
    TokenStats {
        /// A request had what it needs.
        allowed: Counter,
        /// A preflight went on without a token.
        cors_preflight_bypassed: Counter,
        /// A request did not have what it needs.
        denied: Counter,
        /// Keys could not be fetched.
        jwks_fetch_failed: Counter,
        /// Keys were fetched.
        jwks_fetch_success: Counter,
        /// A token was verified.
        jwt_cache_miss: Counter,
    }
}

impl TokenStats {
    /// The scope of a connection manager; `own` is the filter's prefix.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str, own: &str) -> Self {
        let own = if own.is_empty() { String::new() } else { format!(".{}", one_segment(own)) };
        let prefix = format!("http.{}.jwt_authn{own}", one_segment(stat_prefix));
        // Tokens that were verified are not kept; dashboards expect the name.
        drop(Counter::named(registry, &prefix, "jwt_cache_hit"));
        Self::under(registry, &prefix)
    }
}

scope! {
    /// `<stat_prefix>.http_local_rate_limit.`: a filter `envoy.filters.http.local_ratelimit`, or that of a route.
    RateLimitStats {
        /// A request was to take a token.
        enabled: Counter,
        /// A request that got no token was refused.
        enforced: Counter,
        /// A request got a token.
        ok: Counter,
        /// A request got no token.
        rate_limited: Counter,
        /// A request got no token from a descriptor that refuses none, and from all others it got one.
        shadow_mode: Counter,
    }
}

impl RateLimitStats {
    /// The scope of a limit.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        Self::under(registry, &format!("{}.http_local_rate_limit", one_segment(stat_prefix)))
    }
}

scope! {
    /// `http.<stat_prefix>.set_metadata.`: the filter `envoy.filters.http.set_metadata`, where it is in a chain.
    SetMetadataStats {
        /// The namespace had a value already, and the entry may not overwrite it.
        overwrite_denied: Counter,
    }
}

impl SetMetadataStats {
    /// The scope of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        Self::under(registry, &format!("http.{}.set_metadata", one_segment(stat_prefix)))
    }

    /// The same for the entries of routes, whose counter belongs to no connection manager in Envoy.
    #[must_use]
    pub fn of_routes(registry: &Registry) -> Self {
        Self::under(registry, "set_metadata")
    }
}

scope! {
    /// `listener.<address>.`: a listening socket.
    ListenerStats {
        /// Number of open connections.
        downstream_cx_active: Gauge,
        /// A connection ended.
        downstream_cx_destroy: Counter,
        /// How long a connection lived.
        downstream_cx_length_ms: Histogram,
        /// A connection was refused: as many are open on this listener as may be.
        downstream_cx_overflow: Counter,
        /// A connection was accepted, and not refused for a limit.
        downstream_cx_total: Counter,
        /// A connection was closed: its TLS handshake took too long.
        downstream_cx_transport_socket_connect_timeout: Counter,
        /// A connection was refused: as many are open on all listeners together as may be.
        downstream_global_cx_overflow: Counter,
        /// A connection broke, or was refused by a listener filter, before a filter chain was chosen.
        downstream_listener_filter_error: Counter,
        /// A client closed before a filter chain was chosen.
        downstream_listener_filter_remote_close: Counter,
        /// Number of connections whose filter chain is not chosen yet.
        downstream_pre_cx_active: Gauge,
        /// A client took too long to send what a filter chain is chosen by.
        downstream_pre_cx_timeout: Counter,
        /// No filter chain took a connection.
        no_filter_chain_match: Counter,
    }
}

impl ListenerStats {
    /// The scope of a listening socket.
    #[must_use]
    pub fn new(registry: &Registry, listener: &str) -> Self {
        Self::under(registry, &listener_prefix(listener))
    }
}

scope! {
    /// The responses of a connection manager: under `http.<stat_prefix>.`, and once more under each of its
    /// listeners.
    ResponseStats {
        /// 1xx: an accepted upgrade, or 100 Continue of our own.
        downstream_rq_1xx: Counter,
        /// 2xx.
        downstream_rq_2xx: Counter,
        /// 3xx.
        downstream_rq_3xx: Counter,
        /// 4xx.
        downstream_rq_4xx: Counter,
        /// 5xx.
        downstream_rq_5xx: Counter,
        /// A response head was written.
        downstream_rq_completed: Counter,
    }
}

impl ResponseStats {
    /// `listener.<address>.http.<stat_prefix>.`
    #[must_use]
    pub fn of_listener(registry: &Registry, listener: &str, stat_prefix: &str) -> Self {
        Self::under(registry, &format!("{}.http.{}", listener_prefix(listener), one_segment(stat_prefix)))
    }

    /// Counts a response by its class and as completed.
    pub fn charge(&self, status: StatusCode) {
        self.downstream_rq_completed.inc();
        match status.as_u16() / 100 {
            1 => self.downstream_rq_1xx.inc(),
            2 => self.downstream_rq_2xx.inc(),
            3 => self.downstream_rq_3xx.inc(),
            4 => self.downstream_rq_4xx.inc(),
            5 => self.downstream_rq_5xx.inc(),
            _ => {}
        }
    }

    /// As part of another scope, which is where its names are.
    fn named(registry: &Registry, prefix: &str, _last: &str) -> Self {
        Self::under(registry, prefix)
    }
}

pub(super) fn listener_prefix(listener: &str) -> String {
    format!("listener.{}", one_segment(listener))
}
