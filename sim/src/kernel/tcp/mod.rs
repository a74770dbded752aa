//! One TCP socket: the states of RFC 9293 and what Linux does at each transition.
//!
//! Pure with respect to the world: time comes in, segments go out through [`SegmentOutput`]. This file holds the states and
//! what programs call; [`input`] what segments cause, [`output`] what leaves and when. The order of the checks in
//! [`TcpSocket::read`], [`TcpSocket::write`] and [`TcpSocket::close`] is Linux's, since it decides which of data,
//! error and end a program sees after a reset.
//!
//! Not modelled: congestion control (a link's bandwidth and the windows bound what is in flight), Nagle's
//! algorithm (a proxy switches it off), urgent data, and delayed acknowledgements beyond one instant.

mod alive;
mod input;
mod output;

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use finwait::net::Peek;

use super::SocketId;
use super::readiness::{Readiness, Truth};
use super::receive::ReceiveSide;
use super::retransmit::{self, Rto};
use super::send::{Fin, SendSide};
use crate::segment::{Flags, Segment};
use alive::Alive;

/// Where segments leave, and when.
pub(in crate::kernel) struct SegmentOutput<'a> {
    pub(in crate::kernel) now: Duration,
    pub(in crate::kernel) out: &'a mut Vec<Segment>,
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
    /// Sent a SYN-ACK.
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
pub(in crate::kernel) enum Owner {
    /// A program holds a handle to it.
    Application,
    /// It waits in this listener's backlog.
    Backlog(SocketId),
    /// Its handle is closed; the kernel finishes alone.
    Orphaned,
}

/// Why a connection ended before its time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::kernel) enum Failure {
    Refused,
    Reset,
    TimedOut,
}

/// One connection of one host.
#[derive(Debug)]
pub(in crate::kernel) struct TcpSocket {
    pub(in crate::kernel) local: SocketAddr,
    pub(in crate::kernel) peer: SocketAddr,
    pub(in crate::kernel) state: State,
    pub(in crate::kernel) owner: Owner,
    pub(in crate::kernel) readiness: Readiness,
    /// When something is due, other than a keepalive probe; what that is follows from the state.
    deadline: Option<Duration>,
    /// SO_KEEPALIVE.
    alive: Option<Alive>,
    /// The time of the entry that the kernel's timers hold for this socket; never later than `deadline`.
    pub(in crate::kernel) armed: Option<Duration>,
    /// How the connection failed, until the kernel has put it on record.
    pub(in crate::kernel) failure: Option<Failure>,
    /// Something happened that a driver's turn must report to the application.
    pub(in crate::kernel) news: bool,
    /// SO_LINGER with a timeout of zero.
    pub(in crate::kernel) linger_zero: bool,
    send: SendSide,
    receive: ReceiveSide,
    rto: Rto,
    /// SO_ERROR: reported to one call, then forgotten.
    error: Option<io::ErrorKind>,
}

impl TcpSocket {
    /// Sends the SYN of a new connection.
    pub(in crate::kernel) fn connect(
        local: SocketAddr,
        peer: SocketAddr,
        iss: u64,
        output: &mut SegmentOutput<'_>,
    ) -> Self {
        let mut socket = Self::new(local, peer, State::SynSent, Owner::Application, iss, 0);
        socket.send_syn(output);
        socket
    }

    /// Responds to a SYN that reached a listener.
    pub(in crate::kernel) fn accept_syn(
        syn: &Segment,
        listener: SocketId,
        iss: u64,
        output: &mut SegmentOutput<'_>,
    ) -> Self {
        let owner = Owner::Backlog(listener);
        let mut socket = Self::new(syn.to, syn.from, State::SynReceived, owner, iss, syn.seq + 1);
        socket.send.window = u64::from(syn.window);
        socket.send_syn(output);
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
            alive: None,
            armed: None,
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
    pub(in crate::kernel) fn read(&mut self, len: usize, output: &mut SegmentOutput<'_>) -> io::Result<Bytes> {
        // Data that arrived before a reset is still delivered; after a FIN was read the error is never seen.
        if let Some(bytes) = self.receive.read(len) {
            if self.receive.opens() && self.can_receive() {
                self.send_ack(output);
            }
            return Ok(bytes);
        }
        if self.receive.finished {
            return Ok(Bytes::new());
        }
        self.take_error()?;
        if self.state == State::Closed {
            return Ok(Bytes::new());
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Queues and sends what fits; `WouldBlock` if nothing does.
    pub(in crate::kernel) fn write(
        &mut self,
        slices: &[IoSlice<'_>],
        output: &mut SegmentOutput<'_>,
    ) -> io::Result<usize> {
        self.take_error()?;
        if self.send.fin != Fin::No || self.state == State::Closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if slices.iter().all(|slice| slice.is_empty()) {
            return Ok(0);
        }
        let taken = if self.is_connecting() { 0 } else { self.send.write(slices) };
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.transmit(output);
        Ok(taken)
    }

    /// Finishes our direction after what is queued. Repeated, or after a reset, it does nothing.
    pub(in crate::kernel) fn shutdown(&mut self, output: &mut SegmentOutput<'_>) {
        self.state = match self.state {
            State::Established | State::SynReceived => State::FinWait1,
            State::CloseWait => State::LastAck,
            State::Closed
            | State::Closing
            | State::FinWait1
            | State::FinWait2
            | State::LastAck
            | State::SynSent
            | State::TimeWait => return,
        };
        self.send.fin = Fin::Queued;
        self.news = true; // a poll reports the closed direction
        self.transmit(output);
    }

    /// The application's last handle is gone.
    pub(in crate::kernel) fn close(&mut self, output: &mut SegmentOutput<'_>) {
        self.owner = Owner::Orphaned;
        // The reader went away with bytes unread: RFC 2525 2.17 wants the sender notified that they were lost.
        let lost = self.receive.has_unread();
        match self.state {
            State::Closed | State::TimeWait => {}
            State::SynSent => self.enter_closed(),
            State::Closing | State::LastAck if lost => self.abort(output),
            State::Closing | State::LastAck => {}
            State::CloseWait | State::Established | State::FinWait1 | State::FinWait2 | State::SynReceived
                if lost || self.linger_zero =>
            {
                self.abort(output);
            }
            State::CloseWait | State::Established | State::SynReceived => self.shutdown(output),
            State::FinWait1 => {}
            State::FinWait2 => self.deadline = Some(output.now + retransmit::FIN_WAIT2_TIMEOUT),
        }
    }

    /// The pending error, once.
    pub(in crate::kernel) fn take_error(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), |kind| Err(kind.into()))
    }

    /// What a poll of the socket would return.
    pub(in crate::kernel) fn truth(&self) -> Truth {
        let closed = self.state == State::Closed;
        let read_closed = self.receive.finished || closed;
        Truth {
            has_data: self.receive.has_unread(),
            readable: self.receive.has_unread() || read_closed,
            read_closed,
            writable: !self.is_connecting() && (closed || self.send.fin != Fin::No || self.send.has_room()),
            write_closed: closed || (self.receive.finished && self.send.fin != Fin::No),
        }
    }

    /// What [`read`](Self::read) would find.
    pub(in crate::kernel) fn peek(&self) -> Peek {
        if self.receive.has_unread() {
            Peek::Bytes
        } else if self.receive.finished {
            Peek::Closed
        } else if self.error.is_some() {
            Peek::Reset
        } else if self.state == State::Closed {
            Peek::Closed
        } else {
            Peek::Open
        }
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

    fn enter_fin_wait2(&mut self, output: &SegmentOutput<'_>) {
        self.state = State::FinWait2;
        // A half-closed connection that a program still holds may stay so for ever.
        self.deadline = (self.owner == Owner::Orphaned).then_some(output.now + retransmit::FIN_WAIT2_TIMEOUT);
    }

    fn enter_time_wait(&mut self, output: &SegmentOutput<'_>) {
        self.state = State::TimeWait;
        self.deadline = Some(output.now + retransmit::TIME_WAIT_TIMEOUT);
    }

    pub(in crate::kernel) fn enter_closed(&mut self) {
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
    pub(in crate::kernel) fn abort(&mut self, output: &mut SegmentOutput<'_>) {
        let reset = self.segment(self.send.nxt, Flags::RST_ACK, Bytes::new());
        output.out.push(reset);
        self.enter_closed();
    }

    fn set_window(&mut self, segment: &Segment) {
        self.send.window = u64::from(segment.window);
        self.send.window_set_by = (segment.seq, segment.ack);
    }

    fn is_connecting(&self) -> bool {
        matches!(self.state, State::SynSent | State::SynReceived)
    }

    fn can_send(&self) -> bool {
        use State::{CloseWait, Closing, Established, FinWait1, LastAck};
        matches!(self.state, CloseWait | Closing | Established | FinWait1 | LastAck)
    }

    fn can_receive(&self) -> bool {
        matches!(self.state, State::Established | State::FinWait1 | State::FinWait2)
    }

    /// Whether the connection still has something to do by itself: something to send, or a response to await.
    pub(in crate::kernel) fn is_busy(&self) -> bool {
        self.deadline.is_some() && !matches!(self.state, State::FinWait2 | State::TimeWait)
    }
}
