//! What routes and the clusters among which they share requests have in common: what they may point to, and what the levels above
//! them say.

use std::cell::RefCell;
use std::sync::Arc;

use super::filter::{Forwarding, Level, Template};
use super::{ClusterNames, NO_NAMES};
use crate::config::bootstrap::filter::TypedPerFilterConfig;
use crate::config::filter::Chains;
use crate::config::problem::Problem;
use crate::config::route::{HeaderEdits, NamedCluster};
use crate::config::yaml::{At, Notes};

/// What routes may point to, and where they are told of.
#[derive(Clone, Copy)]
pub(super) struct Targets<'a> {
    pub(super) clusters: &'a ClusterNames<'a>,
    pub(super) filters: &'a Template,
    /// `validate_clusters`: a name without a cluster is an error.
    pub(super) validate: bool,
    pub(super) notes: &'a Notes,
    /// The prefixes of stats so far.
    pub(super) stat_prefixes: &'a RefCell<Vec<String>>,
}

impl Targets<'_> {
    /// The number of a prefix that stats shall have.
    pub(super) fn stats(&self, prefix: String) -> usize {
        let mut prefixes = self.stat_prefixes.borrow_mut();
        prefixes.push(prefix);
        prefixes.len() - 1
    }

    /// The cluster of this name, which must be one of the configuration's unless `validate_clusters` is off.
    pub(super) fn cluster(&self, name: &At<String>) -> Result<NamedCluster, Problem> {
        if self.clusters.has(&name.value) || !self.validate {
            return Ok(NamedCluster::Cluster(name.value.as_str().into()));
        }
        let remedy = match self.clusters.shown().as_str() {
            NO_NAMES => "static_resources.clusters is empty".to_owned(),
            known => format!("clusters: {known}"),
        };
        Err(name.invalid_but(format!("unknown cluster '{}'", name.value), remedy))
    }
}

/// What holds for all requests of a route, whichever cluster they go to.
pub(super) struct Levels<'a> {
    /// What the route configuration, the virtual host and the route say of HTTP filters.
    pub(super) filters: [&'a Level; 3],
    /// What becomes of the requests.
    pub(super) forwarding: Forwarding,
    /// What they change in heads, in the order in which it is applied.
    pub(super) edits: Vec<Arc<HeaderEdits>>,
}

/// What holds for the requests that go to one of several clusters.
pub(super) struct OfCluster {
    /// The filter chains, if a level says something of them.
    pub(super) filters: Option<Arc<Chains>>,
    /// What is changed in heads, in the order in which it is applied.
    pub(super) edits: Vec<Arc<HeaderEdits>>,
}

impl Levels<'_> {
    /// The filter chains, if a level says something of them.
    pub(super) fn chains(&self, template: &Template) -> Option<Arc<Chains>> {
        chains(&self.filters, self.forwarding, template)
    }

    /// The filter chains and the edits of the requests for one of several clusters, which says this. Its edits come first, in
    /// whatever order those of the others are applied.
    pub(super) fn below(
        &self,
        filters: &TypedPerFilterConfig,
        edits: HeaderEdits,
        targets: Targets<'_>,
    ) -> Result<OfCluster, Problem> {
        let own = targets.filters.level(filters, None, targets.notes)?;
        let [of_all, of_host, of_route] = self.filters;
        let edits = (!edits.is_empty()).then(|| Arc::new(edits));
        let edits = edits.into_iter().chain(self.edits.iter().map(Arc::clone)).collect();
        let filters = chains(&[of_all, of_host, of_route, &own], self.forwarding, targets.filters);
        Ok(OfCluster { filters, edits })
    }
}

fn chains(levels: &[&Level], forwarding: Forwarding, template: &Template) -> Option<Arc<Chains>> {
    levels.iter().any(|level| !level.is_empty()).then(|| Arc::new(template.resolve(levels, forwarding)))
}
