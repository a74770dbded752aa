//! Secrets that come from files of their own.

use super::{last_words, one_segment, scope};
use crate::stats::{Counter, Registry, State};

scope! {
    /// `sds.<secret>.`: the file of a secret.
    SecretStats {
        /// The secret stayed as it was, since a file that its own file names is of no use.
        key_rotation_failed: Counter,
        /// The file was read, since it may have changed.
        update_attempt: Counter,
        /// The file could not be read.
        update_failure: Counter,
        /// The file was read, and holds nothing that can be used.
        update_rejected: Counter,
        /// The file was read, and what it holds is in use.
        update_success: Counter,
        /// When the last file was read that is in use. Milliseconds since 1970.
        update_time: State,
        /// A hash of the `version_info` of that file.
        version: State,
    }
}

impl SecretStats {
    /// Of the secret of this name.
    #[must_use]
    pub fn new(registry: &Registry, secret: &str) -> Self {
        let prefix = format!("sds.{}", one_segment(secret));
        // A file is read with the configuration, so none is waited for.
        drop(Counter::named(registry, &prefix, "init_fetch_timeout"));
        Self::under(registry, &prefix)
    }
}
