//! The process.

use super::{last_words, scope};
use crate::stats::{Counter, Gauge, Registry, State};

scope! {
    /// `server.`: the process.
    ServerStats {
        /// Number of worker threads.
        concurrency: State,
        /// The configuration was to be read again.
        config_reload_attempt: Counter,
        /// A configuration that was read again could not be served, and the one before it still is.
        config_reload_rejected: Counter,
        /// A configuration that was read again is served.
        config_reload_success: Counter,
        /// When the configuration in force was read. Milliseconds since 1970.
        config_reload_time_ms: State,
        /// 1 for the configuration that the process started with, and one more for each that followed.
        config_version: State,
        /// Whole days until the first TLS certificate expires, when the stats were last read; 4294967295 if there is none.
        days_until_first_cert_expiring: State,
        /// 1 while the process takes requests and does not drain.
        live: State,
        /// Pages of heap and stacks in memory, when the stats were last read: the allocator does not report how much of it
        /// is in use. Bytes.
        memory_allocated: State,
        /// As `memory_allocated`.
        memory_heap_size: State,
        /// All pages in memory, when the stats were last read. Bytes.
        memory_physical_size: State,
        /// Until the first response of OCSP expires that goes with a certificate, when the stats were last read; 0 if there is
        /// none. Seconds.
        seconds_until_first_ocsp_response_expiring: State,
        /// [`ServerState`] as a number.
        state: State,
        /// Connections open, of all listeners.
        total_connections: Gauge,
        /// Since the start. Seconds.
        uptime: State,
        /// The first six hexadecimal digits of the commit that the program was built from, as a number; 0: not known.
        version: State,
    }
}

/// What the process is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ServerState {
    /// Not all listeners are bound.
    Initializing,
    /// State 0, LIVE.
    Live,
    /// Takes requests, but requests none.
    Draining,
}

impl ServerStats {
    /// The scope of the process, which begins with `workers` workers and [`ServerState::Initializing`].
    #[must_use]
    pub fn new(registry: &Registry, workers: usize) -> Self {
        let stats = Self::under(registry, "server");
        stats.concurrency.set(u64::try_from(workers).unwrap_or(u64::MAX));
        stats.enter(ServerState::Initializing);
        stats
    }

    /// The program was built from `commit`.
    pub fn set_version(&self, commit: &str) {
        let digits = commit.get(..VERSION_DIGITS).unwrap_or_default();
        self.version.set(u64::from_str_radix(digits, 16).unwrap_or(0));
    }

    /// The process is in `state` from here on.
    pub fn enter(&self, state: ServerState) {
        let (live, number) = match state {
            ServerState::Live => (1, STATE_LIVE),
            ServerState::Draining => (0, STATE_DRAINING),
            ServerState::Initializing => (0, STATE_INITIALIZING),
        };
        self.live.set(live);
        self.state.set(number);
    }

    /// What the process is doing.
    #[must_use]
    pub fn current(&self) -> ServerState {
        match self.state.value() {
            STATE_LIVE => ServerState::Live,
            STATE_DRAINING => ServerState::Draining,
            _ => ServerState::Initializing,
        }
    }
}

/// Of a commit, as in Envoy's `server.version`.
const VERSION_DIGITS: usize = 6;

// The values of Envoy's `server.state`.
const STATE_LIVE: u64 = 0;
const STATE_DRAINING: u64 = 1;
const STATE_INITIALIZING: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_the_number_of_the_first_digits_of_the_commit() {
        let stats = ServerStats::new(&Registry::new(), 1);
        // The first is Envoy 1.40.0, whose own stat has the same value.
        let cases = [("9e5580933739775e8bce696a57a2e1bc99368f23", 10_376_576), ("unknown", 0), ("", 0)];
        for (commit, version) in cases {
            stats.set_version(commit);
            assert_eq!(stats.version.value(), version, "{commit}");
        }
    }
}
