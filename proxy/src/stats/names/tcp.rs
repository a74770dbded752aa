//! TCP proxies.

use super::{ByteStats, last_words, one_segment, scope};
use crate::stats::{Counter, Gauge, Registry};

scope! {
    /// `tcp.<stat_prefix>.`: a TCP proxy.
    TcpStats {
        /// `downstream_cx_rx_bytes_total` and its like.
        bytes: ByteStats = "downstream_cx",
        /// A connection was closed, because its cluster is not there.
        downstream_cx_no_route: Counter,
        /// A connection was accepted.
        downstream_cx_total: Counter,
        /// A client was not read any more, because its endpoint took no more.
        downstream_flow_control_paused_reading_total: Counter,
        /// It was read again, or the connection was over.
        downstream_flow_control_resumed_reading_total: Counter,
        /// A connection was ended that had carried no byte for too long.
        idle_timeout: Counter,
        /// A connection reached its longest life.
        max_downstream_connection_duration: Counter,
        /// Connections to endpoints whose client has gone, and that have not taken yet what it sent.
        upstream_flush_active: Gauge,
        /// A client had gone before its endpoint had taken what it sent.
        upstream_flush_total: Counter,
    }
}

/// Names under `tcp.<stat_prefix>.` that dashboards expect and that stay 0: this proxy has no such thing.
const ALWAYS_ZERO: &[&str] = &[
    "downstream_cx_drain_close",
    "downstream_cx_overload_close",
    "early_data_received_count_total",
    "route_delayed_total",
];

impl TcpStats {
    /// The scope of a TCP proxy.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        let prefix = format!("tcp.{}", one_segment(stat_prefix));
        ALWAYS_ZERO.iter().for_each(|name| drop(Counter::named(registry, &prefix, name)));
        Self::under(registry, &prefix)
    }
}
