//! A run as a person would tell it: the text under `golden/`.
//!
//! [`Timeline`] lists what crossed the network, one message a line, in the order in which it was sent. Nothing is left
//! out but acknowledgements, and long transfers are summed up.

use std::fmt;
use std::time::Duration;

use super::conversation::{Conversation, Lane, Moment, Signal, SignalKind, conversations};
use super::wire::{self, Message};
use super::{Event, HostId, Loss, Trace};
use crate::scenario::SCRIPT_HOST;

/// Pieces of a transfer farther apart than this are told apart.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// One line of the timeline.
#[derive(Debug)]
enum Line {
    /// Something crossed the network.
    Crossing { from: HostId, to: Option<HostId>, connection: usize, arrived: Option<Duration>, text: String },
    /// Somebody did something.
    Note { host: HostId, text: String },
}

/// What happened, in order.
#[derive(Debug)]
pub struct Timeline<'a> {
    trace: &'a Trace,
    lines: Vec<(Moment, Line)>,
}

impl<'a> Timeline<'a> {
    /// Reads a trace.
    #[must_use]
    pub fn new(trace: &'a Trace) -> Self {
        let mut lines = Vec::new();
        for (event, entry) in trace.entries().iter().enumerate() {
            if let Event::Note { host, text } = &entry.event {
                lines.push((Moment { at: entry.at, event }, Line::Note { host: *host, text: text.clone() }));
            }
        }
        for (nth, conversation) in conversations(trace).iter().enumerate() {
            tell(conversation, nth + 1, &mut lines);
        }
        lines.sort_by_key(|(moment, _)| *moment);
        Self { trace, lines }
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

fn tell(conversation: &Conversation, connection: usize, lines: &mut Vec<(Moment, Line)>) {
    let messages = wire::read(&conversation.from_client.bytes, &conversation.from_server.bytes);
    let (client, server) = (Some(conversation.client), conversation.server);
    let lanes = [
        (client, server, &conversation.from_client, messages.from_client),
        (server, client, &conversation.from_server, messages.from_server),
    ];
    for (from, to, lane, messages) in lanes {
        let Some(from) = from else { continue };
        let mut push = |sent, arrived, text| lines.push((sent, Line::Crossing { from, to, connection, arrived, text }));
        for signal in &lane.signals {
            if let Some(text) = signal_text(signal) {
                push(signal.sent, signal.arrived, text);
            }
        }
        for Told { sent, arrived, text } in sum_up(lane, messages) {
            push(sent, arrived, text);
        }
    }
}

fn signal_text(signal: &Signal) -> Option<String> {
    let text = match signal.kind {
        SignalKind::Fin => "FIN".into(),
        SignalKind::Plain(0) => "acknowledgement".into(),
        SignalKind::Plain(bytes) => wire::size(bytes),
        SignalKind::Retransmission(bytes) => format!("again, {}", wire::size(bytes)),
        SignalKind::Rst => "RST".into(),
        SignalKind::Syn => "SYN".into(),
        SignalKind::SynAck if signal.lost.is_none() => return None, // what follows tells it
        SignalKind::SynAck => "SYN-ACK".into(),
    };
    Some(match signal.lost {
        None => text,
        Some(Loss::Chance) => format!("{text}, lost"),
        Some(Loss::Fault) => format!("{text}, swallowed"),
        Some(Loss::NoHost) => format!("{text}, to an address of nobody"),
        Some(Loss::NoPower) => format!("{text}, to a host without power"),
    })
}

/// A message or several alike, with their times.
struct Told {
    sent: Moment,
    arrived: Option<Duration>,
    text: String,
}

/// A transfer under way.
struct Transfer {
    of: String,
    /// Its line.
    line: usize,
    pieces: usize,
    amount: usize,
    last: Duration,
}

/// Puts times to messages, and makes one line of what belongs to one transfer.
fn sum_up(lane: &Lane, messages: Vec<Message>) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut transfers: Vec<Transfer> = Vec::new();
    for Message { bytes, text, bulk } in messages {
        let Some(sent) = lane.sent(bytes.start) else { continue };
        let arrived = lane.arrived(bytes.end);
        let Some(bulk) = bulk else {
            transfers.clear(); // something was said in between
            told.push(Told { sent, arrived, text });
            continue;
        };
        let under_way = transfers
            .iter_mut()
            .find(|transfer| transfer.of == bulk.of && sent.at.saturating_sub(transfer.last) < PAUSE_MAX);
        if let Some(transfer) = under_way
            && let Some(line) = told.get_mut(transfer.line)
        {
            transfer.pieces += 1;
            transfer.amount += bulk.amount;
            transfer.last = sent.at;
            let amount = wire::size(transfer.amount);
            line.text = format!("{}, {} times, {amount} in all", transfer.of, transfer.pieces);
            line.arrived = arrived;
            continue;
        }
        transfers.retain(|transfer| transfer.of != bulk.of);
        if !bulk.is_large() {
            told.push(Told { sent, arrived, text });
            continue;
        }
        transfers.push(Transfer { of: bulk.of, line: told.len(), pieces: 1, amount: bulk.amount, last: sent.at });
        told.push(Told { sent, arrived, text });
    }
    told
}

impl fmt::Display for Timeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.trace.hosts().iter().map(String::len).max().unwrap_or_default();
        writeln!(f, "{:>12} {:>12}", "sent", "arrived")?;
        for (moment, line) in &self.lines {
            write!(f, "{:>12} ", Millis(moment.at))?;
            match line {
                Line::Note { host, text } => match self.trace.host(*host) {
                    SCRIPT_HOST => writeln!(f, "{:>12}    * {text}", "")?,
                    name => writeln!(f, "{:>12}    * {name}: {text}", "")?,
                },
                Line::Crossing { from, to, connection, arrived, text } => {
                    let arrived = arrived.map_or_else(|| "never".into(), |at| Millis(at).to_string());
                    let (from, to) = (self.trace.host(*from), to.map_or("nowhere", |to| self.trace.host(to)));
                    writeln!(f, "{arrived:>12}  {connection:>3} {from:>width$} -> {to:width$}  {text}")?;
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
