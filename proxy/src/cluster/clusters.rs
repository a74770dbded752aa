//! The clusters of one worker, by name.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Cluster;
use crate::config::ClusterName;

/// The clusters of one worker, by name. A stream takes its cluster out once and holds it, so that the cluster outlives
/// its entry here.
#[derive(Default)]
pub struct Clusters(RefCell<BTreeMap<ClusterName, Rc<Cluster>>>);

impl Clusters {
    /// The cluster `name`, if the worker has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Rc<Cluster>> {
        self.0.borrow().get(name).map(Rc::clone)
    }

    /// Adds a cluster. Returns the one that had its name before.
    pub fn insert(&self, cluster: Rc<Cluster>) -> Option<Rc<Cluster>> {
        self.0.borrow_mut().insert(cluster.shared.config.name.clone(), cluster)
    }

    /// Removes the clusters for which `keep` returns false: their idle connections close.
    pub fn retain(&self, keep: &dyn Fn(&str) -> bool) {
        let mut clusters = self.0.borrow_mut();
        let gone: Vec<_> = clusters.extract_if(.., |name, _| !keep(name)).collect();
        drop(clusters);
        gone.into_iter().for_each(|(_, cluster)| cluster.retire(None));
    }
}
