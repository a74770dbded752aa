//! Access logs, typed.

use super::log_filter::LogFilter;
use super::log_format::LineFormat;

/// One access log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// Where lines go.
    pub to: LogPath,
    /// Which streams it has lines of.
    pub filter: LogFilter,
    /// What a line says.
    pub format: LineFormat,
}

/// Where an access log goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogPath {
    /// A file of this path; reopened on SIGUSR1.
    File(String),
    /// `envoy.access_loggers.stderr`.
    Stderr,
    /// `envoy.access_loggers.stdout`.
    Stdout,
}
