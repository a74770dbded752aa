//! What localities mean to a cluster: weights, or zone-aware routing beside the local cluster of the file.

use std::sync::Arc;

use super::basis_points;
use crate::config::balancing::{Localities, Locality, Panic, ZoneRouting};
use crate::config::bootstrap::balancing::{
    Locality as WrittenLocality, LocalityLbConfig, LocalityWeightedLbConfig, ZoneAwareLbConfig,
};
use crate::config::cluster::Cluster;
use crate::config::problem::Problem;
use crate::config::yaml::At;

/// `ZoneAwareLbConfig.min_cluster_size`
const SIZE_MIN: u64 = 6;

/// What localities mean, what happens in panic, and zone-aware routing beside a local cluster.
pub(super) type AmongLocalities = (Localities, Panic, Option<ZoneRouting>);

/// `locality_lb_config` of a load balancing policy.
pub(super) fn of_policy(written: Option<&At<LocalityLbConfig>>) -> Result<AmongLocalities, Problem> {
    let written = written.map(|at| &at.value);
    among(
        written.and_then(|config| config.locality_weighted_lb_config.as_ref()),
        written.and_then(|config| config.zone_aware_lb_config.as_ref()),
    )
}

pub(super) fn among(
    weighted: Option<&At<LocalityWeightedLbConfig>>,
    zones: Option<&At<ZoneAwareLbConfig>>,
) -> Result<AmongLocalities, Problem> {
    match (weighted, zones) {
        (Some(weighted), Some(_)) => {
            Err(weighted
                .invalid("localities are weighted or zone-aware, and this is written beside zone_aware_lb_config"))
        }
        (Some(_), None) => Ok((Localities::Weighted, Panic::All, None)),
        (None, zones) => {
            let zones = zones.map(|zones| &zones.value);
            let fails = zones.is_some_and(|zones| zones.fail_traffic_on_panic);
            Ok((Localities::Merged, if fails { Panic::None } else { Panic::All }, Some(zone_routing(zones))))
        }
    }
}

/// What zone-aware routing is to be, without the local cluster, which the whole file names.
fn zone_routing(written: Option<&ZoneAwareLbConfig>) -> ZoneRouting {
    let percent = written.and_then(|written| written.routing_enabled);
    let forced = written.and_then(|written| written.force_locality_direct_routing.as_ref());
    ZoneRouting {
        local: Arc::default(),
        here: None,
        percent: percent.map_or(100, |percent| (basis_points(percent.value.0) + 50) / 100),
        size_min: written.and_then(|written| written.min_cluster_size).unwrap_or(SIZE_MIN),
        force_direct: forced.is_some_and(|forced| forced.value),
    }
}

/// Names the local cluster in all others, or takes zone-aware routing out of all of them. The local cluster, which may have one
/// priority, has none, as in Envoy.
pub(super) fn name_local(
    clusters: &mut [Cluster],
    local: Option<&At<String>>,
    here: Option<&WrittenLocality>,
) -> Result<(), Problem> {
    let local = local.filter(|local| !local.value.is_empty());
    if let Some(at) = local {
        let Some(cluster) = clusters.iter().find(|cluster| *cluster.name == *at.value) else {
            return Err(at.invalid(format!("local cluster '{}' must be defined", at.value)));
        };
        if cluster.placements.iter().any(|placement| placement.priority > 0) {
            return Err(at.invalid(format!("unexpected non-zero priority for local cluster '{}'", at.value)));
        }
    }
    for cluster in clusters {
        let zones = cluster.balancing.zones.take();
        let zones = zones.zip(local).filter(|(_, local)| *cluster.name != *local.value);
        let here = here.map(|here| locality(Some(here)));
        cluster.balancing.zones =
            zones.map(|(zones, local)| ZoneRouting { local: local.value.as_str().into(), here, ..zones });
    }
    Ok(())
}

pub(super) fn locality(written: Option<&WrittenLocality>) -> Locality {
    let written = written.cloned();
    written.map_or_else(Locality::default, |WrittenLocality { region, sub_zone, zone }| Locality {
        region,
        zone,
        sub_zone,
    })
}
