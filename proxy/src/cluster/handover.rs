//! A cluster whose configuration has changed takes over what it can from the one before it.
//!
//! Endpoints that stay keep their health, and their connections too unless these would be made in another way now. The names
//! of a cluster that comes from DNS keep their addresses until they resolve to others. What is under way keeps the
//! old cluster alive, which takes no more care of its endpoints.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::endpoint_table::Effect;
use super::{Cluster, ClusterLoad, Endpoint, Location};
use crate::config::ClusterChange;
use crate::net::Address;
use crate::stats::HealthFlag;

/// What a cluster takes over from the one of its name before it.
#[derive(Default)]
pub struct Handover {
    endpoints: Vec<Rc<Endpoint>>,
    connections: Connections,
    /// The addresses that each name resolved to.
    pub(super) known: Vec<Known>,
    /// Does this worker check the health of the endpoints? `None`: there was no cluster before.
    pub(super) checks_health: Option<bool>,
    /// What its connections carry, which stay there with those that it takes over.
    pub(super) load: Rc<ClusterLoad>,
}

/// The addresses that a name resolved to.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) addresses: Vec<Address>,
}

/// What becomes of the connections of endpoints that stay.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Connections {
    /// They are used on.
    #[default]
    Kept,
    /// New ones take their place.
    Replaced,
}

/// An endpoint that was there before.
pub(super) enum Inherited {
    /// With its connections.
    Whole(Rc<Endpoint>),
    /// Its health alone.
    Health,
}

impl Handover {
    /// From the cluster that had the name until now, if there was one; `change` is what differs from it.
    #[must_use]
    pub fn from(before: Option<&Cluster>, change: ClusterChange) -> Self {
        let Some(before) = before else { return Self::default() };
        let connections = match change {
            ClusterChange::Endpoints => Connections::Kept,
            ClusterChange::Added | ClusterChange::Connections | ClusterChange::Removed => Connections::Replaced,
        };
        Self {
            endpoints: before.endpoints.borrow().clone(),
            connections,
            known: before.known.borrow().clone(),
            checks_health: Some(before.checks_health),
            load: Rc::clone(&before.load),
        }
    }

    /// The priorities of those that are not at an address of `endpoints`.
    pub(super) fn gone(&self, endpoints: &[Rc<Endpoint>]) -> Vec<u32> {
        let stay: BTreeSet<&Address> = endpoints.iter().map(|endpoint| &endpoint.address).collect();
        let gone = self.endpoints.iter().filter(|endpoint| !stay.contains(&endpoint.address));
        gone.map(|endpoint| endpoint.cluster().map_or(0, |cluster| cluster.priority(endpoint.written.get()))).collect()
    }

    /// The endpoint at `location`, if it was there before.
    pub(super) fn endpoint(&self, location: &Location) -> Option<Inherited> {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.address == location.address)?;
        Some(match self.connections {
            Connections::Kept if endpoint.location == *location => Inherited::Whole(Rc::clone(endpoint)),
            Connections::Kept | Connections::Replaced => Inherited::Health,
        })
    }
}

impl Cluster {
    /// Another cluster has its name now, or none: health is checked and names are resolved no more. Connections of endpoints
    /// that the other one has not taken over close when no request is on them. Requests under way may still be retried, at
    /// endpoints that stay.
    pub fn retire(&self, successor: Option<&Self>) {
        drop(std::mem::take(&mut *self.tasks.borrow_mut()));
        let endpoints = std::mem::take(&mut *self.endpoints.borrow_mut());
        drop(std::mem::take(&mut *self.by_destination.borrow_mut()));
        drop(std::mem::take(&mut *self.by_host.borrow_mut()));
        endpoints.iter().filter(|endpoint| endpoint.is_of(self)).for_each(|endpoint| endpoint.drain());
        let Some(successor) = successor else { return };
        let stays = |endpoint: &Rc<Endpoint>| {
            successor.endpoints.borrow().iter().any(|other| other.address == endpoint.address)
        };
        self.endpoints.replace(endpoints.into_iter().filter(stays).collect());
        successor.look_at_health(Effect::AtOnce);
    }

    /// Clears what failed checks have set: without health checks nothing can show that an endpoint has recovered.
    pub(super) fn forget_health(&self, endpoint: &Endpoint) {
        let health = &endpoint.counts.health;
        if self.shared.config.health_checks.is_empty() {
            for flag in
                [HealthFlag::CheckDegraded, HealthFlag::FailedCheck, HealthFlag::CheckTimedOut, HealthFlag::Excluded]
            {
                health.clear_flag(flag);
            }
        }
        if self.shared.config.outlier_detection.is_none() {
            health.clear_flag(HealthFlag::Ejected);
        }
    }
}
