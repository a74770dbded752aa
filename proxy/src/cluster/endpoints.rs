//! How a cluster comes to have other endpoints: from DNS, or from another configuration.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use super::endpoint_table::Effect;
use super::handover::Inherited;
use super::health::Watch;
use super::{Cluster, Endpoint, Handover, Location, Origin, Pool, PoolParts, Pools};
use crate::config::cluster::ByPriority;
use crate::config::health::HealthCheck;
use crate::net::Address;

impl Cluster {
    /// Watches over `endpoint`, if this worker checks its health.
    pub(super) fn watches(
        self: &Rc<Self>,
        endpoint: &Rc<Endpoint>,
        watch: fn(&Rc<Self>, &Rc<Endpoint>, &HealthCheck) -> Watch,
    ) -> impl Iterator<Item = Watch> {
        let checks = self.shared.config.health_checks.iter().filter(|_| self.checks_health);
        let checks = checks.filter(|_| !self.placement(endpoint).check.is_off);
        checks.map(move |check| watch(self, endpoint, check))
    }

    /// An endpoint of this cluster, without connections.
    pub(super) fn endpoint(self: &Rc<Self>, written: usize, location: Location) -> Endpoint {
        if self.checks_health {
            self.shared.socket_counts.count(location.socket);
        }
        let counts = self.shared.endpoints.of(&location.key());
        if self.shared.config.extra_stats.per_endpoint {
            counts.list(&self.shared.registry, self.shared.config.stat_name(), &location.address.to_string());
        }
        let pools = ByPriority::new(|priority| {
            let (shared, outside) = (Arc::clone(&self.shared), self.outside.clone());
            let (location, origin) = (location.clone(), Origin::default());
            let load = Rc::clone(&self.load);
            Pools::new(Pool::new(PoolParts { shared, priority, location, origin, outside, load }))
        });
        let (cluster, pools) = (RefCell::new(Rc::downgrade(self)), Rc::new(pools));
        counts.health.became_healthy(Instant::now());
        let (address, written, is_used) = (location.address.clone(), Cell::new(written), Cell::new(true));
        Endpoint { address, location, written, is_used, cluster, pools, counts }
    }

    /// Replaces the endpoints by these, each with its place in the configuration; those that stay keep their connections, those that are gone are drained. Returns the
    /// watches over the new ones, which do not run until they are spawned.
    pub(super) fn set_endpoints(self: &Rc<Self>, locations: Vec<(usize, Location)>, before: &Handover) -> Vec<Watch> {
        let mut watches = Vec::new();
        let mut changed = BTreeSet::new();
        let mut endpoints = self.endpoints.borrow_mut();
        let kept = std::mem::take(&mut *endpoints);
        let known: BTreeMap<&Address, &Rc<Endpoint>> = kept.iter().map(|one| (&one.address, one)).collect();
        for (written, mut location) in locations {
            location.socket = self.shared.config.placements.get(written).and_then(|placement| placement.socket);
            if let Some(endpoint) = known.get(&location.address).filter(|endpoint| endpoint.location == location) {
                let was = self.priority(endpoint.written.replace(written));
                changed.extend(moved(was, self.priority(written)));
                endpoints.push(Rc::clone(endpoint));
                continue;
            }
            let inherited = before.endpoint(&location);
            if inherited.is_none() {
                changed.insert(self.priority(written));
            }
            if let Some(Inherited::Whole(endpoint)) = inherited {
                let before = endpoint.cluster();
                let was = endpoint.written.replace(written);
                changed
                    .extend(before.into_iter().flat_map(|before| moved(before.priority(was), self.priority(written))));
                endpoint.cluster.replace(Rc::downgrade(self));
                self.forget_health(&endpoint);
                watches.extend(self.watches(&endpoint, Watch::resumed));
                endpoints.push(endpoint);
                continue;
            }
            let endpoint = Rc::new(self.endpoint(written, location));
            if inherited.is_some() {
                self.forget_health(&endpoint);
                watches.extend(self.watches(&endpoint, Watch::resumed));
            } else {
                watches.extend(self.watches(&endpoint, Watch::new));
            }
            endpoints.push(endpoint);
        }
        let gone = self.let_leave(kept, &mut endpoints);
        changed.extend(gone.iter().map(|endpoint| self.priority(endpoint.written.get())));
        changed.extend(before.gone(&endpoints));
        endpoints.iter().for_each(|endpoint| self.describe(endpoint));
        drop(endpoints);
        self.choice.borrow_mut().endpoints_changed();
        // A request that is still under way there keeps its endpoint alive, but not what is idle beside it.
        gone.iter().for_each(|endpoint| endpoint.drain());
        let effect = match changed.is_empty() || !self.is_started.get() {
            true => Effect::Initially,
            false => Effect::AtOnce,
        };
        if self.checks_health {
            // As in Envoy, one for each priority.
            self.shared.stats.membership_change.add(u64::try_from(changed.len()).unwrap_or(u64::MAX));
        }
        drop(gone);
        self.look_at_health(effect);
        watches
    }

    /// The priority of an endpoint at this place in the configuration.
    pub(super) fn priority(&self, written: usize) -> u32 {
        self.shared.config.placements.get(written).map_or(0, |placement| placement.priority)
    }
}

/// The priorities that change when an endpoint moves from one to the other.
fn moved(from: u32, to: u32) -> Vec<u32> {
    if from == to { Vec::new() } else { vec![from, to] }
}
