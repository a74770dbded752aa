//! A cluster that has endpoints and may use none of them: whether its checks or its ejections left them out, and which
//! settings decide about that.

use finwait::config::Cluster;
use finwait::config::health::{HealthCheck, OutlierDetection};
use finwait::config::route::Action;

use super::hop::ProxyView;
use super::proposal::{Proposal, set};
use super::settings::{Setting, seconds};
use super::{Case, Change};

/// Why no endpoint may be used.
pub(super) struct LeftOut {
    /// Follows what was done.
    pub(super) why: &'static str,
    /// The setting that did it; none if it may have been one or the other.
    pub(super) setting: Option<Setting>,
    /// What to do about it.
    pub(super) changes: Vec<Change>,
}

/// What left out all endpoints of the cluster that a proxy was led to. None if the cluster has no health checks and no outlier detection, or was
/// never seen to have an endpoint.
pub(super) fn left_out(case: &Case<'_>, at: ProxyView<'_>) -> Option<LeftOut> {
    let (settings, led) = (at.settings?, at.led?);
    let Some((_, Action::Forward(forward))) = &led.route else { return None };
    let (path, cluster) = settings.cluster(forward)?;
    let is_known = case.traffic.conversations.iter().filter(|it| it.client == at.host).any(|it| {
        let nth = settings.cluster_with(it.server_address);
        nth.and_then(|nth| settings.cluster_by_number(nth)).is_some_and(|has| has.name == cluster.name)
    });
    let Cluster { health_checks, outlier_detection, panic_threshold, .. } = cluster;
    let checks = health_checks
        .first()
        .filter(|_| is_known)
        .map(|check| settings.setting(&path, "health_checks", Some(checked(check))));
    let ejects = outlier_detection
        .filter(|_| is_known)
        .map(|it| settings.setting(&path, "outlier_detection", Some(ejected(&it))));
    let why = match (&checks, &ejects) {
        (Some(_), Some(_)) => {
            "because its cluster's endpoints do not pass their health_checks, or are ejected by outlier_detection"
        }
        (Some(_), None) => "because its cluster's endpoints do not pass their health_checks",
        (None, Some(_)) => "because its cluster's endpoints are ejected by outlier_detection",
        (None, None) => return None,
    };
    let percent = format!("{} %", f64::from(*panic_threshold) / 100.0);
    let panic = settings.setting(&path, "common_lb_config.healthy_panic_threshold", Some(percent));
    let mut changes = Vec::new();
    changes.extend(checks.clone().map(|it| {
        Change::of(
            "make the endpoints pass their checks, or raise unhealthy_threshold or timeout",
            it,
            Proposal::Remove,
        )
    }));
    changes.extend(ejects.clone().map(|it| {
        Change::of("make the endpoints respond successfully, or eject them after more failures, fewer of them, or for a shorter time", it, Proposal::Remove)
    }));
    let panics = "use unhealthy endpoints when a smaller share than this is healthy";
    changes.push(Change::of(panics, panic, set("{ value: 100 }")));
    Some(LeftOut { why, setting: checks.xor(ejects), changes })
}

/// What decides when an endpoint has failed.
fn checked(check: &HealthCheck) -> String {
    let HealthCheck { timeout, interval, unhealthy_threshold, .. } = check;
    format!("unhealthy_threshold {unhealthy_threshold}, timeout {}, interval {}", seconds(*timeout), seconds(*interval))
}

/// What decides who is ejected, and for how long.
fn ejected(detection: &OutlierDetection) -> String {
    let OutlierDetection { splits_local_origin, base_ejection_time, ejection_percent_max, .. } = detection;
    let counted = [
        ("consecutive_5xx", detection.consecutive_5xx, detection.enforcing_5xx),
        ("consecutive_gateway_failure", detection.consecutive_gateway_failure, detection.enforcing_gateway_failure),
        (
            "consecutive_local_origin_failure",
            if *splits_local_origin { detection.consecutive_local_origin_failure } else { 0 },
            detection.enforcing_local_origin_failure,
        ),
    ];
    let counted = counted.iter().filter(|(_, times, chance)| *times > 0 && *chance > 0);
    let counted: String = counted.map(|(name, times, _)| format!("{name} {times}, ")).collect();
    format!("{counted}max_ejection_percent {ejection_percent_max}, base_ejection_time {}", seconds(*base_ejection_time))
}
