//! What authorisation services say, counted.
//!
//! A connection manager counts it, and so does the cluster that a request would go to: under
//! `cluster.<name>.ext_authz.`, where each name appears on first use.

use std::sync::Arc;

use super::Registry;
use super::names::{AuthorisationEvent, authorisation, cluster_prefix};

/// What is counted for a cluster.
#[derive(Debug)]
pub struct ClusterAuthorisations {
    registry: Arc<Registry>,
    prefix: String,
}

impl ClusterAuthorisations {
    /// No names yet.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, cluster: &str) -> Self {
        Self { registry: Arc::clone(registry), prefix: cluster_prefix(cluster) }
    }

    /// Counts an event; `own` is the filter's prefix.
    pub fn count(&self, own: &str, event: AuthorisationEvent) {
        let name = match event {
            AuthorisationEvent::Denied => "denied",
            AuthorisationEvent::Disabled
            | AuthorisationEvent::IgnoredMetadata
            | AuthorisationEvent::ShadowDenied
            | AuthorisationEvent::ShadowError => return,
            AuthorisationEvent::Error => "error",
            AuthorisationEvent::FailureModeAllowed => "failure_mode_allowed",
            AuthorisationEvent::Invalid => "invalid",
            AuthorisationEvent::Ok => "ok",
        };
        self.registry.counter(&format!("{}.{}.{name}", self.prefix, authorisation(own))).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::super::AuthorisationStats;
    use super::*;

    #[test]
    fn each_event_is_counted_for_the_connection_manager_and_for_the_cluster() {
        use AuthorisationEvent as Event;
        let registry = Arc::default();
        let (manager, cluster) =
            (AuthorisationStats::new(&registry, "p", "own"), ClusterAuthorisations::new(&registry, "app"));
        for (event, name) in [
            (Event::Denied, "denied"),
            (Event::Error, "error"),
            (Event::FailureModeAllowed, "failure_mode_allowed"),
            (Event::Invalid, "invalid"),
            (Event::Ok, "ok"),
        ] {
            manager.count(event);
            cluster.count("own", event);
            for prefix in ["http.p", "cluster.app"] {
                assert_eq!(registry.counter(&format!("{prefix}.ext_authz.own.{name}")).value(), 1, "{prefix} {name}");
            }
        }
    }
}
