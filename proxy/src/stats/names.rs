//! Everything that is counted, in Envoy's spelling: one table for each scope.
//!
//! A table is a struct whose fields are the handles; a field is called what the stat is called, the comment
//! on it says when it moves. Building a scope looks every name up once, so it is done once per worker and
//! scope, not per connection.

use std::net::SocketAddr;

use http::StatusCode;

use super::{Counter, Gauge, Histogram, Registry};

/// Makes a table of `name: kind` into a struct of handles with a constructor. Where the stat's name holds a
/// dot, it stands behind the kind.
macro_rules! scope {
    ($(#[$about:meta])* $scope:ident { $($(#[$when:meta])* $name:ident: $kind:ident $(= $dotted:literal)?,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug)]
        pub struct $scope {
            $($(#[$when])* pub $name: $kind,)*
        }

        impl $scope {
            fn under(registry: &Registry, prefix: &str) -> Self {
                Self { $($name: $kind::named(registry, prefix, last_words!($name $($dotted)?)),)* }
            }
        }
    };
}

macro_rules! last_words {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $dotted:literal) => {
        $dotted
    };
}

scope! {
    /// `http.<stat_prefix>.`: a connection manager and its router.
    HttpStats {
        /// Connections open.
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
        /// Bytes read and not yet understood.
        downstream_cx_rx_bytes_buffered: Gauge,
        /// Bytes read.
        downstream_cx_rx_bytes_total: Counter,
        /// A connection was accepted.
        downstream_cx_total: Counter,
        /// Bytes waiting to be written.
        downstream_cx_tx_bytes_buffered: Gauge,
        /// Bytes written.
        downstream_cx_tx_bytes_total: Counter,
        /// Tunnels open.
        downstream_cx_upgrades_active: Gauge,
        /// An upgrade or CONNECT was let through.
        downstream_cx_upgrades_total: Counter,
        /// We stopped reading from a client, because the other side is slower.
        downstream_flow_control_paused_reading_total: Counter,
        /// We read again.
        downstream_flow_control_resumed_reading_total: Counter,
        /// Streams open.
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
        /// A route answered by itself.
        rq_direct_response: Counter,
        /// An upstream broke off after the response had begun.
        rq_reset_after_downstream_response_started: Counter,
        /// A request reached the router.
        rq_total: Counter,
        /// `downstream_rq_completed` and `downstream_rq_<class>xx`.
        responses: ResponseStats,
    }
}

/// Names under `http.<stat_prefix>.` that dashboards expect and that stay 0: this proxy has no such thing.
const HTTP_ALWAYS_ZERO: &[&str] = &[
    "downstream_cx_http1_soft_drain",
    "downstream_cx_http3_total",
    "downstream_cx_overload_disable_keepalive",
    "downstream_cx_ssl_total",
    "downstream_rq_http3_total",
    "downstream_rq_overload_close",
    "downstream_rq_redirected_with_normalized_path",
    "downstream_rq_rejected_via_ip_detection",
    "downstream_rq_too_many_premature_resets",
    "passthrough_internal_redirect_bad_location",
    "passthrough_internal_redirect_no_route",
    "passthrough_internal_redirect_predicate",
    "passthrough_internal_redirect_too_many_redirects",
    "passthrough_internal_redirect_unsafe_scheme",
    "rq_overload_local_reply",
    "rq_redirect",
    "rs_too_large",
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
        Self::under(registry, &prefix)
    }
}

scope! {
    /// `listener.<address>.`: a listening socket.
    ListenerStats {
        /// Connections open.
        downstream_cx_active: Gauge,
        /// A connection ended.
        downstream_cx_destroy: Counter,
        /// How long a connection lived.
        downstream_cx_length_ms: Histogram,
        /// A connection was refused: as many are open as may be.
        downstream_cx_overflow: Counter,
        /// A connection was accepted.
        downstream_cx_total: Counter,
        /// No filter chain took a connection.
        no_filter_chain_match: Counter,
    }
}

impl ListenerStats {
    /// The scope of a listening socket.
    #[must_use]
    pub fn new(registry: &Registry, address: SocketAddr) -> Self {
        Self::under(registry, &listener_prefix(address))
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
    pub fn of_listener(registry: &Registry, address: SocketAddr, stat_prefix: &str) -> Self {
        Self::under(registry, &format!("{}.http.{}", listener_prefix(address), one_segment(stat_prefix)))
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

scope! {
    /// `cluster.<name>.`: connections to, and requests to, a cluster.
    ClusterStats {
        /// 1 while as many connections are open as may be.
        cx_open: Gauge = "circuit_breakers.default.cx_open",
        /// 1 while as many requests are under way as may be.
        rq_open: Gauge = "circuit_breakers.default.rq_open",
        /// 1 while as many requests wait for a connection as may.
        rq_pending_open: Gauge = "circuit_breakers.default.rq_pending_open",
        /// 1 while as many retries are under way as may be.
        rq_retry_open: Gauge = "circuit_breakers.default.rq_retry_open",
        /// An endpoint was chosen although too few are healthy.
        lb_healthy_panic: Counter,
        /// The set of endpoints changed.
        membership_change: Counter,
        /// Endpoints that may be chosen.
        membership_healthy: Gauge,
        /// Endpoints.
        membership_total: Gauge,
        /// A request could not be repeated: too much of it was buffered.
        retry_or_shadow_abandoned: Counter,
        /// Names were asked for.
        update_attempt: Counter,
        /// The answer held no address.
        update_empty: Counter,
        /// There was no answer.
        update_failure: Counter,
        /// The answer was the one before.
        update_no_rebuild: Counter,
        /// There was an answer.
        update_success: Counter,
        /// Connections open or connecting.
        upstream_cx_active: Gauge,
        /// The peer announced that it will close: `connection: close`, HTTP/1.0, GOAWAY.
        upstream_cx_close_notify: Counter,
        /// A request was given up because too many connects failed for it.
        upstream_cx_connect_attempts_exceeded: Counter,
        /// A connect failed.
        upstream_cx_connect_fail: Counter,
        /// How long a successful connect took.
        upstream_cx_connect_ms: Histogram,
        /// A connect took too long.
        upstream_cx_connect_timeout: Counter,
        /// A connection ended; one that never came up counts.
        upstream_cx_destroy: Counter,
        /// We ended a connection.
        upstream_cx_destroy_local: Counter,
        /// We ended a connection with a request open.
        upstream_cx_destroy_local_with_active_rq: Counter,
        /// The peer ended a connection.
        upstream_cx_destroy_remote: Counter,
        /// The peer ended a connection with a request open.
        upstream_cx_destroy_remote_with_active_rq: Counter,
        /// A connection ended with a request open.
        upstream_cx_destroy_with_active_rq: Counter,
        /// A connect began, to speak HTTP/1.
        upstream_cx_http1_total: Counter,
        /// A connect began, to speak HTTP/2.
        upstream_cx_http2_total: Counter,
        /// A pooled connection was unused for too long.
        upstream_cx_idle_timeout: Counter,
        /// How long a connection lived.
        upstream_cx_length_ms: Histogram,
        /// A connection reached its longest life.
        upstream_cx_max_duration_reached: Counter,
        /// A connection had as many requests as it may.
        upstream_cx_max_requests: Counter,
        /// There was no endpoint to connect to.
        upstream_cx_none_healthy: Counter,
        /// A connection was wanted, but as many are open as may be.
        upstream_cx_overflow: Counter,
        /// What came is not HTTP.
        upstream_cx_protocol_error: Counter,
        /// Bytes read and not yet understood.
        upstream_cx_rx_bytes_buffered: Gauge,
        /// Bytes read.
        upstream_cx_rx_bytes_total: Counter,
        /// A connect began.
        upstream_cx_total: Counter,
        /// Bytes waiting to be written.
        upstream_cx_tx_bytes_buffered: Gauge,
        /// Bytes written.
        upstream_cx_tx_bytes_total: Counter,
        /// A connection had more to write than it takes.
        upstream_flow_control_backed_up_total: Counter,
        /// It caught up.
        upstream_flow_control_drained_total: Counter,
        /// We stopped reading from a connection, because the client is slower.
        upstream_flow_control_paused_reading_total: Counter,
        /// We read again.
        upstream_flow_control_resumed_reading_total: Counter,
        /// Requests on a connection.
        upstream_rq_active: Gauge,
        /// A request was refused: as many are under way as may be.
        upstream_rq_active_overflow: Counter,
        /// A request went away while it waited for a connection.
        upstream_rq_cancelled: Counter,
        /// A request was refused because the cluster is in maintenance.
        upstream_rq_maintenance_mode: Counter,
        /// A request reached its longest life.
        upstream_rq_max_duration_reached: Counter,
        /// Requests waiting for a connection.
        upstream_rq_pending_active: Gauge,
        /// The connection a request waited for failed.
        upstream_rq_pending_failure_eject: Counter,
        /// A request was refused: as many wait for a connection as may.
        upstream_rq_pending_overflow: Counter,
        /// A request had to wait for a connection.
        upstream_rq_pending_total: Counter,
        /// How many requests a connection carried, at its end.
        upstream_rq_per_cx: Histogram,
        /// One attempt made no progress for too long.
        upstream_rq_per_try_idle_timeout: Counter,
        /// One attempt took too long.
        upstream_rq_per_try_timeout: Counter,
        /// A retry was sent.
        upstream_rq_retry: Counter,
        /// A retry was sent after an exponential back-off.
        upstream_rq_retry_backoff_exponential: Counter,
        /// A retry was wanted, but none is left.
        upstream_rq_retry_limit_exceeded: Counter,
        /// A retry was wanted, but as many are under way as may be.
        upstream_rq_retry_overflow: Counter,
        /// A request went well in the end, after a retry.
        upstream_rq_retry_success: Counter,
        /// The peer reset a request (HTTP/2).
        upstream_rq_rx_reset: Counter,
        /// The peer reset a request with NO_ERROR (HTTP/2).
        upstream_rq_rx_reset_no_error: Counter,
        /// A request with all its attempts took too long.
        upstream_rq_timeout: Counter,
        /// A request was put on a connection; every attempt counts.
        upstream_rq_total: Counter,
        /// We reset a request (HTTP/2).
        upstream_rq_tx_reset: Counter,
    }
}

/// Names under `cluster.<name>.` that dashboards expect and that stay 0: this proxy has no such thing.
const CLUSTER_ALWAYS_ZERO: &[&str] = &[
    "bind_errors",
    "lb_local_cluster_not_ok",
    "lb_recalculate_zone_structures",
    "lb_zone_cluster_too_small",
    "lb_zone_no_capacity_left",
    "lb_zone_routing_all_directly",
    "lb_zone_routing_cross_zone",
    "lb_zone_routing_sampled",
    "original_dst_host_invalid",
    "upstream_cx_connect_with_0_rtt",
    "upstream_cx_http3_total",
    "upstream_cx_pool_overflow",
    "upstream_cx_preconnect_skipped",
    "upstream_http3_broken",
    "upstream_internal_redirect_failed_total",
    "upstream_internal_redirect_succeeded_total",
    "upstream_rq_0rtt",
    "upstream_rq_retry_backoff_ratelimited",
];

impl ClusterStats {
    /// The scope of a cluster.
    #[must_use]
    pub fn new(registry: &Registry, cluster: &str) -> Self {
        let prefix = cluster_prefix(cluster);
        CLUSTER_ALWAYS_ZERO.iter().for_each(|name| drop(Counter::named(registry, &prefix, name)));
        Self::under(registry, &prefix)
    }
}

scope! {
    /// `http2.` for all clients together, `cluster.<name>.http2.` for each cluster.
    Http2Stats {
        /// GOAWAY was sent.
        goaway_sent: Counter,
        /// A head had more fields or bytes than it may.
        header_overflow: Counter,
        /// A connection from a client began. Envoy names these two after its codec; dashboards know them so.
        nghttp2_downstream_connections: Counter,
        /// A connection to an upstream began.
        nghttp2_upstream_connections: Counter,
        /// Bytes waiting for a window.
        pending_send_bytes: Gauge,
        /// A message broke the rules of RFC 9113 8.
        rx_messaging_error: Counter,
        /// RST_STREAM was received.
        rx_reset: Counter,
        /// Streams open.
        streams_active: Gauge,
        /// Trailers were received.
        trailers: Counter,
        /// RST_STREAM was sent.
        tx_reset: Counter,
    }
}

/// Names under `http2.` that dashboards expect and that stay 0: this proxy has no such thing.
const HTTP2_ALWAYS_ZERO: &[&str] = &[
    "dropped_headers_with_underscores",
    "headers_cb_no_stream",
    "inbound_empty_frames_flood",
    "inbound_priority_frames_flood",
    "inbound_window_update_frames_flood",
    "keepalive_timeout",
    "metadata_empty_frames",
    "outbound_control_flood",
    "outbound_flood",
    "requests_rejected_with_underscores_in_headers",
    "stream_refused_errors",
    "tx_flush_timeout",
];

impl Http2Stats {
    /// The scope of all clients that speak HTTP/2.
    #[must_use]
    pub fn downstream(registry: &Registry) -> Self {
        Self::new(registry, "http2")
    }

    /// The scope of a cluster that speaks HTTP/2.
    #[must_use]
    pub fn upstream(registry: &Registry, cluster: &str) -> Self {
        Self::new(registry, &format!("{}.http2", cluster_prefix(cluster)))
    }

    fn new(registry: &Registry, prefix: &str) -> Self {
        HTTP2_ALWAYS_ZERO.iter().for_each(|name| drop(Counter::named(registry, prefix, name)));
        Self::under(registry, prefix)
    }
}

scope! {
    /// `server.`: the process.
    ServerStats {
        /// Workers.
        concurrency: Gauge,
        /// 1 while the process takes requests and does not drain.
        live: Gauge,
        /// The state as a number: 0 live, 1 draining, 3 initialising.
        state: Gauge,
        /// Connections open, of all listeners.
        total_connections: Gauge,
        /// Since the start. Seconds.
        uptime: Gauge,
    }
}

impl ServerStats {
    /// The scope of the process.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self::under(registry, "server")
    }
}

/// `cluster.<name>`
pub(super) fn cluster_prefix(cluster: &str) -> String {
    format!("cluster.{}", one_segment(cluster))
}

fn listener_prefix(address: SocketAddr) -> String {
    format!("listener.{}", one_segment(&address.to_string()))
}

/// A name from the configuration as part of a stat's name. `:` separates name and value in the text form.
fn one_segment(name: &str) -> String {
    name.replace(':', "_")
}

impl Counter {
    fn named(registry: &Registry, prefix: &str, last: &str) -> Self {
        registry.counter(&format!("{prefix}.{last}"))
    }
}

impl Gauge {
    fn named(registry: &Registry, prefix: &str, last: &str) -> Self {
        registry.gauge(&format!("{prefix}.{last}"))
    }
}

impl Histogram {
    fn named(registry: &Registry, prefix: &str, last: &str) -> Self {
        registry.histogram(&format!("{prefix}.{last}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(registry: &Registry, name: &str) -> Option<u64> {
        registry.snapshot().numbers.iter().find(|number| number.name == name).map(|number| number.value)
    }

    #[test]
    fn a_scope_puts_its_prefix_before_every_name() {
        let registry = Registry::new();
        let stats = ClusterStats::new(&registry, "a:b.c");
        stats.upstream_cx_total.inc();
        stats.cx_open.set(1);
        Http2Stats::upstream(&registry, "a:b.c").rx_reset.inc();
        let address = "[::1]:80".parse().unwrap();
        ResponseStats::of_listener(&registry, address, "in").charge(StatusCode::OK);
        for name in [
            "cluster.a_b.c.upstream_cx_total",
            "cluster.a_b.c.circuit_breakers.default.cx_open",
            "cluster.a_b.c.http2.rx_reset",
            "listener.[__1]_80.http.in.downstream_rq_2xx",
        ] {
            assert_eq!(value(&registry, name), Some(1), "{name}");
        }
        assert_eq!(value(&registry, "cluster.a_b.c.upstream_rq_total"), Some(0), "names exist before they move");
    }

    #[test]
    fn a_response_is_charged_to_its_class() {
        let cases = [(101, "1xx"), (204, "2xx"), (304, "3xx"), (499, "4xx"), (599, "5xx")];
        for (status, class) in cases {
            let registry = Registry::new();
            HttpStats::new(&registry, "p").responses.charge(StatusCode::from_u16(status).unwrap());
            assert_eq!(value(&registry, &format!("http.p.downstream_rq_{class}")), Some(1), "{status}");
            assert_eq!(value(&registry, "http.p.downstream_rq_completed"), Some(1), "{status}");
        }
    }
}
