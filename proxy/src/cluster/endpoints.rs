//! How a cluster comes to have other endpoints: from DNS, or from another configuration.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::handover::Inherited;
use super::health::Watch;
use super::{Cluster, Endpoint, Handover, Location, Origin, Pool, PoolParts, Pools};
use crate::config::cluster::ByPriority;
use crate::config::health::HealthCheck;

impl Cluster {
    /// Watches over `endpoint`, if this worker checks its health.
    pub(super) fn watches(
        self: &Rc<Self>,
        endpoint: &Rc<Endpoint>,
        watch: fn(&Rc<Self>, &Rc<Endpoint>, &HealthCheck) -> Watch,
    ) -> impl Iterator<Item = Watch> {
        let checks = self.shared.config.health_checks.iter().filter(|_| self.checks_health);
        checks.map(move |check| watch(self, endpoint, check))
    }

    /// An endpoint of this cluster, without connections.
    fn endpoint(self: &Rc<Self>, location: Location) -> Endpoint {
        let counts = self.shared.endpoints.of(&location.address);
        let pools = ByPriority::new(|priority| {
            let (shared, outside) = (Arc::clone(&self.shared), self.outside.clone());
            let (location, origin) = (location.clone(), Origin::default());
            Pools::new(Pool::new(PoolParts { shared, priority, location, origin, outside }))
        });
        let cluster = RefCell::new(Rc::downgrade(self));
        Endpoint { address: location.address.clone(), location, cluster, pools, counts }
    }

    /// Replaces the endpoints; those that stay keep their connections, those that are gone are drained. Returns the
    /// watches over the new ones, which do not run until they are spawned.
    pub(super) fn set_endpoints(self: &Rc<Self>, locations: Vec<Location>, before: &Handover) -> Vec<Watch> {
        let mut watches = Vec::new();
        let mut has_new = false;
        let mut endpoints = self.endpoints.borrow_mut();
        let kept = std::mem::take(&mut *endpoints);
        for location in locations {
            if let Some(endpoint) = kept.iter().find(|endpoint| endpoint.location == location) {
                endpoints.push(Rc::clone(endpoint));
                continue;
            }
            let inherited = before.endpoint(&location);
            has_new |= inherited.is_none();
            if let Some(Inherited::Whole(endpoint)) = inherited {
                endpoint.cluster.replace(Rc::downgrade(self));
                self.forget_health(&endpoint);
                watches.extend(self.watches(&endpoint, Watch::resumed));
                endpoints.push(endpoint);
                continue;
            }
            let endpoint = Rc::new(self.endpoint(location));
            if inherited.is_some() {
                self.forget_health(&endpoint);
                watches.extend(self.watches(&endpoint, Watch::resumed));
            } else {
                watches.extend(self.watches(&endpoint, Watch::new));
            }
            endpoints.push(endpoint);
        }
        let stays = |endpoint: &Rc<Endpoint>| endpoints.iter().any(|one| Rc::ptr_eq(one, endpoint));
        let (_, gone): (Vec<_>, Vec<_>) = kept.into_iter().partition(stays);
        endpoints.iter().for_each(|endpoint| self.describe(endpoint));
        drop(endpoints);
        // A request that is still under way there keeps its endpoint alive, but not what is idle beside it.
        gone.iter().for_each(|endpoint| endpoint.drain());
        if self.checks_health && (has_new || !gone.is_empty()) {
            self.shared.stats.membership_change.inc();
        }
        drop(gone);
        self.health_changed();
        watches
    }
}
