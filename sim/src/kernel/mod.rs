//! The simulated kernel of one host: sockets, ports, and which segment belongs to whom.
//!
//! Linux's TCP as far as programs and captures can tell: handshakes with a backlog, windows, retransmission
//! by time, half-closes, and a reset wherever Linux sends one. `tests/linux_parity.rs` compares it with the
//! real thing.
//!
//! A [`Kernel`] does not act by itself. The world hands it segments and the time, programs call it through
//! [`seam`](crate::world), and it puts segments into its outbox. Programs learn of what happened at
//! [`Kernel::turn`] only.

pub mod link;
mod listener;
mod readiness;
mod receive;
mod retransmit;
pub mod segment;
mod send;
mod tcp;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;

use crate::trace::{Change, Event, HostId, SharedTrace};
use listener::Listener;
use readiness::Readiness;
use segment::Segment;
pub use tcp::State;
use tcp::{Failure, Owner, TcpSocket, Wire};

/// Ports that the kernel chooses from: Linux's ip_local_port_range.
const PORTS_EPHEMERAL: std::ops::RangeInclusive<u16> = 32768..=60999;

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
    /// At least every deadline; an entry whose socket has moved its deadline is skipped when it comes up.
    timers: BTreeSet<(Duration, SocketId)>,
    /// Sockets whose application must be told something at the next turn.
    news: Vec<SocketId>,
    /// Sockets that owe an acknowledgement.
    acks_due: Vec<SocketId>,
    outbox: Vec<Segment>,
    /// Packet numbers of the outbox, given by the trace.
    posted: Vec<(u64, Segment)>,
    next_id: u64,
    next_port: u16,
    iss_base: u64,
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
            next_port: *PORTS_EPHEMERAL.start(),
            iss_base: u64::from(iss_base),
            trace,
        }
    }

    // What the world does to it.

    /// It is `now`: due acknowledgement and timers act.
    pub(crate) fn advance(&mut self, now: Duration) {
        self.now = now;
        while let Some(&(due, id)) = self.timers.first()
            && due <= now
        {
            self.timers.pop_first();
            let Some(deadline) = self.sockets.get(&id).and_then(|socket| socket.deadline) else { continue };
            if deadline <= now {
                self.with(id, TcpSocket::on_timer);
            } else {
                self.timers.insert((deadline, id));
            }
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
                Some(State::TimeWait) if opens => self.remove(id),
                Some(State::SynReceived) if !self.may_complete(id) => return,
                _ => {
                    self.with(id, |socket, wire| socket.on_segment(segment, wire));
                    return;
                }
            }
        }
        let listener = self.listeners.iter().find(|(_, listener)| listener.serves(segment.to)).map(|(id, _)| *id);
        match listener {
            Some(id) if segment.flags.syn && !segment.flags.ack && !segment.flags.rst => self.on_syn(id, segment),
            Some(_) | None => {
                self.outbox.extend(segment.refusal());
                self.post();
            }
        }
    }

    /// With a full backlog Linux drops the last ACK of a handshake; the SYN-ACK is sent again until there is room.
    fn may_complete(&self, id: SocketId) -> bool {
        let Some(Owner::Backlog(listener)) = self.sockets.get(&id).map(|socket| socket.owner) else { return true };
        self.listeners.get(&listener).is_none_or(Listener::has_room)
    }

    fn on_syn(&mut self, listener_id: SocketId, segment: &Segment) {
        let Some(listener) = self.listeners.get_mut(&listener_id) else { return };
        if !listener.answers_syn() {
            self.record(segment.to, segment.from, Change::BacklogFull);
            return;
        }
        listener.half_open += 1;
        let iss = self.initial_sequence();
        let mut wire = Wire { now: self.now, out: &mut self.outbox };
        let socket = TcpSocket::answer(segment, listener_id, iss, &mut wire);
        self.insert(socket);
    }

    /// Sends the acknowledgements that nothing else has carried, and hands over what is to be sent.
    pub(crate) fn collect(&mut self) -> Vec<(u64, Segment)> {
        for id in std::mem::take(&mut self.acks_due) {
            self.with(id, TcpSocket::send_due_ack);
        }
        std::mem::take(&mut self.posted)
    }

    /// Whether a turn would tell a program something.
    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// The driver's turn: programs are told what has happened. The caller wakes them, without the kernel's lock.
    pub(crate) fn turn(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        for id in std::mem::take(&mut self.news) {
            if let Some(socket) = self.sockets.get_mut(&id) {
                socket.news = false;
                let truth = socket.truth();
                socket.readiness.turn(truth, &mut woken);
            } else if let Some(listener) = self.listeners.get_mut(&id) {
                listener.told.turn(!listener.ready.is_empty(), false, &mut woken);
            }
        }
        woken
    }

    /// The machine loses power: every socket is gone, and nobody is told.
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

    // What programs call.

    pub(crate) fn listen(
        &mut self,
        at: SocketAddr,
        backlog: u32,
        reuse_port: bool,
    ) -> io::Result<(SocketId, SocketAddr)> {
        if !self.owns(at.ip()) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let at = match at.port() {
            0 => SocketAddr::new(at.ip(), self.ephemeral_port(at.ip(), None)?),
            _ => at,
        };
        if self.listeners.values().any(|listener| listener.conflicts(at, reuse_port)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let id = self.new_id();
        self.listeners.insert(id, Listener::new(at, backlog, reuse_port));
        Ok((id, at))
    }

    pub(crate) fn poll_accept(&mut self, id: SocketId, cx: &Context<'_>) -> Poll<io::Result<Accepted>> {
        let Some(listener) = self.listeners.get_mut(&id) else { return Poll::Ready(Err(gone())) };
        if !listener.told.may_try(cx) {
            return Poll::Pending;
        }
        while let Some(ready) = listener.ready.pop_front() {
            // One that was reset while it waited is accepted all the same, as on Linux; its first read tells.
            let Some(socket) = self.sockets.get_mut(&ready) else { continue };
            socket.owner = Owner::Application;
            socket.readiness = Readiness::default(); // a driver learns of a socket at the turn after it was accepted
            socket.news = true;
            self.news.push(ready);
            return Poll::Ready(Ok(Accepted { id: ready, local: socket.local, peer: socket.peer }));
        }
        listener.told.exhausted();
        let registered = listener.told.may_try(cx);
        debug_assert!(!registered, "an exhausted listener waits");
        Poll::Pending
    }

    /// Stops listening: connections that nobody accepted are reset.
    pub(crate) fn close_listener(&mut self, id: SocketId) {
        self.listeners.remove(&id);
        let orphans = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.owner == Owner::Backlog(id))
            .map(|(id, socket)| (*id, socket.state))
            .collect::<Vec<_>>();
        for (id, state) in orphans {
            match state {
                State::SynReceived => self.remove(id), // its SYN, sent again, meets a closed port
                _ => {
                    self.with(id, |socket, wire| {
                        socket.owner = Owner::Nobody;
                        if socket.state != State::Closed {
                            socket.abort(wire);
                        }
                    });
                }
            }
        }
    }

    /// Begins a connection; [`Kernel::poll_connected`] tells how it went.
    pub(crate) fn connect(&mut self, from: Option<SocketAddr>, to: SocketAddr) -> io::Result<(SocketId, SocketAddr)> {
        let ip = match from {
            Some(from) if !from.ip().is_unspecified() => from.ip(),
            _ => self.source_for(to.ip())?,
        };
        if !self.owns(ip) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let port = match from.map_or(0, |from| from.port()) {
            0 => self.ephemeral_port(ip, Some(to))?,
            port => port,
        };
        let local = SocketAddr::new(ip, port);
        if self.by_addresses.contains_key(&(local, to)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let iss = self.initial_sequence();
        let mut wire = Wire { now: self.now, out: &mut self.outbox };
        let socket = TcpSocket::connect(local, to, iss, &mut wire);
        Ok((self.insert(socket), local))
    }

    pub(crate) fn poll_connected(&mut self, id: SocketId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(socket) = self.sockets.get_mut(&id) else { return Poll::Ready(Err(gone())) };
        match socket.readiness.write.may_try(cx) {
            true => Poll::Ready(socket.take_error()),
            false => Poll::Pending,
        }
    }

    pub(crate) fn poll_read(&mut self, id: SocketId, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(socket) = self.sockets.get_mut(&id) else { return Poll::Ready(Err(gone())) };
            if !socket.readiness.read.may_try(cx) {
                return Poll::Pending;
            }
            if buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let filled = buf.filled().len();
            let result = self.with(id, |socket, wire| fill(socket, buf, wire));
            let Some(socket) = self.sockets.get_mut(&id) else { return Poll::Ready(Err(gone())) };
            match result {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => socket.readiness.read.exhausted(),
                Some(Ok(())) => {
                    // A short read has emptied the socket; tokio saves itself the call that would say so.
                    if buf.remaining() > 0 && buf.filled().len() > filled {
                        socket.readiness.read.exhausted();
                    }
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Err(gone())),
            }
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        id: SocketId,
        cx: &Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            let Some(socket) = self.sockets.get_mut(&id) else { return Poll::Ready(Err(gone())) };
            if !socket.readiness.write.may_try(cx) {
                return Poll::Pending;
            }
            let asked = slices.iter().map(|slice| slice.len()).sum::<usize>();
            let result = self.with(id, |socket, wire| socket.write(slices, wire));
            let Some(socket) = self.sockets.get_mut(&id) else { return Poll::Ready(Err(gone())) };
            match result {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => socket.readiness.write.exhausted(),
                Some(result) => {
                    if result.as_ref().is_ok_and(|written| *written < asked) {
                        socket.readiness.write.exhausted();
                    }
                    return Poll::Ready(result);
                }
                None => return Poll::Ready(Err(gone())),
            }
        }
    }

    /// Finishes the sending direction.
    pub(crate) fn shutdown(&mut self, id: SocketId) {
        self.with(id, TcpSocket::shutdown);
    }

    /// SO_LINGER with a timeout of zero: the coming close is a reset.
    pub(crate) fn linger_zero(&mut self, id: SocketId) {
        self.with(id, |socket, _| socket.linger_zero = true);
    }

    /// The program's handle is gone.
    pub(crate) fn close(&mut self, id: SocketId) {
        self.with(id, TcpSocket::close);
    }

    // Inside.

    /// Lets `act` work on a socket, then does what follows from the change.
    fn with<R>(&mut self, id: SocketId, act: impl FnOnce(&mut TcpSocket, &mut Wire<'_>) -> R) -> Option<R> {
        let socket = self.sockets.get_mut(&id)?;
        let before = (socket.state, socket.owner, socket.news);
        let mut wire = Wire { now: self.now, out: &mut self.outbox };
        let result = act(socket, &mut wire);
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
        if let Some(deadline) = socket.deadline {
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
        let finished = became == State::Closed && socket.owner == Owner::Nobody;
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
            self.by_addresses.remove(&(socket.local, socket.peer));
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

    fn owns(&self, ip: IpAddr) -> bool {
        ip.is_unspecified() || ip.is_loopback() || self.addresses.contains(&ip)
    }

    fn source_for(&self, to: IpAddr) -> io::Result<IpAddr> {
        if to.is_loopback() {
            return Ok(match to {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let same_family = self.addresses.iter().find(|ip| ip.is_ipv4() == to.is_ipv4());
        same_family.copied().ok_or_else(|| io::ErrorKind::NetworkUnreachable.into())
    }

    /// The next port that is free for connections to `peer`, or for listening.
    fn ephemeral_port(&mut self, ip: IpAddr, peer: Option<SocketAddr>) -> io::Result<u16> {
        for _ in PORTS_EPHEMERAL {
            let port = self.next_port;
            self.next_port = if port == *PORTS_EPHEMERAL.end() { *PORTS_EPHEMERAL.start() } else { port + 1 };
            let at = SocketAddr::new(ip, port);
            let taken = peer.is_some_and(|peer| self.by_addresses.contains_key(&(at, peer)));
            if !taken && !self.listeners.values().any(|listener| listener.conflicts(at, false)) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
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

/// A connection out of a backlog.
pub(crate) struct Accepted {
    pub(crate) id: SocketId,
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

/// Reads as much as fits and is there; an error only if nothing was read before it.
fn fill(socket: &mut TcpSocket, buf: &mut ReadBuf<'_>, wire: &mut Wire<'_>) -> io::Result<()> {
    let mut bytes = socket.read(buf.remaining(), wire)?;
    while !bytes.is_empty() {
        buf.put_slice(&bytes);
        if buf.remaining() == 0 || !socket.truth().has_data {
            break;
        }
        bytes = socket.read(buf.remaining(), wire)?;
    }
    Ok(())
}

/// The handle outlived its socket, which only a host without power brings about.
fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the host has lost power")
}
