//! What is counted of files of endpoints.

use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh64::xxh64;

use super::ClusterShared;
use crate::config::Cluster;
use crate::config::assignment::{Assigned, Found};
use crate::stats::{AssignmentStats, ClusterStats, Registry};

/// Of a cluster whose endpoints come from a file of their own.
pub(super) fn stats(config: &Cluster, registry: &Registry) -> Option<AssignmentStats> {
    config.assigned.as_ref().map(|_| ClusterStats::assignment(registry, config.stat_name()))
}

impl ClusterShared {
    /// The file of its endpoints was read at this time, and is in force from the start.
    pub fn count_first_assignment(&self, at: SystemTime) {
        self.config.assigned.iter().for_each(|read| self.count_assignment(read, true, at));
    }

    /// The file of its endpoints was read at this time, as `read`; `is_other` says whether it brought other endpoints.
    pub fn count_assignment(&self, read: &Assigned, is_other: bool, at: SystemTime) {
        let Some(stats) = &self.assignment_stats else { return };
        self.stats.update_attempt.inc();
        match read.found {
            Found::Assignment if is_other => {}
            Found::Assignment => self.stats.update_no_rebuild.inc(),
            Found::Nothing => stats.empty.inc(),
            Found::Unreadable(_) => return self.stats.update_failure.inc(),
            Found::Unusable(_) => return stats.rejected.inc(),
        }
        self.stats.update_success.inc();
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        stats.time.set(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        stats.version.set(xxh64(read.version.as_bytes(), 0));
    }
}
