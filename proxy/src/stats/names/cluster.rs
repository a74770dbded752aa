//! Clusters.

use std::sync::Arc;

use super::{ByteStats, cluster_prefix, last_words, scope};
use crate::config::cluster::Priority;
use crate::stats::{Counter, Derived, Gauge, Histogram, Registry, State};

scope! {
    /// `cluster.<name>.`: connections to, and requests to, a cluster.
    ClusterStats {
        /// `upstream_cx_rx_bytes_total` and its like. Health checks do not count.
        bytes: ByteStats = "upstream_cx",
        /// `upstream_flow_control_backed_up_total` and its like.
        flow: FlowStats = "upstream_flow_control",
        /// Endpoints that are ejected.
        ejections_active: State = "outlier_detection.ejections_active",
        /// An endpoint had too many 5xx in a row; Envoy's older name for it.
        ejections_consecutive_5xx: Counter = "outlier_detection.ejections_consecutive_5xx",
        /// An endpoint had too many 5xx in a row.
        ejections_detected_consecutive_5xx: Counter = "outlier_detection.ejections_detected_consecutive_5xx",
        /// An endpoint had too many failures in a row of our own making: connects that failed, timeouts.
        ejections_detected_consecutive_local_origin_failure: Counter =
            "outlier_detection.ejections_detected_consecutive_local_origin_failure",
        /// An endpoint had too many gateway failures in a row.
        ejections_detected_consecutive_gateway_failure: Counter =
            "outlier_detection.ejections_detected_consecutive_gateway_failure",
        /// An endpoint was ejected for 5xx in a row.
        ejections_enforced_consecutive_5xx: Counter = "outlier_detection.ejections_enforced_consecutive_5xx",
        /// An endpoint was ejected for gateway failures in a row.
        ejections_enforced_consecutive_gateway_failure: Counter =
            "outlier_detection.ejections_enforced_consecutive_gateway_failure",
        /// An endpoint was ejected for failures in a row of our own making.
        ejections_enforced_consecutive_local_origin_failure: Counter =
            "outlier_detection.ejections_enforced_consecutive_local_origin_failure",
        /// An endpoint succeeded much more seldom than the others.
        ejections_detected_success_rate: Counter = "outlier_detection.ejections_detected_success_rate",
        /// And was ejected for it.
        ejections_enforced_success_rate: Counter = "outlier_detection.ejections_enforced_success_rate",
        /// The same, of failures of our own making.
        ejections_detected_local_origin_success_rate: Counter = "outlier_detection.ejections_detected_local_origin_success_rate",
        /// And was ejected for it.
        ejections_enforced_local_origin_success_rate: Counter = "outlier_detection.ejections_enforced_local_origin_success_rate",
        /// An endpoint failed too often.
        ejections_detected_failure_percentage: Counter = "outlier_detection.ejections_detected_failure_percentage",
        /// And was ejected for it.
        ejections_enforced_failure_percentage: Counter = "outlier_detection.ejections_enforced_failure_percentage",
        /// The same, of failures of our own making.
        ejections_detected_local_origin_failure_percentage: Counter = "outlier_detection.ejections_detected_local_origin_failure_percentage",
        /// And was ejected for it.
        ejections_enforced_local_origin_failure_percentage: Counter = "outlier_detection.ejections_enforced_local_origin_failure_percentage",
        /// An endpoint succeeded much more seldom than the others; Envoy's older name for it.
        ejections_success_rate: Counter = "outlier_detection.ejections_success_rate",
        /// An endpoint was ejected.
        ejections_enforced_total: Counter = "outlier_detection.ejections_enforced_total",
        /// An endpoint would have been ejected, but too many are away.
        ejections_overflow: Counter = "outlier_detection.ejections_overflow",
        /// An endpoint was to be ejected for 5xx in a row; Envoy's older name for it.
        ejections_total: Counter = "outlier_detection.ejections_total",
        /// A check began and ended.
        health_check_attempt: Counter = "health_check.attempt",
        /// Endpoints that checks found to be degraded.
        health_check_degraded: State = "health_check.degraded",
        /// A check failed.
        health_check_failure: Counter = "health_check.failure",
        /// Endpoints that may be chosen.
        health_check_healthy: State = "health_check.healthy",
        /// A check failed without a response.
        health_check_network_failure: Counter = "health_check.network_failure",
        /// A response had `x-envoy-immediate-health-check-fail`.
        health_check_passive_failure: Counter = "health_check.passive_failure",
        /// A check succeeded.
        health_check_success: Counter = "health_check.success",
        /// A check looked at what the endpoint calls itself.
        health_check_verify_cluster: Counter = "health_check.verify_cluster",
        /// An endpoint was chosen although too few are healthy.
        lb_healthy_panic: Counter,
        /// Zones did not count, since the local cluster has no endpoint in the zone of this proxy, or too few are healthy.
        lb_local_cluster_not_ok: Counter,
        /// The shares of zones were calculated, by a worker.
        lb_recalculate_zone_structures: Counter,
        /// Subsets of endpoints.
        lb_subsets_active: State,
        /// A subset came to be.
        lb_subsets_created: Counter,
        /// There was no subset for a request, and another one or all endpoints took its place.
        lb_subsets_fallback: Counter,
        /// And that had no endpoint either: all took its place.
        lb_subsets_fallback_panic: Counter,
        /// A subset is gone.
        lb_subsets_removed: Counter,
        /// There was a subset for a request.
        lb_subsets_selected: Counter,
        /// Zones did not count, since too few endpoints are healthy.
        lb_zone_cluster_too_small: Counter,
        /// No zone had room for a request that its own had none for, and chance chose one.
        lb_zone_no_capacity_left: Counter,
        /// A request stayed in its zone, as all do.
        lb_zone_routing_all_directly: Counter,
        /// A request went to another zone.
        lb_zone_routing_cross_zone: Counter,
        /// A request stayed in its zone, as some do.
        lb_zone_routing_sampled: Counter,
        /// The set of endpoints changed.
        membership_change: Counter,
        /// A header that was to say where a request goes, of a cluster of type ORIGINAL_DST, has no address and port.
        original_dst_host_invalid: Counter,
        /// Endpoints that are used where healthy ones do not suffice.
        membership_degraded: State,
        /// Endpoints one of whose responses had `x-envoy-immediate-health-check-fail`, and those that drain.
        membership_excluded: State,
        /// Endpoints that may be chosen.
        membership_healthy: State,
        /// Number of endpoints.
        membership_total: State,
        /// A request could not be repeated: too much of it was buffered.
        retry_or_shadow_abandoned: Counter,
        /// A name of a STRICT_DNS cluster was to be resolved.
        update_attempt: Counter,
        /// The name server failed or did not respond; the name's endpoints stay.
        update_failure: Counter,
        /// A name resolved to the addresses it had before.
        update_no_rebuild: Counter,
        /// The name server responded, also that there is no such name or that it has no address.
        update_success: Counter,
        /// Connections open or connecting.
        upstream_cx_active: Gauge,
        /// The peer announced that it will close: `connection: close`, HTTP/1.0, GOAWAY.
        upstream_cx_close_notify: Counter,
        /// A TCP proxy has connected in vain as often as it may for one of its connections.
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
        /// A connect began, for HTTP/1.
        upstream_cx_http1_total: Counter,
        /// A connect began, for HTTP/2.
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
        /// A request was refused: its endpoint has no connection, and as many endpoints have some as may.
        upstream_cx_pool_overflow: Counter,
        /// What came is not HTTP.
        upstream_cx_protocol_error: Counter,
        /// An idle connection was found ended in the moment it would have been used again. Ours, not Envoy's.
        upstream_cx_reuse_stale: Counter,
        /// A connect began.
        upstream_cx_total: Counter,
        /// Requests on a connection.
        upstream_rq_active: Gauge,
        /// A redirect that would have been followed was passed on.
        upstream_internal_redirect_failed_total: Counter,
        /// A redirect was followed.
        upstream_internal_redirect_succeeded_total: Counter,
        /// A request was refused: as many are under way as may be.
        upstream_rq_active_overflow: Counter,
        /// A request went away while it waited for a connection.
        upstream_rq_cancelled: Counter,
        /// One attempt, or its response, took longer than the cluster permits.
        upstream_rq_max_duration_reached: Counter,
        /// A request was refused because a runtime key has the cluster refuse it.
        upstream_rq_maintenance_mode: Counter,
        /// Requests waiting for a connection.
        upstream_rq_pending_active: Gauge,
        /// The connection a request waited for failed.
        upstream_rq_pending_failure_eject: Counter,
        /// A request was refused: as many wait for a connection as may.
        upstream_rq_pending_overflow: Counter,
        /// A request had to wait for a connection.
        upstream_rq_pending_total: Counter,
        /// How many requests a connection carried, at its end; one that never came up does not count.
        upstream_rq_per_cx: Histogram,
        /// One attempt made no progress for too long.
        upstream_rq_per_try_idle_timeout: Counter,
        /// One attempt took too long.
        upstream_rq_per_try_timeout: Counter,
        /// A request of which nothing was written moved on to another connection. Ours, not Envoy's.
        upstream_rq_redispatched: Counter,
        /// An idempotent request lost on a reused connection was sent once more. Ours, not Envoy's.
        upstream_rq_resent: Counter,
        /// A retry was sent.
        upstream_rq_retry: Counter,
        /// A retry was sent after an exponential back-off.
        upstream_rq_retry_backoff_exponential: Counter,
        /// A retry was sent at the time the upstream had named.
        upstream_rq_retry_backoff_ratelimited: Counter,
        /// A retry was wanted, but none is left.
        upstream_rq_retry_limit_exceeded: Counter,
        /// A retry was wanted, but as many are under way as may be.
        upstream_rq_retry_overflow: Counter,
        /// A request went well in the end, after a retry.
        upstream_rq_retry_success: Counter,
        /// The peer reset a request (HTTP/2), whatever its reason.
        upstream_rq_rx_reset: Counter,
        /// A request with all its attempts took too long.
        upstream_rq_timeout: Counter,
        /// A request was put on a connection; every attempt counts.
        upstream_rq_total: Counter,
        /// We reset a request (HTTP/2).
        upstream_rq_tx_reset: Counter,
    }
}

/// How often one side of a request waited for the other. Each pause is one of a request, and ends at the latest with it.
#[derive(Clone, Debug)]
pub struct FlowStats {
    /// The upstream took no more of a request, and its client was not read any more.
    pub(crate) backed_up: Counter,
    /// The client was read again.
    pub(crate) drained: Counter,
    /// The client took no more of a response, and the upstream was not read any more.
    pub(crate) paused_reading: Counter,
    /// The upstream was read again.
    pub(crate) resumed_reading: Counter,
}

impl FlowStats {
    /// As part of another scope; `last` is what its names begin with.
    fn named(registry: &Registry, prefix: &str, last: &str) -> Self {
        let counter = |name: &str| Counter::named(registry, prefix, &format!("{last}_{name}_total"));
        Self {
            backed_up: counter("backed_up"),
            drained: counter("drained"),
            paused_reading: counter("paused_reading"),
            resumed_reading: counter("resumed_reading"),
        }
    }
}

/// `cluster.<name>.circuit_breakers.<priority>.`: what is left of the limits. The gauges are worked out from the limits
/// when they are looked at:
///
/// | Gauge | Value |
/// |---|---|
/// | `cx_open` | 1 while as many connections are open as may be |
/// | `cx_pool_open` | 1 while there are as many pools as may be |
/// | `remaining_cx` | connections that may still be opened, where it is tracked |
/// | `remaining_cx_pools` | pools that there may still be, where it is tracked |
/// | `remaining_pending` | requests that may still wait for a connection, where it is tracked |
/// | `remaining_retries` | retries that there may still be, where it is tracked |
/// | `remaining_rq` | requests that may still be sent, where it is tracked |
/// | `rq_open` | 1 while as many requests are under way as may be |
/// | `rq_pending_open` | 1 while as many requests wait for a connection as may |
/// | `rq_retry_open` | 1 while as many retries are under way as may be |
#[derive(Debug)]
pub struct BreakerStats<'r> {
    registry: &'r Registry,
    prefix: String,
}

/// Names under `cluster.<name>.` that dashboards expect and that stay 0: this proxy has no such thing, or the cluster has no
/// file of endpoints.
const CLUSTER_ALWAYS_ZERO: &[&str] = &[
    "assignment_stale",
    "assignment_timeout_received",
    "assignment_use_cached",
    "bind_errors",
    "update_empty",
    "upstream_cx_connect_with_0_rtt",
    "upstream_cx_http3_total",
    "upstream_cx_preconnect_skipped",
    "upstream_http3_broken",
    "upstream_queue_overloaded",
    "upstream_rq_0rtt",
    "upstream_rq_rx_reset_no_error",
];

/// The same, of gauges.
const CLUSTER_GAUGES_ALWAYS_ZERO: &[&str] = &["max_host_weight", "version", "warming_state"];

impl ClusterStats {
    /// Of a cluster whose endpoints come from a file of their own.
    #[must_use]
    pub fn assignment(registry: &Registry, cluster: &str) -> AssignmentStats {
        let prefix = cluster_prefix(cluster);
        AssignmentStats {
            empty: Counter::named(registry, &prefix, "update_empty"),
            rejected: Counter::named(registry, &prefix, "update_rejected"),
            time: State::named(registry, &prefix, "update_time"),
            version: State::named(registry, &prefix, "version"),
        }
    }

    /// `internal_upstream.no_metadata`, of a cluster that passes metadata on.
    #[must_use]
    pub fn no_metadata(registry: &Registry, cluster: &str) -> Counter {
        Counter::named(registry, &cluster_prefix(cluster), "internal_upstream.no_metadata")
    }

    /// `<match>.total_match_count`: endpoints for which the transport socket of that name was chosen.
    #[must_use]
    pub fn socket_matches(registry: &Registry, cluster: &str, name: &str) -> Counter {
        Counter::named(registry, &cluster_prefix(cluster), &format!("{name}.total_match_count"))
    }

    /// `upstream.proxyprotocol.v2_tlvs_exceed_max_length`, of a cluster that is sent PROXY headers.
    #[must_use]
    pub fn tlvs_left_out(registry: &Registry, cluster: &str) -> Counter {
        Counter::named(registry, &cluster_prefix(cluster), "upstream.proxyprotocol.v2_tlvs_exceed_max_length")
    }

    /// The scope of a cluster.
    #[must_use]
    pub fn new(registry: &Registry, cluster: &str) -> Self {
        let prefix = cluster_prefix(cluster);
        CLUSTER_ALWAYS_ZERO.iter().for_each(|name| drop(Counter::named(registry, &prefix, name)));
        CLUSTER_GAUGES_ALWAYS_ZERO.iter().for_each(|name| drop(State::named(registry, &prefix, name)));
        Self::under(registry, &prefix)
    }
}

/// `cluster.<name>.`: files of endpoints, beside `update_attempt`, `update_success` and `update_failure`.
#[derive(Clone, Debug)]
pub struct AssignmentStats {
    /// `update_empty`: one named no resource.
    pub empty: Counter,
    /// `update_rejected`: one was read and is of no use.
    pub rejected: Counter,
    /// `update_time`: when the last that is of use was read. Milliseconds since 1970.
    pub time: State,
    /// `version`: a hash of its `version_info`.
    pub version: State,
}

/// `cluster.<name>.maglev_lb.` or `ring_hash_lb.`: the table of hashes by which endpoints are chosen.
#[derive(Clone, Debug)]
pub struct TableStats {
    /// All slots, which only a ring shows.
    size: Option<State>,
    /// Slots of the endpoint with the fewest.
    least: State,
    /// Slots of the endpoint with the most.
    most: State,
}

impl TableStats {
    /// Of a Maglev table.
    #[must_use]
    pub fn maglev(registry: &Registry, cluster: &str) -> Self {
        let prefix = format!("{}.maglev_lb", cluster_prefix(cluster));
        Self {
            size: None,
            least: State::named(registry, &prefix, "min_entries_per_host"),
            most: State::named(registry, &prefix, "max_entries_per_host"),
        }
    }

    /// Of a ring.
    #[must_use]
    pub fn ring(registry: &Registry, cluster: &str) -> Self {
        let prefix = format!("{}.ring_hash_lb", cluster_prefix(cluster));
        Self {
            size: Some(State::named(registry, &prefix, "size")),
            least: State::named(registry, &prefix, "min_hashes_per_host"),
            most: State::named(registry, &prefix, "max_hashes_per_host"),
        }
    }

    /// The table has this size.
    pub fn set(&self, size: u64, least: u64, most: u64) {
        self.size.iter().for_each(|state| state.set(size));
        self.least.set(least);
        self.most.set(most);
    }
}

impl<'r> BreakerStats<'r> {
    /// The scope of a cluster's limits for one priority.
    #[must_use]
    pub fn new(registry: &'r Registry, cluster: &str, priority: Priority) -> Self {
        Self { registry, prefix: format!("{}.circuit_breakers.{}", cluster_prefix(cluster), priority.key()) }
    }

    /// The gauge `name` is what `read` returns for `limit`, for as long as there is that limit.
    pub fn derive<T>(&self, name: &str, limit: &Arc<T>, read: impl Fn(&T) -> Derived + Send + Sync + 'static)
    where
        T: Send + Sync + 'static,
    {
        let limit = Arc::downgrade(limit);
        self.registry.derive(format!("{}.{name}", self.prefix), move || limit.upgrade().map(|limit| read(&limit)));
    }
}
