//! Names of a cluster's endpoints that had no address when a request came, or a request that names no endpoint: why its proxy had
//! nowhere to send it.

use std::time::Duration;

use finwait::config::balancing::{Placement, ReportedHealth};
use finwait::config::cluster::{Cluster, Discovery, OriginalDestination};
use finwait::config::route::{Action, Forward};

use super::hop::ProxyView;
use super::proposal::Proposal;
use super::{Case, Change, ms};
use crate::world::Found;

/// A name without an address.
pub(super) struct Unresolved {
    /// Follows what was done.
    pub(super) why: String,
    /// What to do about it.
    pub(super) changes: Vec<Change>,
}

/// What a request lacks whose cluster of type ORIGINAL_DST had no endpoint for it.
fn nowhere(original: &OriginalDestination) -> Unresolved {
    let (lack, advice) = match &original.header {
        Some(name) => (
            format!("no header {name} with an address and a port says where the request was to go"),
            format!("send {name} with the address and port of an app"),
        ),
        None => (
            "its connection was for no other address than the one of the listener".to_owned(),
            "connect through a redirect, to a listener with the listener filter original_dst".to_owned(),
        ),
    };
    Unresolved { why: format!("because {lack}"), changes: vec![Change::advice(advice)] }
}

/// Can nothing but a limit of pools be why a cluster with endpoints had none for a request? Nothing finds one of them unusable.
fn is_limited_by_pools(cluster: &Cluster, forward: &Forward) -> bool {
    let is_limited = cluster.limits.of(forward.priority).pools_max < u32::MAX;
    let says_health = |placement: &Placement| placement.health != ReportedHealth::Healthy;
    is_limited
        && cluster.health_checks.is_empty()
        && cluster.outlier_detection.is_none()
        && cluster.balancing.subsets.is_none()
        && !cluster.placements.iter().any(says_health)
}

/// The first name that the cluster of a request leads to and that had no address at `when`; none if all had one.
pub(super) fn unresolved(case: &Case<'_>, at: ProxyView<'_>, when: Duration) -> Option<Unresolved> {
    let (settings, led) = (at.settings?, at.led?);
    let Some((_, Action::Forward(forward))) = &led.route else { return None };
    let (path, cluster) = settings.cluster(forward)?;
    let names: Vec<&str> = match &cluster.discovery {
        Discovery::Static(endpoints) if !endpoints.is_empty() && is_limited_by_pools(cluster, forward) => {
            let max = cluster.limits.of(forward.priority).pools_max;
            let why = format!(
                "because as many endpoints have connections as max_connection_pools permits, {max}, and the chosen one has none"
            );
            let setting = settings.setting(&path, "circuit_breakers.thresholds", None);
            return Some(Unresolved { why, changes: vec![Change::of("permit more", setting, Proposal::Unlimited)] });
        }
        // The host that the request names is in the details of its response.
        Discovery::Aggregate(_) | Discovery::Forward(_) | Discovery::Static(_) => return None,
        Discovery::LogicalDns { target: (name, _), .. } => vec![name],
        Discovery::Original(original) => return Some(nowhere(original)),
        Discovery::StrictDns { targets, .. } => targets.iter().map(|(name, _)| name.as_str()).collect(),
    };
    let last = |name: &str| case.played.lookups.iter().rev().find(|it| it.name == name && it.at <= when);
    let lookup = names.into_iter().filter_map(last).find(|it| it.found != Found::Addresses)?;
    let name = &lookup.name;
    let is_of_host = case.scenario.hosts.iter().any(|host| host.name == *name || host.aliases.contains(name));
    let setting = settings.setting(&path, "load_assignment.endpoints", None);
    let (why, what) = match lookup.found {
        Found::ServerFailed => (
            format!("because the name server failed for {name}, to which its cluster leads, since {}", ms(lookup.at)),
            "mend the name server: the cluster has no address to use until it responds".to_owned(),
        ),
        Found::Addresses | Found::Nothing if is_of_host => (
            format!("because {name}, to which its cluster leads, has had no address since {}", ms(lookup.at)),
            format!("give {name} an address again, or name a host that resolves"),
        ),
        Found::Addresses | Found::Nothing => (
            format!("because no host has the name {name}, to which its cluster leads"),
            format!("name a host that exists, or give one this name: `aliases: [{name}]` in the scenario"),
        ),
    };
    Some(Unresolved { why, changes: vec![Change::of(what, setting, Proposal::AnotherApp)] })
}
