//! One TCP socket: the states of RFC 9293 and what Linux does at each transition.
//!
//! Pure with respect to the world: time comes in, segments go out through [`Wire`]. The order of the checks
//! in [`TcpSocket::read`], [`TcpSocket::write`] and [`TcpSocket::close`] is Linux's, since it decides which of
//! data, error and end a program sees after a reset.
//!
//! Not modelled: congestion control (a link's bandwidth and the windows bound what is in flight), Nagle's
//! algorithm (a proxy switches it off), urgent data, and delayed acknowledgements beyond one instant.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::SocketId;
use super::readiness::{Readiness, Truth};
use super::receive::{Arrival, ReceiveSide};
use super::retransmit::{self, Rto};
use super::segment::{Flags, Segment};
use super::send::{Fin, MSS, SendSide};

/// Where segments leave, and when.
pub(super) struct Wire<'a> {
    pub(super) now: Duration,
    pub(super) out: &'a mut Vec<Segment>,
}

/// The states of RFC 9293 3.3.2, without LISTEN: a listener is not a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Gone on the wire; a program may still hold it.
    Closed,
    /// The peer has finished, we have not.
    CloseWait,
    /// Both finished at once; our FIN is not acknowledged.
    Closing,
    /// Open in both directions.
    Established,
    /// We finished; our FIN is not acknowledged.
    FinWait1,
    /// We finished, the peer has not.
    FinWait2,
    /// Both finished, the peer first; our FIN is not acknowledged.
    LastAck,
    /// Answered a SYN.
    SynReceived,
    /// Sent a SYN.
    SynSent,
    /// Both finished, we first: remembered so that stray segments do no harm.
    TimeWait,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "CLOSED",
            Self::CloseWait => "CLOSE_WAIT",
            Self::Closing => "CLOSING",
            Self::Established => "ESTABLISHED",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::LastAck => "LAST_ACK",
            Self::SynReceived => "SYN_RECEIVED",
            Self::SynSent => "SYN_SENT",
            Self::TimeWait => "TIME_WAIT",
        })
    }
}

/// Who will close the socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    /// A program holds a handle to it.
    Application,
    /// It waits in this listener's backlog.
    Backlog(SocketId),
    /// Its handle is closed; the kernel finishes alone.
    Nobody,
}

/// Why a connection ended before its time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    Refused,
    Reset,
    TimedOut,
}

/// One connection of one host.
#[derive(Debug)]
pub(super) struct TcpSocket {
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) state: State,
    pub(super) owner: Owner,
    pub(super) readiness: Readiness,
    /// When [`TcpSocket::on_timer`] is due; what it then does follows from the state.
    pub(super) deadline: Option<Duration>,
    /// How the connection failed, until the kernel has put it on record.
    pub(super) failure: Option<Failure>,
    /// Something happened that a driver's turn must tell the application.
    pub(super) news: bool,
    /// SO_LINGER with a timeout of zero.
    pub(super) linger_zero: bool,
    send: SendSide,
    receive: ReceiveSide,
    rto: Rto,
    /// SO_ERROR: reported to one call, then forgotten.
    error: Option<io::ErrorKind>,
}

impl TcpSocket {
    /// Sends the SYN of a new connection.
    pub(super) fn connect(local: SocketAddr, peer: SocketAddr, iss: u64, wire: &mut Wire<'_>) -> Self {
        let mut socket = Self::new(local, peer, State::SynSent, Owner::Application, iss, 0);
        socket.send_syn(wire);
        socket
    }

    /// Answers a SYN that reached a listener.
    pub(super) fn answer(syn: &Segment, listener: SocketId, iss: u64, wire: &mut Wire<'_>) -> Self {
        let owner = Owner::Backlog(listener);
        let mut socket = Self::new(syn.to, syn.from, State::SynReceived, owner, iss, syn.seq + 1);
        socket.send.window = u64::from(syn.window);
        socket.send_syn(wire);
        socket
    }

    fn new(local: SocketAddr, peer: SocketAddr, state: State, owner: Owner, iss: u64, receive: u64) -> Self {
        Self {
            local,
            peer,
            state,
            owner,
            readiness: Readiness::default(),
            deadline: None,
            failure: None,
            news: false,
            linger_zero: false,
            send: SendSide::new(iss),
            receive: ReceiveSide::new(receive),
            rto: Rto::default(),
            error: None,
        }
    }

    // What the application calls.

    /// The next bytes, `len` at most; empty at the end of the stream. `WouldBlock` if there are none yet.
    pub(super) fn read(&mut self, len: usize, wire: &mut Wire<'_>) -> io::Result<Bytes> {
        // Data that arrived before a reset is still delivered; after a FIN was read the error is never seen.
        if let Some(bytes) = self.receive.read(len) {
            if self.receive.opens() && self.can_receive() {
                self.send_ack(wire);
            }
            return Ok(bytes);
        }
        if self.receive.finished {
            return Ok(Bytes::new());
        }
        self.take_error()?;
        match self.state {
            State::Closed => Ok(Bytes::new()),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Queues and sends what fits; `WouldBlock` if nothing does.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>], wire: &mut Wire<'_>) -> io::Result<usize> {
        self.take_error()?;
        if self.send.fin != Fin::No || self.state == State::Closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        let taken = match self.state {
            State::SynSent | State::SynReceived => 0,
            _ => self.send.write(slices),
        };
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.transmit(wire);
        Ok(taken)
    }

    /// Finishes our direction after what is queued. Repeated, or after a reset, it does nothing.
    pub(super) fn shutdown(&mut self, wire: &mut Wire<'_>) {
        self.state = match self.state {
            State::Established | State::SynReceived => State::FinWait1,
            State::CloseWait => State::LastAck,
            _ => return,
        };
        self.send.fin = Fin::Queued;
        self.news = true; // a poll reports the closed direction
        self.transmit(wire);
    }

    /// The application's last handle is gone.
    pub(super) fn close(&mut self, wire: &mut Wire<'_>) {
        self.owner = Owner::Nobody;
        match self.state {
            State::Closed => {}
            State::SynSent => self.enter_closed(),
            // The reader went away with bytes unread: RFC 2525 2.17 wants the sender told that they were lost.
            _ if self.receive.has_unread() && self.state != State::TimeWait => self.abort(wire),
            State::Established | State::CloseWait | State::FinWait1 | State::FinWait2 | State::SynReceived
                if self.linger_zero =>
            {
                self.abort(wire);
            }
            State::Established | State::CloseWait | State::SynReceived => self.shutdown(wire),
            State::FinWait2 => self.deadline = Some(wire.now + retransmit::FIN_WAIT2_TIMEOUT),
            State::Closing | State::FinWait1 | State::LastAck | State::TimeWait => {}
        }
    }

    /// The pending error, once.
    pub(super) fn take_error(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// What a poll of the socket would say.
    pub(super) fn truth(&self) -> Truth {
        let closed = self.state == State::Closed;
        let connecting = matches!(self.state, State::SynSent | State::SynReceived);
        let read_closed = self.receive.finished || closed;
        Truth {
            has_data: self.receive.has_unread(),
            readable: self.receive.has_unread() || read_closed,
            read_closed,
            writable: !connecting && (closed || self.send.fin != Fin::No || self.send.has_room()),
            write_closed: closed || (self.receive.finished && self.send.fin != Fin::No),
        }
    }

    // What the network brings.

    /// Takes a segment addressed to this connection.
    pub(super) fn on_segment(&mut self, segment: &Segment, wire: &mut Wire<'_>) {
        match self.state {
            State::Closed => wire.out.extend(segment.refusal()),
            State::SynSent => self.on_segment_in_syn_sent(segment, wire),
            _ => self.on_segment_synchronized(segment, wire),
        }
    }

    fn on_segment_in_syn_sent(&mut self, segment: &Segment, wire: &mut Wire<'_>) {
        let flags = segment.flags;
        if flags.ack && segment.ack != self.send.nxt {
            wire.out.extend(segment.refusal());
            return;
        }
        if flags.rst {
            if flags.ack {
                self.fail(Failure::Refused, io::ErrorKind::ConnectionRefused);
            }
            return;
        }
        if !flags.syn {
            return;
        }
        self.receive = ReceiveSide::new(segment.seq + 1);
        self.set_window(segment);
        if !flags.ack {
            // Both sides called at once (RFC 9293 3.5, figure 8).
            self.state = State::SynReceived;
            self.send_syn(wire);
            return;
        }
        self.send.acknowledge(segment.ack);
        self.rto.acknowledged(segment.ack, wire.now);
        self.enter_established();
        self.send_ack(wire);
    }

    fn on_segment_synchronized(&mut self, segment: &Segment, wire: &mut Wire<'_>) {
        if segment.flags.rst {
            self.on_reset(segment, wire);
            return;
        }
        if segment.flags.syn {
            self.on_late_syn(segment, wire);
            return;
        }
        let in_window = segment.end() >= self.receive.nxt && segment.seq <= self.receive.nxt + self.receive.window();
        if !in_window {
            self.send_ack(wire); // RFC 9293 3.10.7.4: this is also how a window probe is answered
            return;
        }
        if !segment.flags.ack || !self.on_acknowledgement(segment, wire) {
            return;
        }
        if segment.payload.is_empty() && !segment.flags.fin {
            return;
        }
        if self.owner == Owner::Nobody && segment.seq + segment.len() > self.receive.nxt {
            // Data that no program will ever read (RFC 9293 3.10.7.4, RFC 1122 4.2.2.13).
            wire.out.extend(segment.refusal());
            self.enter_closed();
            return;
        }
        self.on_payload(segment, wire);
    }

    fn on_reset(&mut self, segment: &Segment, wire: &mut Wire<'_>) {
        // A socket that has seen the peer's FIN also takes a reset that does not count it: the peer answered
        // data that was sent before its FIN was acknowledged.
        let finished = matches!(self.state, State::CloseWait | State::LastAck | State::Closing);
        if segment.seq == self.receive.nxt || (finished && segment.seq + 1 == self.receive.nxt) {
            let kind = match self.state {
                State::CloseWait => io::ErrorKind::BrokenPipe,
                _ => io::ErrorKind::ConnectionReset,
            };
            self.fail(Failure::Reset, kind);
        } else if segment.seq > self.receive.nxt && segment.seq <= self.receive.nxt + self.receive.window() {
            self.send_ack(wire); // RFC 5961 3.2: challenge what could be forged or could have overtaken data
        }
    }

    fn on_late_syn(&mut self, segment: &Segment, wire: &mut Wire<'_>) {
        match self.state {
            State::SynReceived if segment.seq + 1 == self.receive.nxt && !segment.flags.ack => self.send_syn(wire),
            _ => self.send_ack(wire), // a SYN-ACK again: our ACK was lost; anything else is challenged
        }
    }

    /// False if the segment ends here.
    fn on_acknowledgement(&mut self, segment: &Segment, wire: &mut Wire<'_>) -> bool {
        let ack = segment.ack;
        if self.state == State::SynReceived {
            if ack != self.send.una + 1 {
                wire.out.extend(segment.refusal());
                return false;
            }
            self.set_window(segment);
            self.enter_established();
        }
        if ack > self.send.nxt {
            self.send_ack(wire);
            return false;
        }
        if ack > self.send.una {
            self.on_progress(ack, wire);
        } else if ack == self.send.una {
            self.on_duplicate(segment, wire);
        }
        let (seq, was) = self.send.window_set_by;
        if segment.seq > seq || (segment.seq == seq && ack >= was) {
            self.set_window(segment);
        }
        self.transmit(wire);
        if self.send.fin_acknowledged() {
            match self.state {
                State::FinWait1 => self.enter_fin_wait2(wire),
                State::Closing => self.enter_time_wait(wire),
                State::LastAck => {
                    self.enter_closed();
                    return false;
                }
                _ => {}
            }
        }
        true
    }

    fn on_progress(&mut self, ack: u64, wire: &mut Wire<'_>) {
        self.rto.acknowledged(ack, wire.now);
        self.news |= self.send.acknowledge(ack);
        self.send.duplicates = 0;
        self.deadline = None; // transmit() starts it again for what is still in flight
        match self.send.recover {
            Some(recover) if ack < recover => self.send_again(wire), // the next hole (RFC 6582 3.2)
            Some(_) | None => self.send.recover = None,
        }
    }

    fn on_duplicate(&mut self, segment: &Segment, wire: &mut Wire<'_>) {
        const DUPLICATES: u32 = 3; // RFC 5681 3.2: fewer may be mere reordering
        let repeats = segment.payload.is_empty()
            && !segment.flags.fin
            && self.send.in_flight()
            && u64::from(segment.window) == self.send.window;
        if !repeats {
            return;
        }
        self.send.duplicates += 1;
        if self.send.duplicates == DUPLICATES && self.send.recover.is_none() {
            self.send.recover = Some(self.send.nxt);
            self.send_again(wire);
        }
    }

    fn on_payload(&mut self, segment: &Segment, wire: &mut Wire<'_>) {
        let was_finished = self.receive.finished;
        match self.receive.accept(segment.seq, &segment.payload, segment.flags.fin) {
            Arrival::Advanced => {
                self.receive.ack_due = true;
                self.news = true;
            }
            // At once and each time: three of these tell the sender what is missing.
            Arrival::Early => self.send_ack(wire),
            Arrival::Stale => self.receive.ack_due = true,
        }
        if !self.receive.finished {
            return;
        }
        match self.state {
            State::Established | State::SynReceived => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.enter_time_wait(wire),
            State::TimeWait if was_finished => self.enter_time_wait(wire), // the last ACK was lost: wait anew
            _ => {}
        }
    }

    // Time.

    /// The deadline has passed.
    pub(super) fn on_timer(&mut self, wire: &mut Wire<'_>) {
        self.deadline = None;
        match self.state {
            State::Closed => {}
            State::FinWait2 | State::TimeWait => self.enter_closed(),
            State::SynReceived if self.rto.retries >= retransmit::RETRIES_SYN_ACK_MAX => {
                self.owner = Owner::Nobody;
                self.enter_closed();
            }
            State::SynSent | State::SynReceived => {
                self.rto.retries += 1;
                self.send_syn(wire);
            }
            _ if self.rto.retries >= self.retries_max() => self.time_out(),
            _ if self.send.in_flight() => {
                self.rto.retries += 1;
                self.send.recover = Some(self.send.nxt);
                self.send_again(wire);
            }
            _ => self.probe_window(wire),
        }
    }

    fn retries_max(&self) -> u32 {
        match self.owner {
            Owner::Nobody => retransmit::RETRIES_ORPHAN_MAX,
            Owner::Application | Owner::Backlog(_) => retransmit::RETRIES_MAX,
        }
    }

    /// The window is closed and a window update may have been lost. An answer counts as progress for a program's
    /// socket, so that it probes for ever; a closed one gives up after the same number of probes (Linux).
    fn probe_window(&mut self, wire: &mut Wire<'_>) {
        self.rto.retries = match self.owner {
            Owner::Nobody => self.rto.retries + 1,
            Owner::Application | Owner::Backlog(_) => (self.rto.retries + 1).min(retransmit::RETRIES_MAX - 1),
        };
        let probe = self.segment(self.send.una.saturating_sub(1), Flags::ACK, Bytes::new());
        wire.out.push(probe);
        self.deadline = Some(wire.now + self.rto.interval());
    }

    // Transitions.

    fn enter_established(&mut self) {
        self.state = State::Established;
        self.rto.retries = 0;
        self.deadline = None;
        self.news = true;
        if self.send.una + 1 == self.send.nxt {
            self.send.una = self.send.nxt; // our SYN is acknowledged
        }
    }

    fn enter_fin_wait2(&mut self, wire: &Wire<'_>) {
        self.state = State::FinWait2;
        // A half-closed connection that a program still holds may stay so for ever.
        self.deadline = (self.owner == Owner::Nobody).then_some(wire.now + retransmit::FIN_WAIT2_TIMEOUT);
    }

    fn enter_time_wait(&mut self, wire: &Wire<'_>) {
        self.state = State::TimeWait;
        self.deadline = Some(wire.now + retransmit::TIME_WAIT_TIMEOUT);
    }

    fn enter_closed(&mut self) {
        self.state = State::Closed;
        self.deadline = None;
        self.receive.ack_due = false;
        self.news = true;
    }

    fn fail(&mut self, failure: Failure, kind: io::ErrorKind) {
        self.failure = Some(failure);
        self.error = Some(kind);
        self.enter_closed();
    }

    fn time_out(&mut self) {
        self.fail(Failure::TimedOut, io::ErrorKind::TimedOut);
    }

    /// Closes with a reset; what was not sent is lost.
    pub(super) fn abort(&mut self, wire: &mut Wire<'_>) {
        let reset = self.segment(self.send.nxt, Flags::RST_ACK, Bytes::new());
        wire.out.push(reset);
        self.enter_closed();
    }

    // What leaves.

    /// Sends what the window allows, then sets the timer for what is in flight.
    fn transmit(&mut self, wire: &mut Wire<'_>) {
        if !self.can_send() {
            return;
        }
        while self.send.has_unsent() {
            let unsent = self.send.data_end() - self.send.nxt;
            let room = (self.send.una + self.send.window).saturating_sub(self.send.nxt);
            let len = unsent.min(room).min(MSS as u64);
            // A crumb that only a nearly closed window asks for waits (RFC 9293 3.8.6.2.1); a FIN needs room for one.
            let crumb = len < unsent.min(MSS as u64) && self.send.in_flight();
            if room == 0 || crumb {
                break;
            }
            self.send_next(usize::try_from(len).unwrap_or(MSS), wire);
        }
        if self.deadline.is_none() && (self.send.in_flight() || self.send.has_unsent()) {
            self.deadline = Some(wire.now + self.rto.interval());
        }
    }

    fn send_next(&mut self, len: usize, wire: &mut Wire<'_>) {
        let payload = self.send.bytes_at(self.send.nxt, len);
        let last = self.send.nxt + payload.len() as u64 == self.send.data_end();
        let fin = last && self.send.fin == Fin::Queued;
        let flags = Flags { ack: true, psh: last && !payload.is_empty(), fin, ..Flags::default() };
        let segment = self.segment(self.send.nxt, flags, payload);
        if fin {
            self.send.fin = Fin::Sent;
        }
        self.send.nxt = segment.end();
        self.rto.sent(segment.end(), wire.now);
        wire.out.push(segment);
    }

    /// Sends the oldest unacknowledged segment once more.
    fn send_again(&mut self, wire: &mut Wire<'_>) {
        self.rto.sent_again();
        let payload = self.send.bytes_at(self.send.una, MSS);
        let end = self.send.una + payload.len() as u64;
        let sent = end.min(self.send.nxt); // never what the window has not allowed yet
        let payload = payload.slice(..usize::try_from(sent - self.send.una).unwrap_or(0).min(payload.len()));
        let fin = self.send.fin == Fin::Sent && sent == self.send.data_end();
        let flags = Flags { ack: true, psh: !payload.is_empty(), fin, ..Flags::default() };
        let segment = self.segment(self.send.una, flags, payload);
        wire.out.push(segment);
        self.deadline = Some(wire.now + self.rto.interval());
    }

    /// Sends SYN or SYN-ACK, for the first time or again, and sets its timer.
    fn send_syn(&mut self, wire: &mut Wire<'_>) {
        let (flags, pause) = match self.state {
            State::SynSent => (Flags::SYN, retransmit::syn_pause(self.rto.retries)),
            _ => (Flags::SYN_ACK, Some(self.rto.interval())),
        };
        let Some(pause) = pause else { return self.time_out() };
        match self.rto.retries {
            0 => self.rto.sent(self.send.nxt, wire.now),
            _ => self.rto.sent_again(),
        }
        let segment = self.segment(self.send.una, flags, Bytes::new());
        wire.out.push(segment);
        self.deadline = Some(wire.now + pause);
    }

    /// Sends the acknowledgement that is owed, if nothing else carried it.
    pub(super) fn send_due_ack(&mut self, wire: &mut Wire<'_>) {
        if self.receive.ack_due {
            self.send_ack(wire);
        }
    }

    pub(super) fn ack_due(&self) -> bool {
        self.receive.ack_due
    }

    fn send_ack(&mut self, wire: &mut Wire<'_>) {
        let ack = self.segment(self.send.nxt, Flags::ACK, Bytes::new());
        wire.out.push(ack);
    }

    fn segment(&mut self, seq: u64, flags: Flags, payload: Bytes) -> Segment {
        let ack = if flags.ack { self.receive.nxt } else { 0 };
        self.receive.ack_due = false;
        Segment { from: self.local, to: self.peer, flags, seq, ack, window: self.receive.advertise(), payload }
    }

    fn set_window(&mut self, segment: &Segment) {
        self.send.window = u64::from(segment.window);
        self.send.window_set_by = (segment.seq, segment.ack);
    }

    fn can_send(&self) -> bool {
        use State::{CloseWait, Closing, Established, FinWait1, LastAck};
        matches!(self.state, CloseWait | Closing | Established | FinWait1 | LastAck)
    }

    fn can_receive(&self) -> bool {
        matches!(self.state, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// Whether the connection still has something to do by itself: something to send, or an answer to await.
    pub(super) fn is_busy(&self) -> bool {
        self.deadline.is_some() && !matches!(self.state, State::FinWait2 | State::TimeWait)
    }
}
