//! What rate limit services say, counted for the cluster that a request would go to: under `cluster.<name>.ratelimit.`, where each
//! name appears on first use.

use std::sync::Arc;

use super::Registry;
use super::names::{cluster_prefix, one_segment};

/// What is counted for a cluster.
#[derive(Debug)]
pub struct ClusterLimits {
    registry: Arc<Registry>,
    prefix: String,
}

/// What has become of a request that is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LimitEvent {
    /// The service has said nothing.
    Error,
    /// And the request goes on all the same.
    FailureModeAllowed,
    /// No limit was reached.
    Ok,
    /// A limit was reached.
    OverLimit,
}

impl ClusterLimits {
    /// No names yet.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, cluster: &str) -> Self {
        Self { registry: Arc::clone(registry), prefix: cluster_prefix(cluster) }
    }

    /// Counts an event; `own` is the filter's prefix.
    pub fn count(&self, own: &str, event: LimitEvent) {
        let name = match event {
            LimitEvent::Error => "error",
            LimitEvent::FailureModeAllowed => "failure_mode_allowed",
            LimitEvent::Ok => "ok",
            LimitEvent::OverLimit => "over_limit",
        };
        let own = if own.is_empty() { String::new() } else { format!("{}.", one_segment(own)) };
        self.registry.counter(&format!("{}.ratelimit.{own}{name}", self.prefix)).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_counted_for_the_cluster() {
        let registry = Arc::default();
        let limits = ClusterLimits::new(&registry, "app");
        for (event, name) in [
            (LimitEvent::Error, "error"),
            (LimitEvent::FailureModeAllowed, "failure_mode_allowed"),
            (LimitEvent::Ok, "ok"),
            (LimitEvent::OverLimit, "over_limit"),
        ] {
            limits.count("own", event);
            limits.count("", event);
            for own in ["own.", ""] {
                assert_eq!(registry.counter(&format!("cluster.app.ratelimit.{own}{name}")).value(), 1, "{name}");
            }
        }
    }
}
