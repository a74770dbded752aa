//! Zone-aware routing: requests stay in the zone of this proxy as far as the endpoints there suffice for it and the proxies beside
//! it. Pure.
//!
//! The local cluster has the proxies, this one among them. A zone with a share of the endpoints at least as large as its share
//! of the proxies keeps all of its requests; else it keeps what fits, and the rest goes to zones with room left. As in Envoy
//! this concerns the first priority alone.

use std::collections::BTreeMap;

use super::{Condition, Group, Live, Member};
use crate::config::balancing::{Locality, Panic, Policy, ZoneRouting};
use crate::net::Random;
use crate::stats::ClusterStats;

/// Shares are counted in so many parts.
const PARTS: u64 = 10_000;

/// The proxies of the local cluster.
#[derive(Clone, Debug, Default)]
pub struct LocalHosts {
    /// By locality: how many there are, and how many of them are healthy.
    pub localities: BTreeMap<Locality, (u64, u64)>,
    /// So little of them is available that health does not count.
    pub panics: bool,
}

/// Zone-aware routing of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Zones {
    route: Route,
    /// Endpoints by locality, that of this proxy first if there is any.
    healthy: Vec<Group>,
    degraded: Vec<Group>,
    local_panics: bool,
}

/// Where requests go.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Route {
    /// All of them to the locality of this proxy.
    Direct,
    /// So many parts of them to the locality of this proxy, the others by what is left of each: sums up to each locality.
    Residual { kept: u64, sums: Vec<u64> },
}

/// What zone-aware routing says of a choice.
pub(super) enum Chosen<'z> {
    /// It is among these.
    Among(&'z mut Group),
    /// Zones do not count for it.
    Everywhere,
    /// There is none.
    Nothing,
}

/// What [`Zones`] are made of.
pub(super) struct Parts<'p> {
    pub(super) how: &'p ZoneRouting,
    pub(super) policy: &'p Policy,
    /// All endpoints.
    pub(super) members: &'p [Member],
    pub(super) local: &'p LocalHosts,
    pub(super) live: &'p Live<'p>,
}

impl Zones {
    /// `None`: zones do not count. Counts why.
    pub(super) fn new(parts: &Parts<'_>, stats: &ClusterStats) -> Option<Self> {
        stats.lb_recalculate_zone_structures.inc();
        let Parts { how, policy, members, local, live } = parts;
        let mut localities: BTreeMap<&Locality, [Vec<u32>; 2]> = BTreeMap::new();
        for (number, member) in (0..).zip(*members).filter(|(_, member)| member.priority == 0) {
            let [healthy, degraded] = localities.entry(&member.locality).or_default();
            match member.condition {
                Condition::Healthy => healthy.push(number),
                Condition::Degraded => degraded.push(number),
                Condition::Excluded | Condition::Unhealthy => {}
            }
        }
        if localities.len() < 2 || (local.localities.len() < 2 && !how.force_direct) {
            return None;
        }
        if !how.here.as_ref().is_some_and(|here| local.localities.contains_key(here)) {
            stats.lb_local_cluster_not_ok.inc();
            return None;
        }
        let all: u64 = localities.values().map(|[healthy, _]| count(healthy)).sum();
        if all < how.size_min {
            stats.lb_zone_cluster_too_small.inc();
            return None;
        }
        let own = how.here.as_ref().and_then(|here| localities.remove_entry(here));
        let has_own = own.is_some();
        let sorted: Vec<(&Locality, [Vec<u32>; 2])> = own.into_iter().chain(localities).collect();
        let proxies: u64 = local.localities.values().map(|(_, healthy)| healthy).sum();
        let shares = sorted.iter().map(|(locality, [healthy, _])| {
            let beside = local.localities.get(*locality).map_or(0, |(_, healthy)| *healthy);
            match count(healthy) {
                0 => (0, 0),
                some => (part(beside, proxies), part(some, all)),
            }
        });
        let route = route(&shares.collect::<Vec<_>>(), has_own, how.force_direct);
        let group = |numbers: &Vec<u32>| Group::new(numbers.clone(), members, policy, live, 0);
        Some(Self {
            route,
            healthy: sorted.iter().map(|(_, [healthy, _])| group(healthy)).collect(),
            degraded: sorted.iter().map(|(_, [_, degraded])| group(degraded)).collect(),
            local_panics: local.panics,
        })
    }

    /// Where the next request goes.
    pub(super) fn choose(
        &mut self,
        how: &ZoneRouting,
        (panic, is_degraded): (Panic, bool),
        random: &dyn Random,
        stats: &ClusterStats,
    ) -> Chosen<'_> {
        if how.percent < 100 && random.next_u64() % 100 >= u64::from(how.percent) {
            return Chosen::Everywhere;
        }
        if self.local_panics {
            stats.lb_local_cluster_not_ok.inc();
            return match panic {
                Panic::All => Chosen::Everywhere,
                Panic::None => Chosen::Nothing,
            };
        }
        let at = self.route.draw(random, stats);
        let groups = if is_degraded { &mut self.degraded } else { &mut self.healthy };
        groups.get_mut(at).map_or(Chosen::Nothing, Chosen::Among)
    }
}

/// The route for localities with these parts of the proxies and of the endpoints, the own one first if there is any.
fn route(shares: &[(u64, u64)], has_own: bool, force_direct: bool) -> Route {
    let (proxies, endpoints) = shares.first().copied().unwrap_or_default();
    if has_own && ((endpoints > 0 && endpoints >= proxies) || force_direct) {
        return Route::Direct;
    }
    let kept = if has_own { (endpoints * PARTS).checked_div(proxies).unwrap_or(0) } else { 0 };
    let mut sum = 0;
    let sums = shares.iter().enumerate().map(|(at, (proxies, endpoints))| {
        if at > 0 || !has_own {
            sum += endpoints.saturating_sub(*proxies);
        }
        sum
    });
    Route::Residual { kept, sums: sums.collect() }
}

impl Route {
    /// The number of a locality.
    fn draw(&self, random: &dyn Random, stats: &ClusterStats) -> usize {
        let Self::Residual { kept, sums } = self else {
            stats.lb_zone_routing_all_directly.inc();
            return 0;
        };
        if random.next_u64() % PARTS < *kept {
            stats.lb_zone_routing_sampled.inc();
            return 0;
        }
        stats.lb_zone_routing_cross_zone.inc();
        match random.next_u64().checked_rem(sums.last().copied().unwrap_or(0)) {
            Some(drawn) => sums.partition_point(|sum| *sum <= drawn),
            // Rounding has left nothing.
            None => {
                stats.lb_zone_no_capacity_left.inc();
                usize::try_from(random.next_u64() % sums.len().max(1) as u64).unwrap_or(0)
            }
        }
    }
}

fn count(numbers: &[u32]) -> u64 {
    u64::try_from(numbers.len()).unwrap_or(u64::MAX)
}

fn part(some: u64, all: u64) -> u64 {
    (some * PARTS).checked_div(all).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_keeps_what_its_endpoints_suffice_for() {
        for (shares, has_own, force, wanted) in [
            (&[(5000, 5000), (5000, 5000)][..], true, false, Route::Direct),
            (&[(5000, 2500), (5000, 7500)], true, false, Route::Residual { kept: 5000, sums: vec![0, 2500] }),
            (&[(5000, 2500), (5000, 7500)], true, true, Route::Direct),
            (&[(5000, 0), (5000, 10_000)], true, false, Route::Residual { kept: 0, sums: vec![0, 5000] }),
            (&[(5000, 5000), (0, 5000)], false, false, Route::Residual { kept: 0, sums: vec![0, 5000] }),
            (
                &[(4000, 2500), (4000, 5000), (2000, 2500)],
                true,
                false,
                Route::Residual { kept: 6250, sums: vec![0, 1000, 1500] },
            ),
        ] {
            assert_eq!(route(shares, has_own, force), wanted, "{shares:?}");
        }
    }
}
