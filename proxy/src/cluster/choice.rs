//! A worker chooses an endpoint: its [`Balancer`], brought up to date where health or endpoints have changed since the last
//! choice.

use std::rc::Rc;

use tokio::time::Instant;

use super::balancer::{Balancer, Census, Condition, Live, LocalHosts, Member, Turns, Wish};
use super::{Cluster, Endpoint};
use crate::config::balancing::{HashedName, LeastRequest, Policy, SlowStart};
use crate::config::cluster::Discovery;
use crate::config::metadata::{Struct, Value};

/// How one worker chooses among the endpoints of a cluster.
pub(super) struct Choice {
    balancer: Balancer,
    built: Built,
}

/// What a balancer was built from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Built {
    /// The endpoints in this condition, for this panic threshold.
    For { version: u64, threshold: u32, local: u64 },
    /// Nothing yet; turns begin at this place.
    Not { turns: u64 },
    /// Other endpoints.
    OfOthers,
}

impl Choice {
    /// Without endpoints. `chance` says where turns begin.
    pub(super) fn new(chance: u64) -> Self {
        Self { balancer: Balancer::default(), built: Built::Not { turns: chance } }
    }

    /// There are other endpoints, or they are described in another way.
    pub(super) fn endpoints_changed(&mut self) {
        if let Built::For { .. } = self.built {
            self.built = Built::OfOthers;
        }
    }
}

impl Cluster {
    /// An endpoint, by the cluster's balancing policy.
    pub(super) fn draw(&self, wish: Wish<'_>) -> Option<Rc<Endpoint>> {
        if let Discovery::Original(_) = self.shared.config.discovery {
            return self.endpoint_at(wish.destination?);
        }
        if let Discovery::Forward(_) = self.shared.config.discovery {
            return self.endpoint_of(wish.host?);
        }
        if let Discovery::Aggregate(names) = &self.shared.config.discovery {
            return self.draw_linked(names, wish);
        }
        if self.has_gone.take() {
            self.let_go();
        }
        let endpoints = self.endpoints.borrow();
        if let [only] = &endpoints[..]
            && only.counts.health.is_good()
            && self.shared.config.balancing.subsets.is_none()
            && self.shared.config.predictive_percent <= 100
        // choices that were looked at ahead count
        {
            return Some(Rc::clone(only)); // the common case needs no dice
        }
        let config = &self.shared.config;
        self.with_live(&endpoints, |live| {
            let mut choice = self.choice.borrow_mut();
            self.bring_up_to_date(&mut choice, &endpoints, live);
            let (random, stats) = (&*self.outside.random, &self.shared.stats);
            let chosen = choice.balancer.choose(wish, &config.balancing, live, random, stats)?;
            endpoints.get(usize::try_from(chosen).ok()?).map(Rc::clone)
        })
    }

    /// The endpoint that a later request will probably go to, behind those that were looked at before it.
    pub(super) fn peek(&self) -> Option<Rc<Endpoint>> {
        match self.shared.config.discovery {
            Discovery::Aggregate(_) | Discovery::Forward(_) | Discovery::Original(_) => return None,
            Discovery::LogicalDns { .. } | Discovery::Static(_) | Discovery::StrictDns { .. } => {}
        }
        let endpoints = self.endpoints.borrow();
        self.with_live(&endpoints, |live| {
            let mut choice = self.choice.borrow_mut();
            self.bring_up_to_date(&mut choice, &endpoints, live);
            let (random, stats) = (&*self.outside.random, &self.shared.stats);
            let next = choice.balancer.peek(&self.shared.config.balancing, live, random, stats)?;
            endpoints.get(usize::try_from(next).ok()?).map(Rc::clone)
        })
    }

    /// How many endpoints there are of each priority.
    pub(super) fn censuses(&self) -> Vec<Census> {
        let endpoints = self.endpoints.borrow();
        self.with_live(&endpoints, |live| {
            let mut choice = self.choice.borrow_mut();
            self.bring_up_to_date(&mut choice, &endpoints, live);
            choice.balancer.censuses().to_vec()
        })
    }

    /// Tables of hashes and subsets are made when health or endpoints change, and not with the next request: they are shown in stats.
    pub(super) fn renew_tables(&self) {
        if self.shared.table_stats.is_some() || self.shared.config.balancing.subsets.is_some() {
            let endpoints = self.endpoints.borrow();
            self.with_live(&endpoints, |live| self.bring_up_to_date(&mut self.choice.borrow_mut(), &endpoints, live));
        }
    }

    /// Has `work` see what changes from one choice to the next.
    fn with_live<T>(&self, endpoints: &[Rc<Endpoint>], work: impl FnOnce(&Live<'_>) -> T) -> T {
        let config = &self.shared.config;
        let now = Instant::now();
        let slow_start = slow_start(&config.balancing.policy);
        let endpoint = |number: u32| usize::try_from(number).ok().and_then(|number| endpoints.get(number));
        let active = |number| endpoint(number).map_or(0, |endpoint| endpoint.counts.rq_active.value());
        let warmth = |number| match (slow_start, endpoint(number)) {
            (Some(slow_start), Some(endpoint)) => warmth(slow_start, endpoint, now),
            (None, _) | (_, None) => 1.0,
        };
        work(&Live { active: &active, warmth: &warmth, all_active: self.shared.stats.upstream_rq_active.value() })
    }

    fn bring_up_to_date(&self, choice: &mut Choice, endpoints: &[Rc<Endpoint>], live: &Live<'_>) {
        let (version, threshold) =
            (self.shared.endpoints.version(Instant::now()), self.shared.keys.panic_threshold.get());
        let local = self.local();
        let of_local = local.as_ref().map_or(0, |local| local.shared.endpoints.version(Instant::now()));
        let wanted = Built::For { version, threshold, local: of_local };
        if choice.built == wanted {
            return;
        }
        self.has_gone.set(endpoints.iter().any(|endpoint| self.is_gone(&endpoint.counts.health)));
        let members = endpoints.iter().map(|endpoint| self.member(endpoint)).collect();
        let turns = match choice.built {
            Built::Not { turns } => Turns::At(turns),
            Built::For { .. } | Built::OfOthers => Turns::As(&choice.balancer),
        };
        let before = choice.balancer.subsets();
        choice.balancer = Balancer::new(members, &self.shared.config.balancing, threshold, live, turns);
        if self.shared.config.balancing.zones.is_some() {
            let hosts = local.map(|local| local.local_hosts(threshold)).unwrap_or_default();
            choice.balancer.route_by_zones(&self.shared.config.balancing, &hosts, live, &self.shared.stats);
        }
        choice.built = wanted;
        self.count_subsets(before, choice.balancer.subsets());
        if let (Some(stats), Some(sizes)) = (&self.shared.table_stats, choice.balancer.table_sizes()) {
            stats.set(sizes.all, sizes.least, sizes.most);
        }
    }

    /// The local cluster, where zones count.
    fn local(&self) -> Option<Rc<Self>> {
        let zones = self.shared.config.balancing.zones.as_ref()?;
        self.beside.upgrade()?.get(&zones.local)
    }

    /// The endpoints of the local cluster. `threshold`: with fewer healthy ones, in hundredths of a percent, it panics.
    fn local_hosts(&self, threshold: u32) -> LocalHosts {
        let mut hosts = LocalHosts::default();
        let (mut counted, mut available) = (0_u64, 0_u64);
        for endpoint in self.endpoints.borrow().iter() {
            let health = &endpoint.counts.health;
            let (all, healthy) = hosts.localities.entry(self.placement(endpoint).locality).or_default();
            *all += 1;
            *healthy += u64::from(health.is_healthy());
            counted += u64::from(!health.is_excluded());
            available += u64::from(health.is_good());
        }
        hosts.panics = counted == 0 || available.saturating_mul(10_000) < u64::from(threshold).saturating_mul(counted);
        hosts
    }

    /// There are so many subsets in place of others. One worker counts.
    fn count_subsets(&self, before: u64, now: u64) {
        if !self.checks_health || before == now {
            return;
        }
        let stats = &self.shared.stats;
        stats.lb_subsets_active.set(now);
        stats.lb_subsets_created.add(now.saturating_sub(before));
        stats.lb_subsets_removed.add(before.saturating_sub(now));
    }

    fn member(&self, endpoint: &Endpoint) -> Member {
        let placement = self.placement(endpoint);
        let health = &endpoint.counts.health;
        Member {
            priority: placement.priority,
            locality: placement.locality,
            locality_weight: placement.locality_weight,
            weight: placement.weight,
            key: self.hashed(endpoint),
            labels: match &self.shared.config.balancing.subsets {
                Some(_) => self.labels(endpoint).map(|labels| labels.balancing.clone()).unwrap_or_default(),
                None => Struct::new(),
            },
            condition: if health.is_excluded() {
                Condition::Excluded
            } else if health.is_healthy() {
                Condition::Healthy
            } else if health.is_good() {
                Condition::Degraded
            } else {
                Condition::Unhealthy
            },
        }
    }
}

impl Cluster {
    /// What is hashed of an endpoint, where hashes of requests choose.
    fn hashed(&self, endpoint: &Endpoint) -> String {
        let Some(name) = self.shared.config.balancing.policy.hashed_name() else { return String::new() };
        if let Some(Value::Text(key)) = self.labels(endpoint).and_then(|labels| labels.balancing.get("hash_key"))
            && !key.is_empty()
        {
            return key.clone();
        }
        match name {
            HashedName::Address => endpoint.address.to_string(),
            HashedName::Hostname => endpoint.counts.facts().hostname,
        }
    }
}

fn slow_start(policy: &Policy) -> Option<SlowStart> {
    match policy {
        Policy::Maglev(_) | Policy::Random | Policy::RingHash(_) => None,
        Policy::RoundRobin(slow_start) | Policy::LeastRequest(LeastRequest { slow_start, .. }) => *slow_start,
    }
}

/// The part of its weight that an endpoint has got since it became healthy.
fn warmth(how: SlowStart, endpoint: &Endpoint, now: Instant) -> f64 {
    let health = &endpoint.counts.health;
    let Some(since) = health.healthy_since().filter(|_| health.is_healthy()) else { return 1.0 };
    let passed = now.saturating_duration_since(since).as_secs_f64().max(0.001);
    if passed >= how.window.as_secs_f64() {
        return 1.0;
    }
    (passed / how.window.as_secs_f64()).powf(1.0 / how.aggression).max(how.least)
}
