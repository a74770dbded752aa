//! A run as a person would tell it: the text under `golden/`.
//!
//! [`Timeline`] lists what crossed the network, one message a line, in the order in which it was sent. Nothing is left
//! out but acknowledgements, and long transfers are summed up.

use std::fmt;
use std::time::Duration;

use super::sequence::{Crossing, Item, What, messages};
use super::{Event, Trace};
use crate::scenario::SCRIPT_HOST;

/// What happened, in order.
#[derive(Debug)]
pub struct Timeline<'a> {
    trace: &'a Trace,
    items: Vec<Item>,
}

impl<'a> Timeline<'a> {
    /// Reads a trace.
    #[must_use]
    pub fn new(trace: &'a Trace) -> Self {
        Self { trace, items: messages(trace) }
    }

    /// The access-log lines, in order: when, on which host, what.
    #[must_use]
    pub fn log(trace: &'a Trace) -> Vec<(Duration, &'a str, &'a str)> {
        let logged = |entry: &'a super::Entry| {
            let Event::Log { host, line, .. } = &entry.event else { return None };
            Some((entry.at, trace.host(*host), line.as_str()))
        };
        trace.entries().iter().filter_map(logged).collect()
    }
}

impl fmt::Display for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.trace.hosts().iter().map(String::len).max().unwrap_or_default();
        writeln!(f, "{:>12} {:>12}", "sent", "arrived")?;
        for Item { moment, what } in &self.items {
            match what {
                What::Log { .. } => {} // the story has them in a part of their own
                What::Note { host, text } => {
                    write!(f, "{:>12} {:>12}    * ", Millis(moment.at), "")?;
                    match self.trace.host(*host) {
                        SCRIPT_HOST => writeln!(f, "{text}")?,
                        name => writeln!(f, "{name}: {text}")?,
                    }
                }
                What::Crossing(Crossing { from, to, connection, arrived, text, .. }) => {
                    let arrived = arrived.map_or_else(|| "never".into(), |at| Millis(at).to_string());
                    let (from, to) = (self.trace.host(*from), to.map_or("nowhere", |to| self.trace.host(to)));
                    write!(f, "{:>12} {arrived:>12}  {connection:>3} ", Millis(moment.at))?;
                    writeln!(f, "{from:>width$} -> {to:width$}  {text}")?;
                }
            }
        }
        Ok(())
    }
}

/// A time in milliseconds, to the microsecond.
pub(crate) struct Millis(pub(crate) Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        f.pad(&format!("{}.{:03}", micros / 1_000, micros % 1_000))
    }
}
