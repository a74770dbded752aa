//! What became of clusters, listeners and the runtime as configurations came.

use super::{last_words, scope};
use crate::config::{Changes, ClusterChange, ListenerChange};
use crate::stats::{Counter, Registry, State};

scope! {
    /// `cluster_manager.`
    ClusterManagerStats {
        /// Clusters of the configuration in force.
        active_clusters: State,
        /// A configuration had a cluster that the one before it had not.
        cluster_added: Counter,
        /// A configuration changed a cluster.
        cluster_modified: Counter,
        /// A configuration left a cluster out.
        cluster_removed: Counter,
    }
}

scope! {
    /// `listener_manager.`
    ListenerManagerStats {
        /// A configuration had a listener that the one before it had not.
        listener_added: Counter,
        /// A listener was made for all workers.
        listener_create_success: Counter,
        /// A configuration changed the routes of a listener, which went on with its connections.
        listener_in_place_updated: Counter,
        /// A configuration changed a listener.
        listener_modified: Counter,
        /// A configuration left a listener out.
        listener_removed: Counter,
        /// Listeners of the configuration in force.
        total_listeners_active: State,
        /// 1 once a configuration is served.
        workers_started: State,
    }
}

scope! {
    /// `runtime.`, but for what is read from its layers.
    RuntimeStats {
        /// The layers were put together.
        load_success: Counter,
        /// They were, without a directory of overrides, which there never is.
        override_dir_not_exists: Counter,
    }
}

impl RuntimeStats {
    /// The scope of the process.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self::under(registry, "runtime")
    }

    /// The layers were put together.
    pub fn loaded(&self) {
        self.load_success.inc();
        self.override_dir_not_exists.inc();
    }
}

/// Names that dashboards expect and that stay 0: a configuration is served whole or not at all, and at once.
const COUNTERS_ALWAYS_ZERO: &[(&str, &str)] = &[
    ("cluster_manager", "cluster_updated"),
    ("cluster_manager", "cluster_updated_via_merge"),
    ("cluster_manager", "update_merge_cancelled"),
    ("cluster_manager", "update_out_of_merge_window"),
    ("listener_manager", "listener_create_failure"),
    ("listener_manager", "listener_stopped"),
    ("runtime", "deprecated_feature_use"),
    ("runtime", "load_error"),
    ("runtime", "override_dir_exists"),
];

/// The same, of gauges.
const GAUGES_ALWAYS_ZERO: &[(&str, &str)] = &[
    ("cluster_manager", "warming_clusters"),
    ("listener_manager", "total_filter_chains_draining"),
    ("listener_manager", "total_listeners_draining"),
    ("listener_manager", "total_listeners_warming"),
    ("listener_manager", "workers_pinned"),
    ("runtime", "deprecated_feature_seen_since_process_start"),
];

/// Of clusters and listeners together.
#[derive(Clone, Debug)]
pub struct ManagerStats {
    clusters: ClusterManagerStats,
    listeners: ListenerManagerStats,
}

impl ManagerStats {
    /// The scope of the process.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        COUNTERS_ALWAYS_ZERO.iter().for_each(|(prefix, name)| drop(Counter::named(registry, prefix, name)));
        GAUGES_ALWAYS_ZERO.iter().for_each(|(prefix, name)| drop(State::named(registry, prefix, name)));
        Self {
            clusters: ClusterManagerStats::under(registry, "cluster_manager"),
            listeners: ListenerManagerStats::under(registry, "listener_manager"),
        }
    }

    /// A configuration with so many clusters and listeners is in force, which changed this.
    pub fn count(&self, clusters: usize, listeners: usize, changes: &Changes) {
        self.clusters.active_clusters.set(u64::try_from(clusters).unwrap_or(u64::MAX));
        for change in changes.clusters.values() {
            match change {
                ClusterChange::Added => self.clusters.cluster_added.inc(),
                ClusterChange::Removed => self.clusters.cluster_removed.inc(),
                ClusterChange::Connections | ClusterChange::Endpoints => self.clusters.cluster_modified.inc(),
            }
        }
        self.listeners.total_listeners_active.set(u64::try_from(listeners).unwrap_or(u64::MAX));
        self.listeners.workers_started.set(1);
        for change in changes.listeners.values() {
            match change {
                ListenerChange::Added => self.listeners.listener_added.inc(),
                ListenerChange::Removed => self.listeners.listener_removed.inc(),
                ListenerChange::Address | ListenerChange::Options => self.listeners.listener_modified.inc(),
                ListenerChange::Routes => {
                    self.listeners.listener_modified.inc();
                    self.listeners.listener_in_place_updated.inc();
                }
            }
            if !matches!(change, ListenerChange::Removed | ListenerChange::Routes) {
                self.listeners.listener_create_success.inc();
            }
        }
    }
}
