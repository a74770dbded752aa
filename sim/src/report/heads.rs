//! The heads of a run's messages, each on its way from hop to hop: `run --heads` prints them, and two runs are compared by them.

use std::fmt::Write;
use std::time::Duration;

use super::sequence::{Crossing, CrossingKind, Item, What, messages};
use crate::clock::Millis;
use crate::trace::{HostId, Trace};
use crate::words::printable;

/// Heads that are printed; a run with more of them is better read as JSON.
const HEADS_MAX: usize = 500;

/// A head that crossed the network.
pub(super) struct Head {
    pub(super) from: HostId,
    pub(super) to: Option<HostId>,
    connection: usize,
    at: Duration,
    /// The message in one line.
    pub(super) text: String,
    /// As they were sent; the first line of HTTP/1 has an empty name.
    pub(super) fields: Vec<(String, String)>,
}

/// Every head, in the order in which they were sent.
pub(super) fn heads(trace: &Trace) -> Vec<Head> {
    let of_item = |item: Item| match item.what {
        What::Crossing(Crossing { from, to, connection, text, fields, kind: CrossingKind::Message, .. })
            if !fields.is_empty() =>
        {
            Some(Head { from, to, connection, at: item.moment.at, text, fields })
        }
        What::Crossing(_) | What::Log { .. } | What::Note { .. } => None,
    };
    messages(trace).into_iter().filter_map(of_item).collect()
}

/// All of them as text: the message, and below it its fields.
#[must_use]
pub fn to_text(trace: &Trace) -> String {
    let mut text = String::new();
    let heads = heads(trace);
    for Head { from, to, connection, at, text: line, fields } in heads.iter().take(HEADS_MAX) {
        let to = to.map_or("nowhere", |to| trace.host(to));
        // Writing to a String cannot fail.
        let _infallible =
            writeln!(text, "{:>11}  {} -> {to}, connection {connection}: {line}", Millis(*at), trace.host(*from));
        for (name, value) in fields {
            let separator = if name.is_empty() { "" } else { ": " };
            let _infallible = writeln!(text, "{:>13}{name}{separator}{}", "", printable(value.clone()));
        }
    }
    if heads.len() > HEADS_MAX {
        let _infallible = writeln!(text, "{} more are left out here; --json has them", heads.len() - HEADS_MAX);
    }
    text
}
