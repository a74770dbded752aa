//! The simulated kernel of one host: sockets, ports, and which segment belongs to whom.
//!
//! Linux's TCP as far as programs and captures can see: handshakes with a backlog, windows, retransmission
//! by time, half-closes, and a reset wherever Linux sends one. `tests/linux_parity.rs` compares it with the
//! real thing.
//!
//! A [`Kernel`] does not act by itself. The world hands it segments and the time, programs call it through
//! [`seam`](crate::world), and it puts segments into its outbox. Programs learn of what happened at
//! [`Kernel::turn`] only.

mod calls;
pub mod link;
mod listener;
mod readiness;
mod receive;
mod retransmit;
mod send;
mod tcp;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use crate::segment::Segment;
use crate::trace::{Change, Event, HostId, SharedTrace};
use listener::Listener;
pub use tcp::State;
use tcp::{Failure, Owner, SegmentOutput, TcpSocket};

/// One socket of one host; never used twice.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct SocketId(u64);

/// A socket that exists, as `ss` would list it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenSocket {
    /// The host it is on.
    pub host: HostId,
    /// Its own address.
    pub local: SocketAddr,
    /// The other end; none for a listener.
    pub peer: Option<SocketAddr>,
    /// Its state; none for a listener.
    pub state: Option<State>,
    /// Whether a program holds it. The kernel finishes the others alone.
    pub held: bool,
}

impl fmt::Display for OpenSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.peer, self.state) {
            (Some(peer), Some(state)) => write!(f, "{} -> {peer} {state}", self.local)?,
            (_, _) => write!(f, "{} LISTEN", self.local)?,
        }
        if !self.held {
            f.write_str(" (kernel only)")?;
        }
        Ok(())
    }
}

/// The sockets of one host.
pub struct Kernel {
    host: HostId,
    addresses: Vec<IpAddr>,
    now: Duration,
    sockets: BTreeMap<SocketId, TcpSocket>,
    listeners: BTreeMap<SocketId, Listener>,
    by_addresses: BTreeMap<(SocketAddr, SocketAddr), SocketId>,
    /// One entry per socket with a deadline, at that time or before it.
    timers: BTreeSet<(Duration, SocketId)>,
    /// Sockets whose application must be notified at the next turn.
    news: Vec<SocketId>,
    /// Sockets that owe an acknowledgement.
    acks_due: Vec<SocketId>,
    outbox: Vec<Segment>,
    /// Packet numbers of the outbox, given by the trace.
    posted: Vec<(u64, Segment)>,
    next_id: u64,
    next_port: u16,
    iss_base: u64,
    /// The port that connections for addresses of others reach, if it takes any.
    redirect: Option<u16>,
    trace: SharedTrace,
}

impl Kernel {
    /// A host's kernel without sockets. `iss_base` makes its sequence numbers its own.
    pub(crate) fn new(host: HostId, addresses: Vec<IpAddr>, iss_base: u32, trace: SharedTrace) -> Self {
        Self {
            host,
            addresses,
            now: Duration::ZERO,
            sockets: BTreeMap::new(),
            listeners: BTreeMap::new(),
            by_addresses: BTreeMap::new(),
            timers: BTreeSet::new(),
            news: Vec::new(),
            acks_due: Vec::new(),
            outbox: Vec::new(),
            posted: Vec::new(),
            next_id: 0,
            next_port: *calls::PORTS_EPHEMERAL.start(),
            iss_base: u64::from(iss_base),
            redirect: None,
            trace,
        }
    }

    // What the world does to it.

    /// It is `now`: what programs do from here on happens at this time.
    pub(crate) fn set_time(&mut self, now: Duration) {
        self.now = now;
    }

    /// It is `now`: timers that are due act.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.now = now;
        while let Some(&(due, id)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            self.with(id, |socket, output| {
                socket.armed = None;
                if socket.next_deadline().is_some_and(|deadline| deadline <= now) {
                    socket.on_timer(output);
                }
            });
        }
    }

    /// When [`Kernel::advance`] may have something to do.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// A segment has arrived.
    pub(crate) fn deliver(&mut self, segment: &Segment) {
        if let Some(&id) = self.by_addresses.get(&(segment.to, segment.from)) {
            let state = self.sockets.get(&id).map(|socket| socket.state);
            let opens = segment.flags.syn && !segment.flags.ack;
            match state {
                // RFC 9293 3.10.7.4: a new connection may take over what TIME_WAIT keeps.
                Some(State::TimeWait) if opens => {
                    self.with(id, |socket, _| socket.enter_closed());
                }
                Some(State::SynReceived) if !segment.flags.rst && !self.may_complete(id) => {
                    self.record(segment.to, segment.from, Change::BacklogFull);
                    return;
                }
                Some(_) | None => {
                    self.with(id, |socket, output| socket.on_segment(segment, output));
                    return;
                }
            }
        }
        let here = self.redirected(segment.to).unwrap_or(segment.to);
        match self.listener_for(here, segment) {
            Some(id) if segment.flags.syn && !segment.flags.ack && !segment.flags.rst => self.on_syn(id, segment),
            Some(_) | None => {
                self.outbox.extend(segment.refusal());
                self.post();
            }
        }
    }

    /// The listener at `here`. Of several that share a port, each gets the connections whose addresses have its hash, as
    /// in Linux: which is chance, and the same in every run of a seed.
    fn listener_for(&self, here: SocketAddr, segment: &Segment) -> Option<SocketId> {
        let those = || self.listeners.iter().filter(|(_, listener)| listener.serves(here)).map(|(id, _)| *id);
        let share = listener::share_of(self.iss_base, segment.from, segment.to, those().count());
        those().nth(share)
    }

    /// With a full backlog Linux drops the last ACK of a handshake; the SYN-ACK is sent again until there is room.
    fn may_complete(&self, id: SocketId) -> bool {
        let Some(Owner::Backlog(listener)) = self.sockets.get(&id).map(|socket| socket.owner) else { return true };
        self.listeners.get(&listener).is_none_or(Listener::has_room)
    }

    fn on_syn(&mut self, listener_id: SocketId, segment: &Segment) {
        let Some(listener) = self.listeners.get_mut(&listener_id) else { return };
        if !listener.accepts_syn() {
            self.record(segment.to, segment.from, Change::BacklogFull);
            return;
        }
        listener.half_open += 1;
        let iss = self.initial_sequence();
        let mut output = SegmentOutput { now: self.now, out: &mut self.outbox };
        let socket = TcpSocket::accept_syn(segment, listener_id, iss, &mut output);
        self.insert(socket);
    }

    /// Sends the acknowledgements that nothing else has carried, and hands over what is to be sent.
    pub(crate) fn collect(&mut self) -> Vec<(u64, Segment)> {
        for id in std::mem::take(&mut self.acks_due) {
            self.with(id, TcpSocket::send_due_ack);
        }
        std::mem::take(&mut self.posted)
    }

    /// Whether a turn would notify a program.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// The driver's turn: programs are notified of what has happened. The caller wakes them, without the kernel's lock.
    pub(crate) fn turn(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        for id in std::mem::take(&mut self.news) {
            if let Some(socket) = self.sockets.get_mut(&id) {
                socket.news = false;
                let truth = socket.truth();
                socket.readiness.turn(truth, &mut woken);
            } else if let Some(listener) = self.listeners.get_mut(&id) {
                listener.readiness.turn(!listener.ready.is_empty(), false, &mut woken);
            }
        }
        woken
    }

    /// The machine loses power: every socket is gone, and no segment is sent.
    pub(crate) fn power_off(&mut self) {
        self.sockets.clear();
        self.listeners.clear();
        self.by_addresses.clear();
        self.timers.clear();
        self.news.clear();
        self.acks_due.clear();
        self.posted.clear();
    }

    /// No connection has anything left to do by itself, apart from being forgotten.
    pub(crate) fn is_quiet(&self) -> bool {
        self.news.is_empty() && !self.sockets.values().any(TcpSocket::is_busy)
    }

    /// Every socket, listeners first.
    pub(crate) fn open_sockets(&self) -> Vec<OpenSocket> {
        let host = self.host;
        let listeners = self.listeners.values().map(|listener| OpenSocket {
            host,
            local: listener.at,
            peer: None,
            state: None,
            held: true,
        });
        let sockets = self.sockets.values().map(|socket| OpenSocket {
            host,
            local: socket.local,
            peer: Some(socket.peer),
            state: Some(socket.state),
            held: socket.owner == Owner::Application,
        });
        listeners.chain(sockets).collect()
    }

    // Inside.

    /// Lets `act` work on a socket, then does what follows from the change.
    fn with<R>(&mut self, id: SocketId, act: impl FnOnce(&mut TcpSocket, &mut SegmentOutput<'_>) -> R) -> Option<R> {
        let socket = self.sockets.get_mut(&id)?;
        let before = (socket.state, socket.owner, socket.news);
        let mut output = SegmentOutput { now: self.now, out: &mut self.outbox };
        let result = act(socket, &mut output);
        self.settle(id, before);
        Some(result)
    }

    fn insert(&mut self, socket: TcpSocket) -> SocketId {
        let id = self.new_id();
        self.by_addresses.insert((socket.local, socket.peer), id);
        let before = (socket.state, socket.owner, socket.news);
        self.sockets.insert(id, socket);
        self.settle(id, before);
        id
    }

    fn settle(&mut self, id: SocketId, (state, owner, news): (State, Owner, bool)) {
        self.post();
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        // An entry that comes too early is put off when it is due; most deadlines move before that.
        if let Some(deadline) = socket.next_deadline()
            && socket.armed.is_none_or(|armed| deadline < armed)
        {
            if let Some(armed) = socket.armed.replace(deadline) {
                self.timers.remove(&(armed, id));
            }
            self.timers.insert((deadline, id));
        }
        if socket.news && !news {
            self.news.push(id);
        }
        if socket.ack_due() {
            self.acks_due.push(id);
        }
        let (local, peer, failure) = (socket.local, socket.peer, socket.failure.take());
        let became = socket.state;
        let finished = became == State::Closed && socket.owner == Owner::Orphaned;
        if became == State::Closed {
            self.forget_addresses(id, local, peer);
        }
        match failure {
            Some(Failure::Refused) => self.record(local, peer, Change::Refused),
            Some(Failure::Reset) => self.record(local, peer, Change::Reset),
            Some(Failure::TimedOut) => self.record(local, peer, Change::TimedOut),
            None => {}
        }
        if matches!(state, State::SynSent | State::SynReceived) && became != state {
            self.leave_handshake(id, owner, became);
        }
        if finished {
            self.remove(id);
        }
    }

    fn leave_handshake(&mut self, id: SocketId, owner: Owner, became: State) {
        let Some(socket) = self.sockets.get(&id) else { return };
        let (local, peer) = (socket.local, socket.peer);
        let open = !matches!(became, State::Closed | State::SynReceived);
        if open {
            self.record(local, peer, Change::Opened);
        }
        let Owner::Backlog(listener_id) = owner else { return };
        let Some(listener) = self.listeners.get_mut(&listener_id) else { return };
        listener.half_open = listener.half_open.saturating_sub(1);
        if open {
            listener.ready.push_back(id);
            self.news.push(listener_id);
        } else {
            self.remove(id);
        }
    }

    fn remove(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.remove(&id) {
            self.forget_addresses(id, socket.local, socket.peer);
        }
    }

    /// A connection that has ended leaves its addresses to the next, even while a program still holds it.
    fn forget_addresses(&mut self, id: SocketId, local: SocketAddr, peer: SocketAddr) {
        if self.by_addresses.get(&(local, peer)) == Some(&id) {
            self.by_addresses.remove(&(local, peer));
        }
    }

    /// Puts what the sockets sent on record, in order, and makes it ready for collection.
    fn post(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        let host = self.host;
        let now = self.now;
        let mut trace = self.trace.lock();
        for segment in self.outbox.drain(..) {
            let number = trace.sent(now, host, &segment);
            self.posted.push((number, segment));
        }
    }

    fn record(&self, local: SocketAddr, peer: SocketAddr, change: Change) {
        self.trace.lock().push(self.now, Event::Socket { host: self.host, local, peer, change });
    }

    /// RFC 9293 3.4.1: a clock of 4 microseconds and a part of the host's own, so that a new connection begins
    /// beyond an old one between the same addresses.
    fn initial_sequence(&self) -> u64 {
        self.iss_base + u64::try_from(self.now.as_micros() / 4).unwrap_or(0)
    }

    fn new_id(&mut self) -> SocketId {
        self.next_id += 1;
        SocketId(self.next_id)
    }
}
