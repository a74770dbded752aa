//! What the process says of itself: its log on standard error or in a file, whose levels operators change at run time.
//!
//! The data plane writes to it through the macros of `tracing`, and through nothing else: an event whose level is off
//! costs one relaxed load.

mod format;
mod levels;
#[cfg(test)]
pub(crate) mod testing;

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt, reload};

pub use format::{Format, FormatError};
pub use levels::{Level, LevelError, Levels};

/// The levels in force, and the way to change them.
#[derive(Debug)]
pub struct ProcessLog {
    levels: Mutex<Levels>,
    /// `None` where nothing is written: in a simulation, whose process has no log of its own.
    filter: Option<reload::Handle<Targets, Registry>>,
}

impl ProcessLog {
    /// Levels without a log.
    #[must_use]
    pub fn silent() -> Self {
        Self { levels: Mutex::new(Levels::all(Level::default())), filter: None }
    }

    /// Has every event of this process at these levels written to `writer`, in `format` or else in the usual one.
    #[must_use]
    pub fn start(levels: Levels, format: Option<Format>, clock: fn() -> SystemTime, writer: BoxMakeWriter) -> Self {
        let (filter, handle) = reload::Layer::new(levels.targets());
        let lines = fmt::layer().with_writer(writer).with_ansi(false);
        let registry = tracing_subscriber::registry().with(filter);
        let started = match format {
            None => registry.with(lines.with_target(false)).try_init(),
            Some(format) => registry.with(lines.event_format(format::Formatter { format, clock })).try_init(),
        };
        // A process that has a log already keeps it.
        Self { levels: Mutex::new(levels), filter: started.is_ok().then_some(handle) }
    }

    /// The levels in force.
    #[must_use]
    pub fn levels(&self) -> Levels {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on these levels are in force.
    pub fn change(&self, levels: Levels) {
        let mut current = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = &self.filter {
            // Fails only when the log is gone, and with it what the levels are for.
            drop(filter.reload(levels.targets()));
        }
        *current = levels;
    }
}
