//! Access logs, typed.

use super::entry_log::EntryLog;
use super::log_filter::LogFilter;
use super::log_format::{LineFormat, Operator};

/// One access log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// Which streams it has something of.
    pub filter: LogFilter,
    /// What it has of them, and where that goes.
    pub form: LogForm,
}

/// What an access log has of streams.
#[derive(Clone, Debug)]
pub enum LogForm {
    /// Entries for a service.
    Entries(EntryLog),
    /// Lines.
    Lines {
        /// Where they go.
        to: LogPath,
        /// What a line says.
        format: LineFormat,
    },
}

/// Where lines go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogPath {
    /// A file of this path; reopened on SIGUSR1.
    File(String),
    /// `envoy.access_loggers.stderr`.
    Stderr,
    /// `envoy.access_loggers.stdout`.
    Stdout,
}

impl AccessLog {
    /// Writes the text that `said` has for an operator in its place, in all lines and entries the same.
    pub fn resolve(&mut self, said: &dyn Fn(&Operator) -> Option<String>) {
        match &mut self.form {
            LogForm::Entries(entries) => entries.resolve(said),
            LogForm::Lines { format, .. } => format.resolve(said),
        }
    }

    /// Does some operator of it do that?
    #[must_use]
    pub fn any(&self, is: fn(&Operator) -> bool) -> bool {
        match &self.form {
            LogForm::Entries(entries) => entries.any(&is),
            LogForm::Lines { format, .. } => format.any(&is),
        }
    }

    /// Does it show bytes on the wire, as every entry does?
    #[must_use]
    pub fn shows_wire_bytes(&self) -> bool {
        matches!(self.form, LogForm::Entries(_)) || self.any(Operator::is_wire_bytes)
    }

    /// Does it show the id of a stream, as every entry does?
    #[must_use]
    pub fn shows_stream_id(&self) -> bool {
        matches!(self.form, LogForm::Entries(_)) || self.any(Operator::is_stream_id)
    }

    /// Does it read the trailers of a response?
    #[must_use]
    pub fn reads_trailers(&self) -> bool {
        let by_form = match &self.form {
            LogForm::Entries(entries) => entries.reads_trailers(),
            LogForm::Lines { format, .. } => format.any(&Operator::reads_trailers),
        };
        by_form || self.filter.reads_trailers()
    }
}
