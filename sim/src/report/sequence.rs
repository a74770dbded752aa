//! What crossed the network and what was noted about it, in order: what the story, the diagrams and the page show.
//!
//! There are two levels. [`messages`] has what a person means, HTTP messages, frames, SYN and FIN, with long transfers
//! summed up; [`segments`] has every segment.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::pcapng::fates;
use crate::segment::Segment;
use crate::trace::conversation::{Conversation, Lane, Moment, Signal, SignalKind};
use crate::trace::wire::{self, Meaning, Message};
use crate::trace::{Event, HostId, Loss, Trace};
use crate::words::{printable, size};

/// Pieces of a transfer farther apart than this are shown apart.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Bytes of one message, and of one segment, that are kept for looking at.
const BYTES_SHOWN_MAX: usize = 512;
const SEGMENT_BYTES_SHOWN_MAX: usize = 128; // there are many more of them

/// Something that happened, and when.
#[derive(Debug)]
pub struct Item {
    /// When, and in which order.
    pub moment: Moment,
    /// The event that the line shows.
    pub what: What,
}

/// The kinds of things that are shown.
#[derive(Debug)]
pub enum What {
    /// Something crossed the network.
    Crossing(Crossing),
    /// A program wrote to a log.
    Log {
        /// The host on which it happened.
        host: HostId,
        /// The line as printed.
        line: String,
    },
    /// An actor or the script did something.
    Note {
        /// The host on which it happened.
        host: HostId,
        /// As it is drawn.
        text: String,
    },
}

/// A message or a segment on its way.
#[derive(Debug)]
pub struct Crossing {
    /// The host that sent it.
    pub from: HostId,
    /// The receiver, if a host has the address.
    pub to: Option<HostId>,
    /// Of which connection, counted from 1 in the order in which they were opened.
    pub connection: usize,
    /// When all of it had arrived, if it did.
    pub arrived: Option<Duration>,
    /// Why it never did.
    pub lost: Option<Loss>,
    /// What it does to its connection or stream.
    pub kind: CrossingKind,
    /// What it is, in one line.
    pub text: String,
    /// Its head's fields, or a segment's.
    pub fields: Vec<(String, String)>,
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// How many bytes it has in all.
    pub size: usize,
    /// What faults and chance did to it.
    pub fates: Vec<String>,
}

/// What a crossing does to its connection or stream: how it is drawn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CrossingKind {
    /// Announces that the sender ends: FIN, GOAWAY.
    End,
    /// A message that carries payload.
    Message,
    /// Aborts: RST, RST_STREAM.
    Reset,
    /// SYN, or an acknowledgement alone.
    Signal,
}

impl CrossingKind {
    fn of_segment(segment: &Segment) -> Self {
        match segment.flags {
            flags if flags.rst => Self::Reset,
            flags if flags.fin => Self::End,
            flags if flags.syn || segment.payload.is_empty() => Self::Signal,
            _ => Self::Message,
        }
    }

    fn of_signal(kind: SignalKind) -> Self {
        match kind {
            SignalKind::Fin => Self::End,
            SignalKind::Rst => Self::Reset,
            SignalKind::Plain(_) | SignalKind::Retransmission(_) | SignalKind::Syn | SignalKind::SynAck => Self::Signal,
        }
    }

    fn of_message(meaning: &Meaning) -> Self {
        match meaning {
            Meaning::GoAway { .. } => Self::End,
            Meaning::Reset { .. } => Self::Reset,
            Meaning::Response { .. }
            | Meaning::Request { .. }
            | Meaning::Data { .. }
            | Meaning::Informational { .. }
            | Meaning::Other
            | Meaning::Ping { .. }
            | Meaning::Tls(_) => Self::Message,
        }
    }
}

/// The run in messages.
#[must_use]
pub fn messages(trace: &Trace) -> Vec<Item> {
    let mut items = remarks(trace);
    let fates = fates(trace);
    for (nth, conversation) in trace.conversations().iter().enumerate() {
        add_messages(trace, conversation, nth + 1, &fates, &mut items);
    }
    items.sort_by_key(|item| item.moment);
    items
}

/// The run in segments.
#[must_use]
pub fn segments(trace: &Trace) -> Vec<Item> {
    let mut items = remarks(trace);
    let fates = fates(trace);
    let mut arrivals: BTreeMap<u64, (HostId, Duration)> = BTreeMap::new();
    let mut losses: BTreeMap<u64, Loss> = BTreeMap::new();
    for entry in trace.entries() {
        match &entry.event {
            Event::Delivered { host, packet } => drop(arrivals.insert(*packet, (*host, entry.at))),
            Event::Dropped { packet, why } => drop(losses.insert(*packet, *why)),
            Event::Account { .. }
            | Event::Cut { .. }
            | Event::Delayed { .. }
            | Event::Held { .. }
            | Event::Host { .. }
            | Event::Log { .. }
            | Event::Note { .. }
            | Event::Sent { .. }
            | Event::Socket { .. } => {}
        }
    }
    let mut connections: BTreeMap<usize, usize> = BTreeMap::new();
    for (nth, conversation) in trace.conversations().iter().enumerate() {
        connections.extend(conversation.packets().iter().map(|event| (*event, nth + 1)));
    }
    for (number, (event, entry)) in (0..).zip(trace.entries().iter().enumerate()) {
        let Event::Sent { host, segment } = &entry.event else { continue };
        let arrival = arrivals.get(&number).copied();
        items.push(Item {
            moment: Moment { at: entry.at, event },
            what: What::Crossing(Crossing {
                from: *host,
                to: arrival.map(|(host, _)| host).or_else(|| trace.owner(segment.to.ip())),
                connection: connections.get(&event).copied().unwrap_or_default(),
                arrived: arrival.map(|(_, at)| at),
                lost: losses.get(&number).copied(),
                kind: CrossingKind::of_segment(segment),
                text: segment_text(segment),
                fields: segment_fields(segment),
                bytes: segment.payload.iter().take(SEGMENT_BYTES_SHOWN_MAX).copied().collect(),
                size: segment.payload.len(),
                fates: fates.get(&number).cloned().unwrap_or_default(),
            }),
        });
    }
    items.sort_by_key(|item| item.moment);
    items
}

/// Notes and log lines.
fn remarks(trace: &Trace) -> Vec<Item> {
    let mut items = Vec::new();
    for (event, entry) in trace.entries().iter().enumerate() {
        let what = match &entry.event {
            Event::Log { host, line, .. } => What::Log { host: *host, line: line.clone() },
            Event::Note { host, text } => What::Note { host: *host, text: printable(text.clone()) },
            Event::Account { .. }
            | Event::Cut { .. }
            | Event::Delayed { .. }
            | Event::Delivered { .. }
            | Event::Dropped { .. }
            | Event::Held { .. }
            | Event::Host { .. }
            | Event::Sent { .. }
            | Event::Socket { .. } => continue,
        };
        items.push(Item { moment: Moment { at: entry.at, event }, what });
    }
    items
}

fn segment_text(segment: &Segment) -> String {
    let flags = segment.flags.to_string();
    match segment.payload.len() {
        0 => flags,
        bytes => format!("{flags}, {}", size(bytes)),
    }
}

fn segment_fields(segment: &Segment) -> Vec<(String, String)> {
    let fields = [
        ("from", segment.from.to_string()),
        ("to", segment.to.to_string()),
        ("sequence", segment.seq.to_string()),
        ("acknowledges", segment.ack.to_string()),
        ("window", segment.window.to_string()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn add_messages(
    trace: &Trace,
    conversation: &Conversation,
    connection: usize,
    fates: &BTreeMap<u64, Vec<String>>,
    items: &mut Vec<Item>,
) {
    let messages = wire::messages(conversation, trace.secrets());
    let (client, server) = (Some(conversation.client), conversation.server);
    let lanes = [
        (client, server, &conversation.from_client, messages.from_client),
        (server, client, &conversation.from_server, messages.from_server),
    ];
    for (from, to, lane, messages) in lanes {
        let Some(from) = from else { continue };
        let of_signals = lane.signals.iter().filter_map(MessageLine::of_signal);
        for line in of_signals.chain(sum_up(lane, fold(lane, messages))) {
            let MessageLine { sent, arrived, lost, kind, text, fields, bytes } = line;
            let packet = u64::try_from(sent.event).unwrap_or(u64::MAX);
            let (size, all) = (bytes.len(), lane.bytes.get(bytes).unwrap_or_default());
            let bytes = all.iter().take(BYTES_SHOWN_MAX).copied().collect();
            let fates = fates.get(&packet).cloned().unwrap_or_default();
            let text = printable(text);
            let crossing = Crossing { from, to, connection, arrived, lost, kind, text, fields, bytes, size, fates };
            items.push(Item { moment: sent, what: What::Crossing(crossing) });
        }
    }
}

/// A signal in words, if it is worth a line.
fn signal_text(signal: &Signal) -> Option<String> {
    let text = match signal.kind {
        SignalKind::Fin => "FIN".into(),
        SignalKind::Plain(0) => "acknowledgement".into(),
        SignalKind::Plain(bytes) => size(bytes),
        SignalKind::Retransmission(bytes) => format!("again, {}", size(bytes)),
        SignalKind::Rst => "RST".into(),
        SignalKind::Syn => "SYN".into(),
        SignalKind::SynAck if signal.lost.is_none() => return None, // what follows implies it
        SignalKind::SynAck => "SYN-ACK".into(),
    };
    Some(match signal.lost {
        None => text,
        Some(Loss::Chance) => format!("{text}, lost"),
        Some(Loss::Fault) => format!("{text}, swallowed"),
        Some(Loss::NoHost) => format!("{text}, to an address of no host"),
        Some(Loss::NoPower) => format!("{text}, to a host without power"),
    })
}

/// A message or several alike, with their times.
struct MessageLine {
    sent: Moment,
    arrived: Option<Duration>,
    lost: Option<Loss>,
    kind: CrossingKind,
    text: String,
    fields: Vec<(String, String)>,
    /// In the lane.
    bytes: Range<usize>,
}

impl MessageLine {
    fn of_signal(signal: &Signal) -> Option<Self> {
        let text = signal_text(signal)?;
        let Signal { sent, arrived, lost, .. } = *signal;
        let kind = CrossingKind::of_signal(signal.kind);
        Some(Self { sent, arrived, lost, kind, text, fields: Vec::new(), bytes: 0..0 })
    }
}

/// So many messages alike are a flood, and not worth a line each.
const FLOOD_MIN: usize = 32;

/// A transfer under way.
struct Transfer {
    of: String,
    /// The index of its line.
    line: usize,
    pieces: usize,
    amount: usize,
    last: Duration,
}

/// Makes one of messages without a head that are sent again and again, one behind the other, as long as they flow.
fn fold(lane: &Lane, messages: Vec<Message>) -> Vec<Message> {
    let mut folded = Vec::new();
    let arrived = |message: &Message| lane.arrived(message.bytes.end);
    let is_repeated = |one: &Message, next: &Message| {
        let is_alike = one.bulk.is_none() && one.fields.is_empty() && next.fields.is_empty() && one.text == next.text;
        let flows = match (arrived(one), arrived(next)) {
            (Some(one), Some(next)) => next.saturating_sub(one) < PAUSE_MAX,
            (one, next) => one == next,
        };
        is_alike && flows
    };
    for run in messages.chunk_by(is_repeated) {
        match run {
            [first, .., last] if run.len() >= FLOOD_MIN => {
                let text = format!("{}, {} times", first.text, run.len());
                folded.push(Message { bytes: first.bytes.start..last.bytes.end, text, ..first.clone() });
            }
            _ => folded.extend_from_slice(run),
        }
    }
    folded
}

/// Puts times to messages, and makes one line of what belongs to one transfer.
fn sum_up(lane: &Lane, messages: Vec<Message>) -> Vec<MessageLine> {
    let mut lines: Vec<MessageLine> = Vec::new();
    let mut transfers: Vec<Transfer> = Vec::new();
    for Message { bytes, text, bulk, fields, meaning } in messages {
        let Some(sent) = lane.sent(bytes.start) else { continue };
        let arrived = lane.arrived(bytes.end);
        let kind = CrossingKind::of_message(&meaning);
        let message = MessageLine { sent, arrived, lost: None, kind, text, fields, bytes };
        let Some(bulk) = bulk else {
            transfers.clear(); // another message came in between
            lines.push(message);
            continue;
        };
        let under_way = transfers
            .iter_mut()
            .find(|transfer| transfer.of == bulk.of && sent.at.saturating_sub(transfer.last) < PAUSE_MAX);
        if let Some(transfer) = under_way
            && let Some(line) = lines.get_mut(transfer.line)
        {
            transfer.pieces += 1;
            transfer.amount += bulk.amount;
            transfer.last = sent.at;
            let amount = size(transfer.amount);
            line.text = format!("{}, {} times, {amount} in all", transfer.of, transfer.pieces);
            line.arrived = arrived;
            line.bytes.end = message.bytes.end;
            continue;
        }
        transfers.retain(|transfer| transfer.of != bulk.of);
        if !bulk.is_large() {
            lines.push(message);
            continue;
        }
        transfers.push(Transfer { of: bulk.of, line: lines.len(), pieces: 1, amount: bulk.amount, last: sent.at });
        lines.push(message);
    }
    lines
}
