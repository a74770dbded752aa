//! A cluster whose endpoints are those of other clusters (`envoy.clusters.aggregate`): their priorities follow each other in the
//! order of the list, and the health of all of them decides which one a request goes to. The cluster that it belongs to then
//! chooses the endpoint, by its own policy; its are the connections and what is counted of them.

use std::ops::Deref;
use std::rc::Rc;

use super::balancer::{Census, Shares, Wish};
use super::{Cluster, Endpoint};
use crate::config::ClusterName;
use crate::config::cluster::Discovery;

/// The cluster that an endpoint belongs to.
pub enum Home<'c> {
    /// The one that chose it.
    Own(&'c Cluster),
    /// One that this one lists.
    Other(Rc<Cluster>),
}

impl Deref for Home<'_> {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        match self {
            Self::Own(cluster) => cluster,
            Self::Other(cluster) => cluster,
        }
    }
}

/// A priority of one of the clusters.
struct Link {
    cluster: Rc<Cluster>,
    priority: usize,
    census: Census,
}

impl Cluster {
    /// The cluster that an endpoint which this one chose belongs to.
    #[must_use]
    pub fn home<'c>(&'c self, endpoint: &Endpoint) -> Home<'c> {
        match &self.shared.config.discovery {
            Discovery::Aggregate(_) => endpoint.cluster().map_or(Home::Own(self), Home::Other),
            Discovery::Forward(_)
            | Discovery::LogicalDns { .. }
            | Discovery::Original(_)
            | Discovery::Static(_)
            | Discovery::StrictDns { .. } => Home::Own(self),
        }
    }

    /// May hashes of requests choose an endpoint, here or in a cluster that this one lists?
    #[must_use]
    pub fn may_hash(&self) -> bool {
        let config = &self.shared.config;
        matches!(config.discovery, Discovery::Aggregate(_)) || config.balancing.policy.hashes()
    }

    /// The priority of an endpoint that this cluster chose, as this cluster counts them.
    pub(super) fn linked_priority(&self, endpoint: &Endpoint) -> u32 {
        let home = self.home(endpoint);
        let own = home.placement(endpoint).priority;
        let (Discovery::Aggregate(names), Home::Other(home)) = (&self.shared.config.discovery, home) else {
            return own;
        };
        let is_it = |link: &Link| Rc::ptr_eq(&link.cluster, &home) && u32::try_from(link.priority) == Ok(own);
        let at = self.links(names).iter().position(is_it);
        at.and_then(|at| u32::try_from(at).ok()).unwrap_or(own)
    }

    /// An endpoint of one of these clusters.
    pub(super) fn draw_linked(&self, names: &[ClusterName], wish: Wish<'_>) -> Option<Rc<Endpoint>> {
        let links = self.links(names);
        let parts: Vec<_> = links.iter().map(|link| (link.census, &link.cluster.shared.config.balancing)).collect();
        let all = Shares::linked(&parts, self.shared.keys.panic_threshold.get());
        let others = all.without(wish.not_of);
        let shares = others.as_ref().unwrap_or(&all);
        let chance = || wish.hash.unwrap_or_else(|| self.outside.random.next_u64());
        let (at, availability) = shares.only().unwrap_or_else(|| shares.draw(chance()));
        let Link { cluster, priority, .. } = links.get(at)?;
        cluster.draw(Wish { part: Some((*priority, availability)), not_of: &[], ..wish })
    }

    /// The priorities of these clusters that have an endpoint, one behind the other. A name without a cluster is left out, as in
    /// Envoy, and so is a cluster that has no endpoints of its own.
    fn links(&self, names: &[ClusterName]) -> Vec<Link> {
        let Some(all) = self.beside.upgrade() else { return Vec::new() };
        let mut links = Vec::new();
        for cluster in names.iter().filter_map(|name| all.get(name)) {
            for (priority, census) in cluster.censuses().into_iter().enumerate().filter(|(_, census)| census.all > 0) {
                links.push(Link { cluster: Rc::clone(&cluster), priority, census });
            }
        }
        links
    }
}
