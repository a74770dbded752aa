//! A run as a person would tell it: the text under `golden/`.
//!
//! [`Timeline`] lists what crossed the network, one message a line, in the order in which it was sent. Nothing is left
//! out but acknowledgements; long transfers are summed up, and so are rounds of a `repeat` that went like the one before.

use std::fmt;

use super::rounds::shown;
use super::sequence::{Crossing, Item, What, messages};
use crate::clock::Millis;
use crate::columns;
use crate::trace::Trace;
use crate::words::SCRIPT_HOST;

/// Lines of a story's timeline.
pub(crate) const LINES_MAX: usize = 3_000;

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
        Self { trace, items: shown(trace, messages(trace), LINES_MAX) }
    }
}

impl fmt::Display for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = columns::width(self.trace.hosts().iter().map(String::as_str));
        writeln!(f, "{:>12} {:>12}", "sent", "arrived")?;
        for item in &self.items {
            self.line(f, item, width)?;
        }
        Ok(())
    }
}

impl Timeline<'_> {
    fn line(&self, f: &mut fmt::Formatter<'_>, item: &Item, width: usize) -> fmt::Result {
        match &item.what {
            What::Log { .. } => Ok(()), // the story has them in a part of their own
            What::Note { host, text } => {
                write!(f, "{:>12} {:>12}    * ", Millis(item.moment.at), "")?;
                match self.trace.host(*host) {
                    SCRIPT_HOST => writeln!(f, "{text}"),
                    name => writeln!(f, "{name}: {text}"),
                }
            }
            What::Crossing(Crossing { from, to, connection, arrived, text, .. }) => {
                let arrived = arrived.map_or_else(|| "never".into(), |at| Millis(at).to_string());
                let (from, to) = (self.trace.host(*from), to.map_or("nowhere", |to| self.trace.host(to)));
                write!(f, "{:>12} {arrived:>12}  {connection:>3} ", Millis(item.moment.at))?;
                writeln!(f, "{from:>width$} -> {to:width$}  {text}")
            }
        }
    }
}
