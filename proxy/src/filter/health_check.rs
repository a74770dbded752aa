//! `envoy.filters.http.health_check`: requests that ask for the health of this proxy, and its responses to them.
//!
//! While an operator wants the process to fail its checks (`/healthcheck/fail`), every response says so.

use http::{HeaderName, HeaderValue, StatusCode};

use super::health_sources::Membership;
use super::reply::EndedReply;
use super::{FilterContext, FilterReply, Flow};
use crate::access_log::{Details, HealthCheck as Responded, ResponseFlag, StreamInfo};
use crate::codec::matching::header_holds;
use crate::codec::{RequestHead, ResponseHead, names};
use crate::config::filter::{HealthCheck, HealthResponder};
use crate::stats::HealthCheckStats;

const CHECKED_CLUSTER: HeaderName = HeaderName::from_static("x-envoy-upstream-healthchecked-cluster");

pub(super) struct HealthChecked<'c> {
    options: &'c HealthCheck,
    request: Asked,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    /// For the health of this proxy, and who responds.
    Health(Answered),
    Other,
}

/// Who responds to a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answered {
    Here,
    Upstream,
}

impl<'c> HealthChecked<'c> {
    pub(super) fn new(options: &'c HealthCheck) -> Self {
        Self { options, request: Asked::Other }
    }

    pub(super) fn on_request(
        &mut self,
        request: &RequestHead,
        info: &mut StreamInfo,
        context: &FilterContext,
    ) -> Flow<FilterReply> {
        if !self.options.headers.iter().all(|header| header_holds(header, request)) {
            return Flow::Continue;
        }
        info.is_health_check = true;
        if let Some(stats) = &context.stats.health_check {
            stats.checks.inc();
        }
        let Some((status, details)) = self.response(context) else {
            self.request = Asked::Health(Answered::Upstream);
            return Flow::Continue;
        };
        self.request = Asked::Health(Answered::Here);
        if let Some(stats) = &context.stats.health_check {
            count(&stats.own, status, &details);
        }
        let flag = (!status.is_success()).then_some(ResponseFlag::LH);
        EndedReply { flag, ..EndedReply::new(status, "", details) }.end()
    }

    /// What the proxy itself responds, unless the upstream does.
    fn response(&self, context: &FilterContext) -> Option<(StatusCode, Details)> {
        if context.health.drain.is_unwell() {
            return Some((StatusCode::SERVICE_UNAVAILABLE, Details::HealthCheck(Responded::Failed)));
        }
        match &self.options.responder {
            HealthResponder::Upstream { cache_time: None } => None,
            HealthResponder::Upstream { cache_time: Some(_) } => context
                .kept_statuses
                .get(&self.options.place)
                .map(|status| (status, Details::HealthCheck(Responded::Cached))),
            HealthResponder::Proxy { clusters } if clusters.is_empty() => {
                Some((StatusCode::OK, Details::HealthCheck(Responded::Ok)))
            }
            HealthResponder::Proxy { clusters } => {
                let failure = clusters.iter().find_map(|(name, min)| failure((context.health.membership)(name), *min));
                Some(match failure {
                    None => (StatusCode::OK, Details::HealthCheck(Responded::ClusterHealthy)),
                    Some(details) => (StatusCode::SERVICE_UNAVAILABLE, details),
                })
            }
        }
    }

    pub(super) fn on_response(&self, response: &mut ResponseHead, context: &FilterContext) {
        let health = &context.health;
        if let Asked::Health(answered) = self.request {
            if let (Answered::Upstream, HealthResponder::Upstream { cache_time: Some(time) }) =
                (answered, &self.options.responder)
            {
                context.kept_statuses.keep(&self.options.place, response.status, *time);
            }
            response.headers.set(CHECKED_CLUSTER, health.own_cluster.clone());
        }
        if health.drain.is_unwell() {
            let value = HeaderValue::from_static("true");
            response.headers.set(names::X_ENVOY_IMMEDIATE_HEALTH_CHECK_FAIL.clone(), value);
        }
    }
}

/// Why a cluster makes a check fail, if it does: fewer than `min` percent of its endpoints are healthy.
#[expect(clippy::cast_precision_loss, reason = "numbers of endpoints")]
fn failure(cluster: Option<Membership>, min: f64) -> Option<Details> {
    match cluster {
        None => Some(Details::HealthCheck(Responded::NoCluster)),
        Some(Membership { total: 0, .. }) => (min > 0.0).then_some(Details::HealthCheck(Responded::ClusterEmpty)),
        Some(Membership { total, healthy }) => {
            ((healthy as f64) < total as f64 * min / 100.0).then_some(Details::HealthCheck(Responded::ClusterUnhealthy))
        }
    }
}

fn count(stats: &HealthCheckStats, status: StatusCode, details: &Details) {
    stats.request_total.inc();
    if status.is_success() {
        stats.ok.inc()
    } else {
        stats.failed.inc()
    }
    for (why, counter) in [
        (Details::HealthCheck(Responded::Cached), &stats.cached_response),
        (Details::HealthCheck(Responded::ClusterEmpty), &stats.failed_cluster_empty),
        (Details::HealthCheck(Responded::NoCluster), &stats.failed_cluster_not_found),
        (Details::HealthCheck(Responded::ClusterUnhealthy), &stats.failed_cluster_unhealthy),
    ] {
        if why == *details {
            counter.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_needs_its_share_of_healthy_endpoints() {
        let of = |total, healthy| Some(Membership { total, healthy });
        for (cluster, min, expected) in [
            (None, 0.0, Some(Details::HealthCheck(Responded::NoCluster))),
            (of(0, 0), 0.0, None),
            (of(0, 0), 0.5, Some(Details::HealthCheck(Responded::ClusterEmpty))),
            (of(3, 1), 33.3, None),
            (of(3, 1), 33.4, Some(Details::HealthCheck(Responded::ClusterUnhealthy))),
            (of(2, 2), 100.0, None),
        ] {
            assert_eq!(failure(cluster, min), expected, "{cluster:?} {min}");
        }
    }
}
