//! What a try came to, and what its endpoint and the stats learn of it.

use std::rc::Rc;

use http::StatusCode;

use super::reach::Failed;
use super::response::UpstreamResponse;
use crate::access_log::{ResponseStart, StreamInfo};
use crate::cluster::{Cluster, Endpoint, Failure};
use crate::codec::names;

/// What a try came to.
pub(super) struct Tried {
    pub(super) result: Result<Box<UpstreamResponse>, Failed>,
    /// There was an informational response, which a response of another try cannot follow.
    pub(super) informed: bool,
}

/// Counts informational responses.
pub(super) fn charge_informed(cluster: &Cluster, informed: &[StatusCode], info: &mut StreamInfo) {
    if !informed.is_empty() {
        info.response_start = ResponseStart::After;
    }
    for status in informed {
        charge(cluster, *status, info);
    }
}

/// Counts a response by its status, unless `dynamic_stats` is off.
pub(crate) fn charge(cluster: &Cluster, status: StatusCode, info: &StreamInfo) {
    if info.has_code_stats && !info.is_health_check {
        cluster.codes.charge(status, info.charged());
        info.parts.iter().for_each(|part| part.charge(status));
    }
}

/// What an attempt came to, for the endpoint's health and its stats.
pub(super) fn report(cluster: &Cluster, endpoint: &Rc<Endpoint>, result: &Result<Box<UpstreamResponse>, Failed>) {
    let home = cluster.home(endpoint);
    home.report(endpoint, result.as_ref().map(|response| response.head.status).map_err(|failed| &failed.failure));
    let (stats, counts) = (&cluster.shared.stats, &endpoint.counts);
    match result {
        Ok(response) => {
            if response.head.headers.contains(&names::X_ENVOY_IMMEDIATE_HEALTH_CHECK_FAIL) {
                home.fail_at_once(endpoint);
            }
        }
        // As in Envoy, it is no error of the endpoint.
        Err(Failed { failure: Failure::LongestStream { .. }, .. }) => stats.upstream_rq_max_duration_reached.inc(),
        Err(Failed { failure, .. }) => {
            counts.rq_error.inc();
            if *failure == Failure::TryIdle {
                stats.upstream_rq_per_try_idle_timeout.inc();
            }
            if *failure == Failure::TryTimeout {
                stats.upstream_rq_per_try_timeout.inc();
            }
        }
    }
}
