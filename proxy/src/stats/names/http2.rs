//! HTTP/2 connections, in either direction.

use super::{cluster_prefix, last_words, scope};
use crate::stats::{Counter, Gauge, Registry};

scope! {
    /// `http2.` for all clients together, `cluster.<name>.http2.` for each cluster.
    Http2Stats {
        /// A field was left out of a request because its name has an underscore.
        dropped_headers_with_underscores: Counter,
        /// GOAWAY was sent.
        goaway_sent: Counter,
        /// A head had more bytes than it may.
        header_list_size_too_large: Counter,
        /// A head had more fields than it may.
        header_overflow: Counter,
        /// A connection was ended: too many empty frames in a row.
        inbound_empty_frames_flood: Counter,
        /// A connection was ended: too many PRIORITY frames.
        inbound_priority_frames_flood: Counter,
        /// A connection was ended: too many WINDOW_UPDATE frames.
        inbound_window_update_frames_flood: Counter,
        /// A peer did not acknowledge a PING in time.
        keepalive_timeout: Counter,
        /// A connection from a client began. Envoy names these two after its codec; dashboards use these names.
        nghttp2_downstream_connections: Counter,
        /// A connect to an upstream began.
        nghttp2_upstream_connections: Counter,
        /// Payload that waits for a window, or for the socket where much waits for it already. Bytes.
        pending_send_bytes: Gauge,
        /// A request was refused because a name in it has an underscore.
        requests_rejected_with_underscores_in_headers: Counter,
        /// A message broke the rules of RFC 9113 8.
        rx_messaging_error: Counter,
        /// RST_STREAM was received.
        rx_reset: Counter,
        /// A stream was refused: too many at once.
        stream_refused_errors: Counter,
        /// Number of open streams.
        streams_active: Gauge,
        /// Trailers of a request were received.
        trailers: Counter,
        /// A client did not take the rest of a response within `stream_flush_timeout`.
        tx_flush_timeout: Counter,
        /// RST_STREAM was sent.
        tx_reset: Counter,
    }
}

/// Names under `http2.` that dashboards expect and that stay 0: this proxy has no such thing.
const HTTP2_ALWAYS_ZERO: &[&str] =
    &["headers_cb_no_stream", "metadata_empty_frames", "outbound_control_flood", "outbound_flood"];

impl Http2Stats {
    /// The scope of all clients with HTTP/2.
    #[must_use]
    pub fn downstream(registry: &Registry) -> Self {
        Self::new(registry, "http2")
    }

    /// The scope of a cluster with HTTP/2.
    #[must_use]
    pub fn upstream(registry: &Registry, cluster: &str) -> Self {
        Self::new(registry, &format!("{}.http2", cluster_prefix(cluster)))
    }

    fn new(registry: &Registry, prefix: &str) -> Self {
        HTTP2_ALWAYS_ZERO.iter().for_each(|name| drop(Counter::named(registry, prefix, name)));
        Self::under(registry, prefix)
    }
}
