//! The clusters of one worker, by name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Cluster;
use crate::config::ClusterName;
use crate::dns_cache::WorkerCaches;

/// The clusters of one worker, by name. A stream takes its cluster out once and holds it, so that the cluster outlives
/// its entry here.
pub struct Clusters {
    by_name: RefCell<BTreeMap<ClusterName, Rc<Cluster>>>,
    /// The hosts that requests name, for forward proxies.
    pub hosts: WorkerCaches,
}

impl Clusters {
    /// None yet.
    #[must_use]
    pub fn new(hosts: WorkerCaches) -> Self {
        Self { by_name: RefCell::default(), hosts }
    }

    /// The cluster `name`, if the worker has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Rc<Cluster>> {
        self.by_name.borrow().get(name).map(Rc::clone)
    }

    /// Adds a cluster. Returns the one that had its name before.
    pub fn insert(&self, cluster: Rc<Cluster>) -> Option<Rc<Cluster>> {
        self.by_name.borrow_mut().insert(cluster.shared.config.name.clone(), cluster)
    }

    /// Removes the clusters for which `keep` returns false: their idle connections close.
    pub fn retain(&self, keep: &dyn Fn(&str) -> bool) {
        let mut clusters = self.by_name.borrow_mut();
        let gone: Vec<_> = clusters.extract_if(.., |name, _| !keep(name)).collect();
        drop(clusters);
        gone.into_iter().for_each(|(_, cluster)| cluster.retire(None));
    }
}
