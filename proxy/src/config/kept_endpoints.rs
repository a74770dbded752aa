//! What an assignment determines of a cluster; a cluster that keeps it because its file brings no other, and one that keeps endpoints
//! that its file leaves out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::HeaderValue;

use super::Config;
use super::address::Address;
use super::assignment::Found;
use super::balancing::{HealthBy, Placement};
use super::changes::Changes;
use super::cluster::{Cluster, ClusterMetadata, Discovery, Labels};
use super::metadata::Metadata;

/// What an assignment determines of a cluster.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    pub(super) discovery: Discovery,
    pub(super) hostnames: Vec<Option<HeaderValue>>,
    pub(super) labels: Vec<Option<Labels>>,
    pub(super) metadata: Option<Arc<ClusterMetadata>>,
    pub(super) placements: Vec<Placement>,
    pub(super) overprovisioning: u32,
    pub(super) health_by: HealthBy,
}

impl Cluster {
    /// What its assignment determines.
    fn endpoints(&self) -> Endpoints {
        Endpoints {
            discovery: self.discovery.clone(),
            hostnames: self.hostnames.clone(),
            labels: self.labels.clone(),
            metadata: self.metadata.clone(),
            placements: self.placements.clone(),
            overprovisioning: self.balancing.overprovisioning,
            health_by: self.balancing.health_by,
        }
    }

    /// Keeps those of the endpoints that `was` had beside its own.
    fn keep(&mut self, was: &Self, is_kept: impl Fn(&Address) -> bool) {
        let (Discovery::Static(now), Discovery::Static(had)) = (&self.discovery, &was.discovery) else { return };
        let now: BTreeSet<&Address> = now.iter().collect();
        let is_left_out = |address: &Address| !now.contains(address) && is_kept(address);
        let left_out: Vec<_> = had.iter().enumerate().filter(|(_, address)| is_left_out(address)).collect();
        left_out.into_iter().for_each(|(nth, address)| self.add_leaving(was, nth, address));
    }

    /// Has the endpoint of `was` at this place as its last.
    fn add_leaving(&mut self, was: &Self, nth: usize, address: &Address) {
        let Discovery::Static(addresses) = &mut self.discovery else { return };
        let count = addresses.len();
        addresses.push(address.clone());
        self.hostnames.resize(count, None);
        self.hostnames.push(was.hostnames.get(nth).cloned().flatten());
        self.labels.resize(count, None);
        self.labels.push(was.labels.get(nth).cloned().flatten());
        self.placements.resize(count, Placement::USUAL);
        let placement = was.placements.get(nth).cloned().unwrap_or(Placement::USUAL);
        self.placements.push(Placement { is_leaving: true, ..placement });
        if let Some(metadata) = &was.metadata {
            let own = Arc::make_mut(self.metadata.get_or_insert_default());
            for (all, those) in
                [(&mut own.of_endpoints, &metadata.of_endpoints), (&mut own.of_localities, &metadata.of_localities)]
            {
                all.resize_with(count, Metadata::default);
                all.push(those.get(nth).cloned().unwrap_or_default());
            }
        }
    }

    /// Has it the same endpoints as `other`, in whatever order, and is the same known of each? Of those that left `other` only such
    /// count that are `still_there`.
    #[must_use]
    pub fn has_endpoints_of(&self, other: &Self, still_there: impl Fn(&Address) -> bool) -> bool {
        let own = |cluster: &Self| -> Option<BTreeMap<Address, _>> {
            let Discovery::Static(addresses) = &cluster.discovery else { return None };
            let placement = |nth| cluster.placements.get(nth).cloned().unwrap_or(Placement::USUAL);
            let facts = |nth| {
                let placement = Placement { is_leaving: false, ..placement(nth) };
                (placement, cluster.hostnames.get(nth).cloned().flatten(), cluster.labels.get(nth).cloned().flatten())
            };
            Some(addresses.iter().enumerate().map(|(nth, address)| (address.clone(), facts(nth))).collect())
        };
        let mut others = own(other);
        if let (Some(others), Discovery::Static(addresses)) = (&mut others, &other.discovery) {
            let is_leaving = |nth: usize| other.placements.get(nth).is_some_and(|placement| placement.is_leaving);
            let left = addresses.iter().enumerate().filter(|(nth, address)| is_leaving(*nth) && !still_there(address));
            left.for_each(|(_, address)| drop(others.remove(address)));
        }
        own(self) == others && self.balancing == other.balancing
    }

    /// Is an endpoint none any more that was there for its checks alone, and that fails them? Those of names stay until the names are
    /// resolved again, as in Envoy.
    #[must_use]
    pub fn has_let_go(&self, fails_while_leaving: bool) -> bool {
        self.assigned.is_some() && fails_while_leaving
    }

    /// Has the endpoints of another assignment from here on.
    pub(super) fn assign(&mut self, endpoints: Endpoints) {
        let Endpoints { discovery, hostnames, labels, metadata, placements, overprovisioning, health_by } = endpoints;
        (self.discovery, self.hostnames, self.labels) = (discovery, hostnames, labels);
        (self.metadata, self.placements) = (metadata, placements);
        (self.balancing.overprovisioning, self.balancing.health_by) = (overprovisioning, health_by);
    }
}

impl Config {
    /// Has clusters whose files of endpoints brought no assignment keep those of `before`. A cluster whose own configuration
    /// is another begins anew, as in Envoy.
    pub(crate) fn keep_endpoints(&mut self, before: &Self) {
        let changes = Changes::between(before, self);
        for cluster in &mut self.clusters {
            let was = before.clusters.iter().find(|was| was.name == cluster.name);
            let (Some(assigned), Some(was)) = (&mut cluster.assigned, was) else { continue };
            let Some(used) = was.assigned.as_ref().filter(|used| used.path == assigned.path) else { continue };
            if assigned.found == Found::Assignment || changes.clusters.contains_key(&cluster.name) {
                continue;
            }
            assigned.message = used.message.clone();
            cluster.assign(was.endpoints());
        }
    }

    /// Has clusters keep the endpoints that a new assignment leaves out and that are healthy.
    pub(crate) fn keep_healthy(&mut self, before: &Self, is_healthy: impl Fn(&Cluster, &Address) -> bool) {
        for cluster in self.clusters.iter_mut().filter(|cluster| cluster.keeps_healthy) {
            let Some(was) = before.clusters.iter().find(|was| was.name == cluster.name) else { continue };
            let (Some(assigned), Some(used)) = (&cluster.assigned, &was.assigned) else { continue };
            if assigned.path == used.path && assigned.replaces(used) {
                cluster.keep(was, |address| is_healthy(was, address));
            }
        }
    }

    /// Is it the same as `other`, the endpoints from files of their own included?
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let assigned = |config: &Self| -> Vec<_> {
            config.clusters.iter().map(|cluster| Some(cluster.assigned.as_ref()?.message.clone())).collect()
        };
        self.dump == other.dump && assigned(self) == assigned(other)
    }
}
