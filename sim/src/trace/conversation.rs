//! Connections, put together again from segments.
//!
//! A [`Conversation`] is one connection as the wire saw it: both byte streams, when each byte was first sent and when
//! it had arrived with everything before it, and what became of the connection.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::{Event, HostId, Loss, Trace};
use crate::segment::Segment;

/// A point in a run: when, and which event of the trace.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment {
    /// Virtual time since the run began.
    pub at: Duration,
    /// The index of the event in the trace, which orders what happens at one instant.
    pub event: usize,
}

/// What one TCP connection carried, in both directions.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The host that connected.
    pub client: HostId,
    /// The client's end.
    pub client_address: SocketAddr,
    /// The end it connected to.
    pub server_address: SocketAddr,
    /// Who was connected to, if the address belongs to a host that responded.
    pub server: Option<HostId>,
    /// From the client.
    pub from_client: Lane,
    /// From the server.
    pub from_server: Lane,
    /// The events that sent its segments.
    packets: Vec<usize>,
}

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// Every byte that was sent, once.
    pub bytes: Vec<u8>,
    /// Segments without payload that mean something.
    pub signals: Vec<Signal>,
    sent: Vec<(usize, Moment)>,
    arrived: Vec<(usize, Duration)>,
    first_byte: Option<u64>,
    /// Ranges that arrived before what precedes them.
    early: BTreeMap<usize, usize>,
}

/// What a segment carries besides its payload.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// SYN, FIN, RST or payload.
    pub kind: SignalKind,
    /// When it left.
    pub sent: Moment,
    /// When it arrived, if it did.
    pub arrived: Option<Duration>,
    /// Why it never will, if it was lost.
    pub lost: Option<Loss>,
    packet: u64,
}

/// The kinds of signals.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignalKind {
    /// No more bytes will come.
    Fin,
    /// So many bytes that nothing else reports, or an acknowledgement if there are none; shown only when lost.
    Plain(usize),
    /// Bytes that had been sent before.
    Retransmission(usize),
    /// The connection is gone.
    Rst,
    /// The connection begins.
    Syn,
    /// It is accepted. Not shown: what follows implies it.
    SynAck,
}

impl Conversation {
    /// The events that sent its segments, in order.
    pub(crate) fn packets(&self) -> &[usize] {
        &self.packets
    }
}

impl Lane {
    /// When the byte at `offset` was first sent.
    #[must_use]
    pub fn sent(&self, offset: usize) -> Option<Moment> {
        let nth = self.sent.partition_point(|(end, _)| *end <= offset);
        self.sent.get(nth).map(|(_, moment)| *moment)
    }

    /// When everything before `end` had arrived.
    #[must_use]
    pub fn arrived(&self, end: usize) -> Option<Duration> {
        let nth = self.arrived.partition_point(|(until, _)| *until < end);
        self.arrived.get(nth).map(|(_, at)| *at)
    }

    fn send(&mut self, segment: &Segment, sent: Moment, packet: u64) {
        let mut kinds = Vec::new();
        if segment.flags.syn {
            kinds.push(if segment.flags.ack { SignalKind::SynAck } else { SignalKind::Syn });
            self.first_byte = Some(segment.seq + 1);
        }
        let end = self.offset(segment).saturating_add(segment.payload.len());
        let new = end.saturating_sub(self.bytes.len());
        let fresh = segment.payload.len().checked_sub(new).and_then(|old| segment.payload.get(old..));
        match fresh {
            Some(fresh) if !fresh.is_empty() => {
                self.bytes.extend_from_slice(fresh);
                self.sent.push((self.bytes.len(), sent));
            }
            _ if !segment.payload.is_empty() => kinds.push(SignalKind::Retransmission(segment.payload.len())),
            _ => {}
        }
        if segment.flags.fin {
            kinds.push(SignalKind::Fin);
        }
        if segment.flags.rst {
            kinds.push(SignalKind::Rst);
        }
        self.signals.extend(kinds.into_iter().map(|kind| Signal { kind, sent, arrived: None, lost: None, packet }));
    }

    fn deliver(&mut self, segment: &Segment, at: Duration, packet: u64) {
        for signal in self.signals.iter_mut().filter(|signal| signal.packet == packet) {
            signal.arrived = Some(at);
        }
        let start = self.offset(segment);
        if segment.payload.is_empty() {
            return;
        }
        let until = self.arrived.last().map_or(0, |(until, _)| *until);
        self.early.insert(start, start + segment.payload.len());
        let mut now_until = until;
        while let Some(first) = self.early.first_entry()
            && *first.key() <= now_until
        {
            now_until = now_until.max(first.remove());
        }
        if now_until > until {
            self.arrived.push((now_until, at));
        }
    }

    fn lose(&mut self, segment: &Segment, moment: Moment, packet: u64, why: Loss) {
        let mut found = false;
        for signal in self.signals.iter_mut().filter(|signal| signal.packet == packet) {
            signal.lost = Some(why);
            found = true;
        }
        if !found {
            let kind = SignalKind::Plain(segment.payload.len());
            self.signals.push(Signal { kind, sent: moment, arrived: None, lost: Some(why), packet });
        }
    }

    /// Where in the byte stream a segment's payload starts.
    fn offset(&self, segment: &Segment) -> usize {
        let first = self.first_byte.unwrap_or(segment.seq);
        usize::try_from(segment.seq.saturating_sub(first)).unwrap_or(usize::MAX)
    }
}

/// All connections of a run, in the order in which they were opened.
pub(super) fn conversations(trace: &Trace) -> Vec<Conversation> {
    let mut reader = Reader::default();
    for (event, entry) in trace.entries().iter().enumerate() {
        let moment = Moment { at: entry.at, event };
        match &entry.event {
            Event::Sent { host, segment } => reader.sent(*host, segment, moment),
            Event::Delivered { host, packet } => reader.delivered(trace, *host, *packet, entry.at),
            Event::Dropped { packet, why } => reader.dropped(trace, *packet, *why, moment),
            // Of a segment that a gate cut, the first part arrives alone.
            Event::Cut { packet, bytes } => reader.cuts.entry(*packet).or_default().push_back(*bytes),
            Event::Account { .. }
            | Event::Delayed { .. }
            | Event::Held { .. }
            | Event::Host { .. }
            | Event::Log { .. }
            | Event::Note { .. }
            | Event::Socket { .. } => {}
        }
    }
    reader.found
}

/// Puts the segments of a trace together to connections.
#[derive(Default)]
struct Reader {
    found: Vec<Conversation>,
    /// The newest conversation between two endpoints, seen from either end: which, and whether the client sends.
    newest: BTreeMap<(SocketAddr, SocketAddr), (usize, bool)>,
    /// After how many bytes a gate cut a packet, once for each cut that has not arrived.
    cuts: BTreeMap<u64, VecDeque<u64>>,
}

impl Reader {
    fn sent(&mut self, host: HostId, segment: &Segment, moment: Moment) {
        let pair = (segment.from, segment.to);
        if segment.flags.syn && !segment.flags.ack && is_new(segment, self.newest.get(&pair), &self.found) {
            self.open(host, segment);
        }
        let whose = self.newest.get(&pair);
        if let Some(conversation) = whose.and_then(|(nth, _)| self.found.get_mut(*nth)) {
            conversation.packets.push(moment.event);
        }
        if let Some(lane) = lane(&mut self.found, whose) {
            lane.send(segment, moment, packet(moment.event));
        }
    }

    /// A SYN that opens a connection.
    fn open(&mut self, client: HostId, syn: &Segment) {
        self.newest.insert((syn.from, syn.to), (self.found.len(), true));
        self.newest.insert((syn.to, syn.from), (self.found.len(), false));
        let (from_client, from_server, packets) = Default::default();
        let (client_address, server_address, server) = (syn.from, syn.to, None);
        self.found.push(Conversation {
            client,
            client_address,
            server_address,
            server,
            from_client,
            from_server,
            packets,
        });
    }

    fn delivered(&mut self, trace: &Trace, host: HostId, packet: u64, at: Duration) {
        let Some(segment) = trace.segment(packet) else { return };
        let whose = self.newest.get(&(segment.from, segment.to));
        if let Some(&(nth, true)) = whose
            && let Some(conversation) = self.found.get_mut(nth)
        {
            conversation.server = Some(host);
        }
        let Some(lane) = lane(&mut self.found, whose) else { return };
        match self.cuts.get_mut(&packet).and_then(VecDeque::pop_front).and_then(|bytes| segment.cut(bytes)) {
            Some((first, _)) => lane.deliver(&first, at, packet),
            None => lane.deliver(segment, at, packet),
        }
    }

    fn dropped(&mut self, trace: &Trace, packet: u64, why: Loss, moment: Moment) {
        let Some(segment) = trace.segment(packet) else { return };
        if let Some(lane) = lane(&mut self.found, self.newest.get(&(segment.from, segment.to))) {
            lane.lose(segment, moment, packet, why);
        }
    }
}

/// Whether a SYN opens a connection, rather than repeating one that got lost.
fn is_new(syn: &Segment, newest: Option<&(usize, bool)>, found: &[Conversation]) -> bool {
    let Some(&(nth, true)) = newest else { return true };
    found.get(nth).is_none_or(|conversation| conversation.from_client.first_byte != Some(syn.seq + 1))
}

fn lane<'a>(found: &'a mut [Conversation], whose: Option<&(usize, bool)>) -> Option<&'a mut Lane> {
    let &(nth, is_client) = whose?;
    let conversation = found.get_mut(nth)?;
    Some(if is_client { &mut conversation.from_client } else { &mut conversation.from_server })
}

fn packet(event: usize) -> u64 {
    u64::try_from(event).unwrap_or(u64::MAX)
}
