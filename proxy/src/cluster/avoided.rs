//! The endpoints that a retry avoids, `retry_host_predicate`, and the metadata of endpoints that decides it.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use super::{Cluster, Endpoint};
use crate::access_log::UpstreamMetadata;
use crate::config::cluster::{Discovery, Labels};
use crate::config::retry::{HostPredicate, OtherEndpoints};
use crate::net::Address;
use crate::stats::EndpointFacts;

/// Where the tries of one request have gone, and which endpoints its retries avoid.
#[derive(Debug)]
pub struct Avoided<'c> {
    options: &'c OtherEndpoints,
    tried: Vec<Address>,
}

impl<'c> Avoided<'c> {
    /// Of a request that has not been tried yet.
    #[must_use]
    pub fn new(options: &'c OtherEndpoints) -> Self {
        Self { options, tried: Vec::new() }
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
    /// The endpoint for the next try, if possible none of those that are `avoided`.
    #[must_use]
    pub fn choose(&self, avoided: Option<&mut Avoided<'_>>) -> Option<Rc<Endpoint>> {
        let mut drawn = self.draw()?;
        let Some(avoided) = avoided else { return Some(drawn) };
        for _ in 0..avoided.options.draws_max {
            if !avoided.rejects(self, &drawn) {
                break;
            }
            drawn = self.draw()?;
        }
        avoided.tried.push(drawn.address.clone());
        Some(drawn)
    }

    /// The name of an endpoint: its `hostname` in the configuration, or the name that resolved to it.
    #[must_use]
    pub fn hostname(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        self.shared.config.hostnames.get(self.written_as(endpoint)?)?.clone()
    }

    /// The metadata of an endpoint that balancing and retries match.
    #[must_use]
    pub fn labels(&self, endpoint: &Endpoint) -> Option<&Labels> {
        let labels = &self.shared.config.labels;
        if labels.is_empty() {
            return None; // the common case looks for nothing
        }
        labels.get(self.written_as(endpoint)?)?.as_ref()
    }

    /// What logs and headers may show of the configuration of the cluster and of the endpoint that was chosen, if one was.
    #[must_use]
    pub fn metadata(&self, endpoint: Option<&Endpoint>) -> Option<UpstreamMetadata> {
        let all = Arc::clone(self.shared.config.metadata.as_ref()?);
        Some(UpstreamMetadata { all, endpoint: endpoint.and_then(|endpoint| self.written_as(endpoint)) })
    }

    /// Notes for `/clusters` what the configuration says of an endpoint.
    pub(super) fn describe(&self, endpoint: &Endpoint) {
        let hostname = self.hostname(endpoint);
        let hostname = hostname.as_ref().and_then(|name| name.to_str().ok()).unwrap_or_default().to_owned();
        let is_canary = self.labels(endpoint).is_some_and(|labels| labels.is_canary);
        endpoint.counts.set_facts(EndpointFacts { hostname, is_canary });
    }

    /// Which of the configuration's endpoints it is, in their order.
    fn written_as(&self, endpoint: &Endpoint) -> Option<usize> {
        match &self.shared.config.discovery {
            Discovery::Static(addresses) => addresses.iter().position(|address| *address == endpoint.address),
            Discovery::StrictDns { .. } => {
                self.known.borrow().iter().position(|known| known.addresses.contains(&endpoint.address))
            }
            Discovery::LogicalDns { .. } => Some(0),
        }
    }
}
