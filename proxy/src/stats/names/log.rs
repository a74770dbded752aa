//! The log files of the process, and the entries that services get.

use super::{last_words, scope};
use crate::stats::{Counter, Gauge, Registry};

/// `filesystem.`: the log files of the process, all of them together. They are older than a configuration and its registry,
/// so the handles are made first and registered later.
#[derive(Clone, Debug, Default)]
pub struct LogStats {
    /// Times that lines were queued because they had waited long enough.
    pub(crate) flushed_by_timer: Counter,
    /// Times that a file could not be opened again, and the old one was kept.
    pub(crate) reopen_failed: Counter,
    /// Lines queued for a file.
    pub(crate) write_buffered: Counter,
    /// Times that a file took what was written.
    pub(crate) write_completed: Counter,
    /// Lines that are in no file: there was no room for them in the queue, or an error.
    pub(crate) write_dropped: Counter,
    /// Times that writing to a file ended in an error.
    pub(crate) write_failed: Counter,
    /// Memory of the lines that wait for their files. Bytes.
    pub(crate) write_total_buffered: Gauge,
}

impl LogStats {
    /// Registers these handles under Envoy's names; `write_dropped` is ours.
    pub fn register(&self, registry: &Registry) {
        let counters = [
            ("flushed_by_timer", &self.flushed_by_timer),
            ("reopen_failed", &self.reopen_failed),
            ("write_buffered", &self.write_buffered),
            ("write_completed", &self.write_completed),
            ("write_dropped", &self.write_dropped),
            ("write_failed", &self.write_failed),
        ];
        for (name, counter) in counters {
            registry.adopt_counter(&format!("filesystem.{name}"), counter);
        }
        registry.adopt_gauge("filesystem.write_total_buffered", &self.write_total_buffered);
    }
}

scope! {
    /// `access_logs.grpc_access_log.`: entries for services, of all logs together.
    EntryStats {
        /// Entries that waited while the service took none, each time that some were to be sent.
        grpc_entries_flush_failed: Counter,
        /// Entries that were handed over to a call, or were lost with one that could not be made.
        grpc_entries_flushed: Counter,
        /// Entries for which there was no room.
        logs_dropped: Counter,
        /// Entries of requests for which there was.
        logs_written: Counter,
    }
}

impl EntryStats {
    /// Those of the process.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self::under(registry, "access_logs.grpc_access_log")
    }
}
