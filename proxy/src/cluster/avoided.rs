//! The endpoints and priorities that a retry avoids, `retry_host_predicate` and `retry_priority`, and the metadata of endpoints
//! that decides it.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use super::balancer::Wish;
use super::{Cluster, Endpoint};
use crate::access_log::UpstreamMetadata;
use crate::config::balancing::{Locality, Placement, ReportedHealth};
use crate::config::cluster::Labels;
use crate::config::retry::{HostPredicate, OtherEndpoints};
use crate::net::Address;
use crate::stats::{EndpointFacts, HealthFlag};

/// Where the tries of one request have gone, and which endpoints its retries avoid.
#[derive(Debug)]
pub struct Avoided<'c> {
    options: &'c OtherEndpoints,
    tried: Vec<Address>,
    priorities: TriedPriorities,
}

/// The priorities of the tries of one request. At most as many as it has tries.
#[derive(Debug, Default)]
struct TriedPriorities {
    /// Of each try since any priority was last avoided for nothing.
    tried: Vec<u32>,
    /// Those that the next try avoids.
    avoided: Vec<u32>,
}

impl TriedPriorities {
    /// Before the next try.
    fn update(&mut self, every: NonZeroU32) {
        let every = usize::try_from(every.get()).unwrap_or(usize::MAX);
        if self.tried.len() >= every && self.tried.len().is_multiple_of(every) {
            self.avoided.clone_from(&self.tried);
        }
    }

    /// The try goes to this priority.
    fn add(&mut self, priority: u32) {
        if self.avoided.contains(&priority) {
            // No other had an endpoint to offer: it begins anew, as in Envoy.
            *self = Self::default();
        }
        self.tried.push(priority);
    }
}

impl<'c> Avoided<'c> {
    /// Of a request that has not been tried yet.
    #[must_use]
    pub fn new(options: &'c OtherEndpoints) -> Self {
        Self { options, tried: Vec::new(), priorities: TriedPriorities::default() }
    }

    /// Does the next try avoid this endpoint? The first try avoids none.
    fn rejects(&self, cluster: &Cluster, endpoint: &Endpoint) -> bool {
        let labels = || cluster.labels(endpoint);
        !self.tried.is_empty()
            && self.options.predicates.iter().any(|predicate| match predicate {
                HostPredicate::Canary => labels().is_some_and(|labels| labels.is_canary),
                HostPredicate::Labels(wanted) => wanted.hold(labels().map(|labels| &labels.balancing)),
                HostPredicate::Tried => self.tried.contains(&endpoint.address),
            })
    }
}

impl Cluster {
    /// The endpoint for the next try of a request with this wish, if possible none of those that are `avoided`.
    #[must_use]
    pub fn choose(&self, wish: Wish<'_>, avoided: Option<&mut Avoided<'_>>) -> Option<Rc<Endpoint>> {
        let Some(avoided) = avoided else { return self.draw(wish) };
        if let Some(every) = avoided.options.other_priorities_every {
            avoided.priorities.update(every);
        }
        let draw = |attempt| self.draw(Wish { attempt, not_of: &avoided.priorities.avoided, ..wish });
        let mut drawn = draw(0)?;
        for attempt in 1..=avoided.options.draws_max {
            if !avoided.rejects(&self.home(&drawn), &drawn) {
                break;
            }
            drawn = draw(attempt)?;
        }
        avoided.tried.push(drawn.address.clone());
        if avoided.options.other_priorities_every.is_some() {
            avoided.priorities.add(self.linked_priority(&drawn));
        }
        Some(drawn)
    }

    /// The name of an endpoint: its `hostname` in the configuration, or the name that resolved to it.
    #[must_use]
    pub fn hostname(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        match &endpoint.location.host {
            Some(host) => HeaderValue::from_str(host).ok(),
            None => self.shared.config.hostnames.get(endpoint.written.get())?.clone(),
        }
    }

    /// The metadata of an endpoint that balancing and retries match.
    #[must_use]
    pub fn labels(&self, endpoint: &Endpoint) -> Option<&Labels> {
        let labels = &self.shared.config.labels;
        if labels.is_empty() {
            return None; // the common case looks for nothing
        }
        labels.get(endpoint.written.get())?.as_ref()
    }

    /// What logs and headers may show of the configuration of the cluster and of the endpoint that was chosen, if one was.
    #[must_use]
    pub fn metadata(&self, endpoint: Option<&Endpoint>) -> Option<UpstreamMetadata> {
        let all = Arc::clone(self.shared.config.metadata.as_ref()?);
        Some(UpstreamMetadata { all, endpoint: endpoint.map(|endpoint| endpoint.written.get()) })
    }

    /// Notes for `/clusters` what the configuration says of an endpoint.
    pub(super) fn describe(&self, endpoint: &Endpoint) {
        let hostname = self.hostname(endpoint);
        let hostname = hostname.as_ref().and_then(|name| name.to_str().ok()).unwrap_or_default().to_owned();
        let is_canary = self.labels(endpoint).is_some_and(|labels| labels.is_canary);
        let placement = self.placement(endpoint);
        let Locality { region, zone, sub_zone } = placement.locality;
        endpoint.counts.set_facts(EndpointFacts {
            hostname,
            is_canary,
            weight: placement.weight,
            priority: placement.priority,
            locality: [region, zone, sub_zone],
        });
        for (flag, reported) in [
            (HealthFlag::ReportedDegraded, ReportedHealth::Degraded),
            (HealthFlag::ReportedDraining, ReportedHealth::Draining),
            (HealthFlag::ReportedUnhealthy, ReportedHealth::Unhealthy),
        ] {
            match placement.health == reported {
                true => endpoint.counts.health.set_flag(flag),
                false => endpoint.counts.health.clear_flag(flag),
            };
        }
    }

    /// The zone of an endpoint, if responses are counted by zones.
    #[must_use]
    pub fn counted_zone(&self, endpoint: &Endpoint) -> Option<Box<str>> {
        if !self.codes.has_zones() {
            return None; // the common case looks for nothing
        }
        let placement = self.shared.config.placements.get(endpoint.written.get())?;
        Some(placement.locality.zone.as_str()).filter(|zone| !zone.is_empty()).map(Box::from)
    }

    /// Where the configuration places an endpoint among the others.
    pub(super) fn placement(&self, endpoint: &Endpoint) -> Placement {
        let placement = self.shared.config.placements.get(endpoint.written.get());
        placement.cloned().unwrap_or(Placement::USUAL)
    }
}
