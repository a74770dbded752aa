//! A run as a person would tell it: the text under `golden/`.
//!
//! [`Timeline`] lists what crossed the network, one message a line, in the order in which it was sent. Nothing is left
//! out but acknowledgements; long transfers are summed up, and so are rounds of a `repeat` that went like the one before.

use std::fmt;
use std::time::Duration;

use super::sequence::{Crossing, Item, What, messages};
use crate::clock::Millis;
use crate::columns;
use crate::trace::Trace;
use crate::words::{SCRIPT_HOST, round_of};

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
}

impl fmt::Display for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = columns::width(self.trace.hosts().iter().map(String::as_str));
        writeln!(f, "{:>12} {:>12}", "sent", "arrived")?;
        for stretch in self.stretches() {
            match stretch {
                Stretch::Alike { first, last, from } => {
                    write!(f, "{:>12} {:>12}    * ", Millis(from), "")?;
                    match last.saturating_sub(first) {
                        0 => writeln!(f, "round {first} goes like this one")?,
                        _ => writeln!(f, "rounds {first} to {last} go like this one")?,
                    }
                }
                Stretch::MessageLine(items) => {
                    for item in items {
                        self.line(f, item, width)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Some of the items.
enum Stretch<'a> {
    /// Rounds of a `repeat` in which the same happens as in the one before.
    Alike { first: u32, last: u32, from: Duration },
    /// One after the other.
    MessageLine(&'a [Item]),
}

impl Timeline<'_> {
    /// The items, with rounds that are alike in one. The last round is shown in any case: what follows the rounds is not to be
    /// confused with it.
    fn stretches(&self) -> Vec<Stretch<'_>> {
        let mut stretches = Vec::new();
        let mut before: Option<Vec<String>> = None;
        let mut rounds = self.items.chunk_by(|_, next| self.round(next).is_none()).peekable();
        while let Some(items) = rounds.next() {
            let number = items.first().and_then(|item| Some((self.round(item)?, item.moment.at)));
            let is_last = rounds.peek().and_then(|next| self.round(next.first()?)).is_none_or(|next| next == 1);
            let words = number.map(|_| items.iter().skip(1).map(|item| self.words(item)).collect::<Vec<_>>());
            match number {
                Some((number, from)) if !is_last && words == before => match stretches.last_mut() {
                    Some(Stretch::Alike { last, .. }) => *last = number,
                    _ => stretches.push(Stretch::Alike { first: number, last: number, from }),
                },
                _ => stretches.push(Stretch::MessageLine(items)),
            }
            before = words;
        }
        stretches
    }

    /// The number of the round that begins with this item.
    fn round(&self, item: &Item) -> Option<u32> {
        match &item.what {
            What::Note { host, text } if self.trace.host(*host) == SCRIPT_HOST => round_of(text),
            What::Crossing(_) | What::Log { .. } | What::Note { .. } => None,
        }
    }

    /// The text of an item, without times and numbers that are others in each round.
    fn words(&self, item: &Item) -> String {
        match &item.what {
            What::Crossing(Crossing { from, to, arrived, text, .. }) => {
                format!("{from:?} {to:?} {} {}", arrived.is_some(), without_numbers(text))
            }
            What::Log { host, line } => format!("{host:?} {}", without_numbers(line)),
            What::Note { host, text } => format!("{host:?} {}", without_numbers(text)),
        }
    }

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

/// A text without the numbers that count: of streams and connections, and of milliseconds.
pub(crate) fn without_numbers(text: &str) -> String {
    let mut words: Vec<&str> = text.split(' ').collect();
    for place in 0..words.len() {
        let next = words.get(place + 1).copied().unwrap_or_default();
        let before = place.checked_sub(1).and_then(|at| words.get(at)).copied().unwrap_or_default();
        let counts = ["connection", "on", "stream"].contains(&before) || next.starts_with("ms");
        if let Some(word) = words.get_mut(place).filter(|word| counts && word.starts_with(|c: char| c.is_ascii_digit()))
        {
            *word = "#";
        }
    }
    words.join(" ")
}
