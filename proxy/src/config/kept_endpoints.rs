//! What an assignment determines of a cluster, and a cluster that keeps it because its file brings no other.

use std::sync::Arc;

use http::HeaderValue;

use super::Config;
use super::assignment::Found;
use super::balancing::{HealthBy, Placement};
use super::changes::Changes;
use super::cluster::{Cluster, ClusterMetadata, Discovery, Labels};

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

    /// Is it the same as `other`, the endpoints from files of their own included?
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let assigned = |config: &Self| -> Vec<_> {
            config.clusters.iter().map(|cluster| Some(cluster.assigned.as_ref()?.message.clone())).collect()
        };
        self.dump == other.dump && assigned(self) == assigned(other)
    }
}
