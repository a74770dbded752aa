//! Numbers of single endpoints, for `/clusters`.
//!
//! They are not in the registry: a cluster may have hundreds of endpoints, and they come and go with DNS.

use std::sync::{Mutex, PoisonError};

use super::{Counter, Gauge, Health};

/// What is counted of one endpoint, by all workers together.
#[derive(Debug, Default)]
pub struct EndpointStats {
    /// Connections open or connecting.
    pub cx_active: Gauge,
    /// A connect failed.
    pub cx_connect_fail: Counter,
    /// A connect began.
    pub cx_total: Counter,
    /// Requests on a connection.
    pub rq_active: Gauge,
    /// A response of 5xx, or none.
    pub rq_error: Counter,
    /// Requests waiting for a connection.
    pub rq_pending_active: Gauge,
    /// A response below 500.
    pub rq_success: Counter,
    /// A request took too long.
    pub rq_timeout: Counter,
    /// A request was put on a connection.
    pub rq_total: Counter,
    /// Whether it may be chosen.
    pub health: Health,
    /// What the configuration says of it.
    said: Mutex<EndpointFacts>,
}

/// What the configuration says of an endpoint.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EndpointFacts {
    /// `hostname`, or the name that DNS has resolved; empty if it has none.
    pub hostname: String,
    /// `envoy.lb: {canary: true}` in its metadata.
    pub is_canary: bool,
    /// `load_balancing_weight`
    pub weight: u32,
    /// Its priority; 0 is the first.
    pub priority: u32,
    /// Where it is: region, zone, zone within the zone. Empty is not said.
    pub locality: [String; 3],
}

impl EndpointStats {
    /// What the configuration says of the endpoint.
    #[must_use]
    pub fn facts(&self) -> EndpointFacts {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The configuration says this of the endpoint.
    pub fn set_facts(&self, facts: EndpointFacts) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }
}
