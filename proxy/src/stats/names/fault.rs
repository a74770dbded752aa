//! Faults that were injected on purpose: by the filter `envoy.filters.http.fault`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{last_words, one_segment, scope};
use crate::stats::{Counter, Gauge, Registry};

scope! {
    /// `http.<stat_prefix>.fault.`: the filter `envoy.filters.http.fault`, where it is in a chain.
    FaultStats {
        /// A request was refused.
        aborts_injected: Counter,
        /// Number of requests that have a fault now.
        active_faults: Gauge,
        /// A request was delayed.
        delays_injected: Counter,
        /// A request got no fault: as many have one as may.
        faults_overflow: Counter,
        /// A response is slowed down.
        response_rl_injected: Counter,
    }
}

impl FaultStats {
    /// The scope of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str) -> Self {
        Self::under(registry, &prefix(stat_prefix))
    }
}

fn prefix(stat_prefix: &str) -> String {
    format!("http.{}.fault", one_segment(stat_prefix))
}

/// Faults of requests that name the cluster they come from. Requests give these names, so they appear on first use, and their
/// number is bounded.
#[derive(Debug)]
pub struct OriginFaults {
    registry: Arc<Registry>,
    prefix: String,
    known: RefCell<BTreeMap<Box<str>, Origin>>,
}

/// What is counted for one of those clusters.
#[derive(Clone, Debug)]
pub struct Origin {
    /// A request was refused.
    pub aborts: Counter,
    /// A request was delayed.
    pub delays: Counter,
}

/// Clusters of one connection manager on each worker; requests of more are not counted apart.
const ORIGINS_MAX: usize = 256;
/// The longest name that is counted, in bytes.
const ORIGIN_BYTES_MAX: usize = 128;

impl OriginFaults {
    /// No names yet.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, stat_prefix: &str) -> Self {
        Self { registry: Arc::clone(registry), prefix: prefix(stat_prefix), known: RefCell::default() }
    }

    /// What is counted for the cluster of this name; `None` if it is too long, or one too many.
    #[must_use]
    pub fn of(&self, cluster: &str) -> Option<Origin> {
        let mut known = self.known.borrow_mut();
        if let Some(origin) = known.get(cluster) {
            return Some(origin.clone());
        }
        if cluster.is_empty() || cluster.len() > ORIGIN_BYTES_MAX || known.len() == ORIGINS_MAX {
            return None;
        }
        let named = |last: &str| self.registry.counter(&format!("{}.{}.{last}", self.prefix, one_segment(cluster)));
        let origin = Origin { aborts: named("aborts_injected"), delays: named("delays_injected") };
        known.insert(cluster.into(), origin.clone());
        Some(origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_that_requests_name_are_counted_up_to_a_limit() {
        let registry = Arc::new(Registry::new());
        let faults = OriginFaults::new(&registry, "p");
        faults.of("web").unwrap().delays.inc();
        faults.of("web").unwrap().delays.inc();
        let names = |registry: &Registry| {
            let numbers = registry.snapshot().numbers;
            numbers.into_iter().map(|number| (number.name.to_string(), number.value)).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&registry),
            [("http.p.fault.web.aborts_injected".to_owned(), 0), ("http.p.fault.web.delays_injected".to_owned(), 2)]
        );
        assert!(faults.of("").is_none() && faults.of(&"x".repeat(ORIGIN_BYTES_MAX + 1)).is_none());
        (0..2 * ORIGINS_MAX).for_each(|number| drop(faults.of(&number.to_string())));
        assert_eq!(names(&registry).len(), 2 * ORIGINS_MAX);
    }
}
