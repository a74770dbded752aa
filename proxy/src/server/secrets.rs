//! The secrets that come from files of their own, as they are in use.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh64::xxh64;

use crate::config::secret_read::{Found, SecretRead};
use crate::stats::{Registry, SecretStats};

/// The secrets in use, and what is counted of them.
pub(super) struct SecretsInUse {
    registry: Arc<Registry>,
    read: Mutex<Vec<SecretRead>>,
}

impl SecretsInUse {
    /// The secrets of the first configuration, which was read at this time.
    pub(super) fn new(registry: &Arc<Registry>, secrets: &[SecretRead], at: SystemTime) -> Self {
        let in_use = Self { registry: Arc::clone(registry), read: Mutex::default() };
        in_use.take_over(secrets, &[], at);
        in_use
    }

    /// Those that are in use.
    pub(super) fn read(&self) -> Vec<SecretRead> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts what came of reading their files anew, of which those in `changed` are others. Returns the secrets whose files are
    /// of no use, and why.
    pub(super) fn take_over(&self, secrets: &[SecretRead], changed: &[String], at: SystemTime) -> Vec<String> {
        let mut in_use = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refused = Vec::new();
        for read in secrets {
            let stats = SecretStats::new(&self.registry, &read.name);
            let used = in_use.iter().find(|used| used.is(&read.name, &read.path));
            let is_other = used.is_none_or(|used| read.replaces(used)) || changed.contains(&read.path);
            // The keys that it names are watched as well.
            let has_other_files = changed.iter().any(|path| read.names(path));
            match &read.found {
                _ if !is_other && !has_other_files => continue,
                Found::Secret if is_other => count_success(&stats, read.version(), at),
                Found::Unreadable(_) if is_other => count_attempt(&stats, &stats.update_failure),
                Found::Unusable(_) if is_other => count_attempt(&stats, &stats.update_rejected),
                Found::Unreadable(_) | Found::Unusable(_) => stats.key_rotation_failed.inc(),
                Found::Secret => {}
            }
            refused.extend(read.found.refusal().map(|why| format!("secret {}: {why}", read.name)));
        }
        *in_use = secrets.to_vec();
        refused
    }
}

fn count_attempt(stats: &SecretStats, outcome: &crate::stats::Counter) {
    stats.update_attempt.inc();
    outcome.inc();
}

fn count_success(stats: &SecretStats, version: &str, at: SystemTime) {
    count_attempt(stats, &stats.update_success);
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    stats.update_time.set(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    stats.version.set(xxh64(version.as_bytes(), 0));
}
