//! The endpoints of a cluster by priority and locality, and the choice of one.
//!
//! A [`Balancer`] is built from what is known of all endpoints, and again when that changes; a choice then looks at none of
//! them, allocates nothing, and takes the same time for two endpoints as for ten thousand. Pure: what changes from request to
//! request (active requests, time since an endpoint has become healthy, chance) is handed in.

mod edf;
mod group;
mod murmur;
mod overload;
mod shares;
#[cfg(test)]
mod subset_tests;
mod subsets;
mod table;
#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
mod zones;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::balancing::{Balancing, Localities, Locality, Panic, Policy};
use crate::config::metadata::Struct;
use crate::config::subsets::MetadataMatch;
use crate::dns_cache::Host;
use crate::net::Random;
use crate::stats::ClusterStats;
use edf::Edf;
use group::Group;
use overload::Share;
pub use shares::Availability;
pub(super) use shares::{Census, Shares};
use subsets::Subsets;
use table::Table;
pub use table::TableSizes;
pub use zones::LocalHosts;
use zones::{Chosen, Zones};

/// What is known of one endpoint.
#[derive(Clone, Debug)]
pub struct Member {
    /// 0 is the first.
    pub priority: u32,
    /// Where it is.
    pub locality: Locality,
    /// Of its locality.
    pub locality_weight: u32,
    /// Its share among the others; not 0.
    pub weight: u32,
    /// What is hashed of it, where hashes of requests choose.
    pub key: String,
    /// What its metadata says under `envoy.lb`, where the cluster has subsets.
    pub labels: Struct,
    /// Whether it may be used.
    pub condition: Condition,
}

/// Whether an endpoint may be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Condition {
    /// Where healthy ones do not suffice.
    Degraded,
    /// No, and it does not count as one of which too few are healthy.
    Excluded,
    /// Yes.
    Healthy,
    /// No.
    Unhealthy,
}

/// What changes from one choice to the next, by the number of an endpoint.
pub struct Live<'l> {
    /// Its active requests, of all workers.
    pub active: &'l dyn Fn(u32) -> u64,
    /// The part of its weight that it has got since it became healthy: 1 is all of it.
    pub warmth: &'l dyn Fn(u32) -> f64,
    /// The active requests of all endpoints.
    pub all_active: u64,
}

/// What a request says of its endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Wish<'w> {
    /// What the endpoint has to have, where the cluster has subsets.
    pub wanted: Option<&'w MetadataMatch>,
    /// Requests of one hash go to one endpoint, where hashes choose.
    pub hash: Option<u64>,
    /// So many endpoints were found for it that it does not want.
    pub attempt: u32,
    /// Priorities that it does not want as long as another one has an endpoint.
    pub not_of: &'w [u32],
    /// The priority, and which endpoints of it, that are chosen already: by an aggregate cluster, which links priorities.
    pub part: Option<(usize, Availability)>,
    /// Where it was to go, for a cluster of type ORIGINAL_DST.
    pub destination: Option<SocketAddr>,
    /// The host that it names, for a forward proxy.
    pub host: Option<&'w Arc<Host>>,
}

/// All endpoints of a cluster, by priority.
#[derive(Clone, Debug, Default)]
pub struct Balancer {
    members: Vec<Member>,
    priorities: Vec<PriorityGroups>,
    shares: Shares,
    /// How many there are of each priority.
    censuses: Vec<Census>,
    /// By what the metadata of endpoints says.
    subsets: Option<Box<Subsets>>,
    /// Where requests of the first priority go by zones, if these count.
    zones: Option<Box<Zones>>,
    /// The chance of the next choices, for those that have been looked at ahead: no more than there are healthy endpoints.
    peeked: VecDeque<u64>,
}

/// The endpoints of one priority, in groups of which one is chosen from.
#[derive(Clone, Debug, Default)]
struct PriorityGroups {
    all: Group,
    healthy: Group,
    degraded: Group,
    /// The same by locality, where localities have weights.
    healthy_by_locality: Option<ByLocality>,
    degraded_by_locality: Option<ByLocality>,
    /// Where hashes choose, among the healthy, or in panic among all.
    table: Option<Table>,
}

/// Groups of one priority, each of one locality.
#[derive(Clone, Debug)]
struct ByLocality {
    groups: Vec<Group>,
    /// Which locality has the next turn.
    turns: Edf,
    weights: Vec<f64>,
}

impl Balancer {
    /// Of these endpoints, with their subsets. `threshold`: with fewer healthy ones, in hundredths of a percent, a priority panics. Turns go on where
    /// `before` had them, or begin at a random place.
    #[must_use]
    pub fn new(members: Vec<Member>, how: &Balancing, threshold: u32, live: &Live<'_>, before: Turns<'_>) -> Self {
        let Some(options) = &how.subsets else { return Self::plain(members, how, threshold, live, before) };
        let turns = match before {
            Turns::As(before) => u64::try_from(before.turn()).unwrap_or(0) << 33,
            Turns::At(place) => place,
        };
        let parts = subsets::Parts { members: &members, how, threshold, live, turns };
        let subsets = Some(Box::new(Subsets::new(&parts, options)));
        Self { subsets, ..Self::plain(members, how, threshold, live, before) }
    }

    /// How many subsets there are.
    #[must_use]
    pub fn subsets(&self) -> u64 {
        self.subsets.as_ref().map_or(0, |subsets| subsets.count())
    }

    /// Has zones count, in each subset if there are any, beside these proxies of the local cluster.
    pub(super) fn route_by_zones(
        &mut self,
        how: &Balancing,
        local: &LocalHosts,
        live: &Live<'_>,
        stats: &ClusterStats,
    ) {
        let Some(zones) = &how.zones else { return };
        if let Some(subsets) = &mut self.subsets {
            return subsets.route_by_zones(how, local, live, stats);
        }
        let parts = zones::Parts { how: zones, policy: &how.policy, members: &self.members, local, live };
        self.zones = Zones::new(&parts, stats).map(Box::new);
    }

    /// How many endpoints there are of each priority.
    pub(super) fn censuses(&self) -> &[Census] {
        &self.censuses
    }

    /// Where its turns stand.
    fn turn(&self) -> usize {
        self.priorities.first().map_or(0, |groups| groups.all.turn())
    }

    /// The same without subsets.
    fn plain(members: Vec<Member>, how: &Balancing, threshold: u32, live: &Live<'_>, before: Turns<'_>) -> Self {
        let count = members.iter().map(|member| member.priority).max().map_or(1, |last| last.saturating_add(1));
        let mut numbers: Vec<Vec<u32>> = (0..count).map(|_| Vec::new()).collect();
        for (number, member) in (0_u32..).zip(&members) {
            if let Some(of) = usize::try_from(member.priority).ok().and_then(|priority| numbers.get_mut(priority)) {
                of.push(number);
            }
        }
        let builder = Builder { members: &members, how, live };
        let censuses: Vec<Census> = numbers.iter().map(|of| builder.census(of)).collect();
        let priorities = numbers.into_iter().enumerate();
        let shares = Shares::new(&censuses, how, threshold);
        let build = |(at, of)| builder.priority(of, &before, at, shares.panics(at));
        let priorities = priorities.map(build).collect();
        Self { members, priorities, shares, censuses, subsets: None, zones: None, peeked: VecDeque::new() }
    }

    /// The size of its last table, where hashes choose.
    #[must_use]
    pub fn table_sizes(&self) -> Option<TableSizes> {
        self.priorities.last()?.table.as_ref().map(|table| table.sizes)
    }

    /// The number of an endpoint to use, if there is one.
    pub fn choose(
        &mut self,
        wish: Wish<'_>,
        how: &Balancing,
        live: &Live<'_>,
        random: &dyn Random,
        stats: &ClusterStats,
    ) -> Option<u32> {
        if let (Some(subsets), Some(options)) = (&mut self.subsets, &how.subsets) {
            return subsets.choose(&subsets::Chooser { how, options, wish, live, random, stats });
        }
        self.choose_plain(wish, how, live, random, stats)
    }

    /// The same without subsets.
    fn choose_plain(
        &mut self,
        wish: Wish<'_>,
        how: &Balancing,
        live: &Live<'_>,
        random: &dyn Random,
        stats: &ClusterStats,
    ) -> Option<u32> {
        if how.policy.hashes() {
            return self.choose_by_hash(wish, live, random, stats);
        }
        let peeked = self.peeked.pop_front();
        let chance = || peeked.unwrap_or_else(|| random.next_u64());
        let (group, members) = self.group(wish, how, chance, random, stats)?;
        group.choose(members, &how.policy, live, random)
    }

    /// The number of the endpoint that a choice behind those that were looked at ahead will probably be: a later request may
    /// have another wish. None where it depends on the request, or on what is under way by then.
    pub fn peek(&mut self, how: &Balancing, live: &Live<'_>, random: &dyn Random, stats: &ClusterStats) -> Option<u32> {
        let healthy: u64 = self.censuses.iter().map(|census| census.healthy).sum();
        let ahead = u64::try_from(self.peeked.len()).unwrap_or(u64::MAX);
        if self.subsets.is_some() || how.policy.hashes() || ahead >= healthy {
            return None;
        }
        let chance = random.next_u64();
        self.peeked.push_back(chance);
        let (group, members) = self.group(Wish::default(), how, || chance, random, stats)?;
        group.peek(members, &how.policy, live, random)
    }

    /// The group that an endpoint is chosen from; `chance` draws its priority.
    fn group(
        &mut self,
        wish: Wish<'_>,
        how: &Balancing,
        chance: impl FnOnce() -> u64,
        random: &dyn Random,
        stats: &ClusterStats,
    ) -> Option<(&mut Group, &[Member])> {
        let other_shares = self.shares.without(wish.not_of);
        let shares = other_shares.as_ref().unwrap_or(&self.shares);
        let (priority, availability) = wish.part.or_else(|| shares.only()).unwrap_or_else(|| shares.draw(chance()));
        let panics = self.shares.panics(priority);
        let groups = self.priorities.get_mut(priority)?;
        let group = if panics {
            stats.lb_healthy_panic.inc();
            match how.panic {
                Panic::All => &mut groups.all,
                Panic::None => return None,
            }
        } else {
            let is_degraded = availability == Availability::Degraded;
            let zones = self.zones.as_mut().zip(how.zones.as_ref()).filter(|_| priority == 0);
            let by_zones = zones.map(|(zones, by)| zones.choose(by, (how.panic, is_degraded), random, stats));
            match by_zones.unwrap_or(Chosen::Everywhere) {
                Chosen::Among(group) => group,
                Chosen::Everywhere => groups.of(availability)?,
                Chosen::Nothing => return None,
            }
        };
        Some((group, &self.members))
    }
}

impl Balancer {
    fn choose_by_hash(
        &mut self,
        wish: Wish<'_>,
        live: &Live<'_>,
        random: &dyn Random,
        stats: &ClusterStats,
    ) -> Option<u32> {
        let hash = wish.hash.unwrap_or_else(|| random.next_u64());
        let drawn = || self.shares.without(wish.not_of).as_ref().unwrap_or(&self.shares).draw(hash);
        let (priority, _) = wish.part.unwrap_or_else(drawn);
        if self.shares.panics(priority) {
            stats.lb_healthy_panic.inc();
        }
        self.priorities.get_mut(priority)?.table.as_mut()?.choose(hash, wish.attempt, live)
    }
}

impl PriorityGroups {
    fn of(&mut self, availability: Availability) -> Option<&mut Group> {
        let (whole, by_locality) = match availability {
            Availability::Degraded => (&mut self.degraded, &mut self.degraded_by_locality),
            Availability::Healthy => (&mut self.healthy, &mut self.healthy_by_locality),
        };
        let Some(ByLocality { groups, turns, weights }) = by_locality else { return Some(whole) };
        let index = |locality: u32| usize::try_from(locality).unwrap_or(usize::MAX);
        let locality = turns.pick(|locality| weights.get(index(locality)).copied().unwrap_or(1.0))?;
        groups.get_mut(index(locality))
    }
}

/// Where turns begin.
#[derive(Clone, Copy)]
pub enum Turns<'t> {
    /// Where they stand here.
    As(&'t Balancer),
    /// At this place, which is random so that workers do not all begin with the same endpoint.
    At(u64),
}

impl Turns<'_> {
    fn of(&self, priority: usize, group: impl FnOnce(&PriorityGroups) -> Option<&Group>) -> usize {
        match self {
            Turns::As(before) => before.priorities.get(priority).and_then(group).map_or(0, Group::turn),
            Turns::At(place) => usize::try_from(*place >> 33).unwrap_or(0),
        }
    }
}

struct Builder<'b> {
    members: &'b [Member],
    how: &'b Balancing,
    live: &'b Live<'b>,
}

impl Builder<'_> {
    fn member(&self, number: u32) -> Option<&Member> {
        self.members.get(usize::try_from(number).ok()?)
    }

    fn in_condition(&self, numbers: &[u32], condition: Condition) -> Vec<u32> {
        let is = |number: &u32| self.member(*number).is_some_and(|member| member.condition == condition);
        numbers.iter().copied().filter(is).collect()
    }

    fn census(&self, numbers: &[u32]) -> Census {
        let mut census = Census::default();
        for member in numbers.iter().filter_map(|number| self.member(*number)) {
            let weight = u64::from(member.weight);
            census.all += 1;
            match member.condition {
                Condition::Excluded => census.excluded += 1,
                Condition::Unhealthy => census.weights[0] += weight,
                Condition::Healthy => {
                    census.healthy += 1;
                    census.weights[0] += weight;
                    census.weights[1] += weight;
                }
                Condition::Degraded => {
                    census.degraded += 1;
                    census.weights[0] += weight;
                    census.weights[2] += weight;
                }
            }
        }
        census
    }

    fn priority(&self, numbers: Vec<u32>, before: &Turns<'_>, at: usize, panics: bool) -> PriorityGroups {
        let healthy = self.in_condition(&numbers, Condition::Healthy);
        let degraded = self.in_condition(&numbers, Condition::Degraded);
        PriorityGroups {
            table: self.table(if panics { &numbers } else { &healthy }),
            healthy_by_locality: self.by_locality(&numbers, &healthy),
            degraded_by_locality: self.by_locality(&numbers, &degraded),
            healthy: self.group(healthy, before.of(at, |groups| Some(&groups.healthy))),
            degraded: self.group(degraded, before.of(at, |groups| Some(&groups.degraded))),
            all: self.group(numbers, before.of(at, |groups| Some(&groups.all))),
        }
    }

    fn table(&self, numbers: &[u32]) -> Option<Table> {
        match &self.how.policy {
            Policy::Maglev(how) => Some(Table::maglev(self.shares(numbers), self.members, how)),
            Policy::RingHash(how) => Some(Table::ring(self.shares(numbers), self.members, how)),
            Policy::LeastRequest(_) | Policy::Random | Policy::RoundRobin(_) => None,
        }
    }

    /// The parts of these endpoints by weight, or first by the weights of their localities; the sum is 1.
    fn shares(&self, numbers: &[u32]) -> Vec<Share> {
        let weighted = self.how.localities == Localities::Weighted;
        let members = || numbers.iter().filter_map(|number| Some((*number, self.member(*number)?)));
        let mut localities: BTreeMap<&Locality, (u32, u64, Vec<u32>)> = BTreeMap::new();
        let whole = Locality::default();
        for (number, member) in members() {
            let locality = if weighted { &member.locality } else { &whole };
            let (weight, sum, of) = localities.entry(locality).or_default();
            *weight = if weighted { member.locality_weight } else { 1 };
            *sum += u64::from(member.weight);
            of.push(number);
        }
        let all: u64 = localities.values().map(|(weight, ..)| u64::from(*weight)).sum();
        let mut shares = Vec::with_capacity(numbers.len());
        for (weight, sum, of) in localities.into_values().filter(|(weight, ..)| *weight > 0) {
            let part = f64::from(weight) / number(all);
            let share = |at: u32| self.member(at).map(|member| (at, f64::from(member.weight) * part / number(sum)));
            shares.extend(of.into_iter().filter_map(share));
        }
        shares
    }

    fn group(&self, numbers: Vec<u32>, turn: usize) -> Group {
        Group::new(numbers, self.members, &self.how.policy, self.live, turn)
    }

    /// The `eligible` of `all` by locality, where localities have weights and one that has any counts.
    fn by_locality(&self, all: &[u32], eligible: &[u32]) -> Option<ByLocality> {
        if self.how.localities != Localities::Weighted || eligible.is_empty() {
            return None;
        }
        let mut localities: BTreeMap<&Locality, (u32, u32, Vec<u32>)> = BTreeMap::new();
        for member in all.iter().filter_map(|number| self.member(*number)) {
            let (weight, counted, _) = localities.entry(&member.locality).or_default();
            *weight = member.locality_weight;
            *counted += u32::from(member.condition != Condition::Excluded);
        }
        for number in eligible {
            let locality = self.member(*number).and_then(|member| localities.get_mut(&member.locality));
            locality.into_iter().for_each(|(_, _, members)| members.push(*number));
        }
        let (mut weights, mut groups) = (Vec::new(), Vec::new());
        for (weight, counted, members) in localities.into_values() {
            let available = f64::from(u32::try_from(members.len()).unwrap_or(u32::MAX)) / f64::from(counted.max(1));
            let part = (f64::from(self.how.overprovisioning) / 100.0 * available).min(1.0);
            weights.push(f64::from(weight) * part);
            groups.push(self.group(members, 0));
        }
        let entries: Vec<(u32, f64)> = (0..).zip(weights.iter().copied()).filter(|(_, weight)| *weight > 0.0).collect();
        let has_any = !entries.is_empty() && groups.iter().any(|group| !group.is_empty());
        has_any.then(|| ByLocality { groups, turns: Edf::new(&entries, 0), weights })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a sum of weights, which is below 2^53 for a million endpoints")]
fn number(sum: u64) -> f64 {
    sum as f64
}
