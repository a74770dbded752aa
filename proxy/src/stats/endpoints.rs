//! Numbers of single endpoints, for `/clusters`.
//!
//! They are not in the registry unless the configuration wants it: a cluster may have hundreds of endpoints, and they come
//! and go with DNS.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::names::{cluster_prefix, one_segment};
use super::{Counter, Derived, Gauge, Health, Registry};

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
    /// Keeps the numbers listed among the stats, where that is wanted.
    listed: OnceLock<Registry>,
}

/// What is counted of an endpoint, by its names as stats.
struct Counted<'e> {
    counters: [(&'static str, &'e Counter); 6],
    gauges: [(&'static str, &'e Gauge); 3],
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

    /// Lists the numbers as `cluster.<name>.endpoint.<address>.`, for as long as there is the endpoint.
    pub fn list(self: &Arc<Self>, registry: &Registry, cluster: &str, address: &str) {
        let prefix = format!("{}.endpoint.{}", cluster_prefix(cluster), one_segment(address));
        let mut is_new = false;
        let scope = self.listed.get_or_init(|| {
            is_new = true;
            registry.scope()
        });
        if !is_new {
            return;
        }
        let Counted { counters, gauges } = self.counted();
        counters.iter().for_each(|(name, counter)| scope.adopt_counter(&format!("{prefix}.{name}"), counter));
        gauges.iter().for_each(|(name, gauge)| scope.adopt_gauge(&format!("{prefix}.{name}"), gauge));
        let endpoint = Arc::downgrade(self);
        registry.derive(format!("{prefix}.healthy"), move || {
            let endpoint = endpoint.upgrade()?;
            Some(Derived { value: endpoint.health.is_healthy().into(), used: true })
        });
    }

    /// What is counted, by its names as stats.
    fn counted(&self) -> Counted<'_> {
        let counters = [
            ("cx_connect_fail", &self.cx_connect_fail),
            ("cx_total", &self.cx_total),
            ("rq_error", &self.rq_error),
            ("rq_success", &self.rq_success),
            ("rq_timeout", &self.rq_timeout),
            ("rq_total", &self.rq_total),
        ];
        let gauges = [
            ("cx_active", &self.cx_active),
            ("rq_active", &self.rq_active),
            ("rq_pending_active", &self.rq_pending_active),
        ];
        Counted { counters, gauges }
    }

    /// The configuration says this of the endpoint.
    pub fn set_facts(&self, facts: EndpointFacts) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_numbers_are_those_of_the_endpoint() {
        let registry = Registry::new();
        let endpoint = Arc::new(EndpointStats::default());
        (0..2).for_each(|_| endpoint.list(&registry, "up", "10.0.0.1:80"));
        let Counted { counters, gauges } = endpoint.counted();
        counters.iter().for_each(|(_, counter)| counter.inc());
        let _held: Vec<_> = gauges.iter().map(|(_, gauge)| gauge.enter()).collect();
        let listed = || registry.snapshot().numbers.into_iter().map(|number| (number.name, number.value));
        let names =
            counters.iter().map(|(name, _)| *name).chain(gauges.iter().map(|(name, _)| *name)).chain(["healthy"]);
        let mut expected: Vec<_> = names.map(|last| (format!("cluster.up.endpoint.10.0.0.1_80.{last}"), 1)).collect();
        expected.sort_unstable();
        assert_eq!(listed().collect::<Vec<_>>(), expected);
        drop(endpoint);
        assert_eq!(listed().count(), 0, "an endpoint that is gone is not listed");
    }
}
