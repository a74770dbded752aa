//! The way in: what the socket gives, as h2 is to see it.
//!
//! Nothing is read while enough has been read in this turn, nor while the peer does not read what it has called for. The end,
//! whatever brought it, is reported in a turn of its own, so that it makes no difference whether it came with the last frames
//! or behind them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::H2Io;
use super::connection_state::{ConnectionState, ConnectionStatus, ShutdownPing};
use super::frame_reader::ReadEnd;
use crate::codec::http2::frames::{PROTOCOL_ERROR, Role, goaway_frame, shutdown_ping_ack};

/// What has been read and has not been given to h2.
#[derive(Debug)]
pub(super) struct Inbound {
    /// Bytes that come before those of the socket.
    already_read: Bytes,
    /// A frame that h2 reads before what the peer sent.
    ahead: Bytes,
    /// The socket gives nothing more.
    end: Option<SocketEnd>,
    /// The socket took nothing at the last attempt.
    is_blocked: bool,
    /// Reading waits for the socket to take something.
    is_paused: bool,
}

/// How reading the socket ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SocketEnd {
    Closed,
    Failed(io::ErrorKind),
}

impl Inbound {
    pub(super) fn new(already_read: Bytes) -> Self {
        Self { already_read, ahead: Bytes::new(), end: None, is_blocked: false, is_paused: false }
    }

    /// After an attempt to write to the socket.
    pub(super) fn note_write(&mut self, state: &ConnectionState, is_blocked: bool, cx: &Context<'_>) {
        self.is_blocked = is_blocked;
        if !is_blocked {
            state.read_budget.note_write();
            if std::mem::take(&mut self.is_paused) {
                cx.waker().wake_by_ref();
            }
        }
    }
}

impl H2Io {
    /// Is nothing to be read for now? The end of the turn, or of the peer's silence, wakes.
    fn is_waiting(&mut self) -> bool {
        let owes = self.state.read_budget.has_too_many_replies() || self.state.backlog.is_full();
        self.inbound.is_paused = self.inbound.is_blocked && owes;
        self.inbound.is_paused || self.state.read_budget.is_over()
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.state.shutdown_ping.get() == ShutdownPing::AckRequested
            && self.inbound.ahead.is_empty()
            && self.frame_reader.is_between_frames()
        {
            self.state.shutdown_ping.set(ShutdownPing::Acknowledged);
            self.inbound.ahead = shutdown_ping_ack();
        }
        if !self.inbound.ahead.is_empty() {
            let len = self.inbound.ahead.len().min(buf.remaining());
            buf.put_slice(&self.inbound.ahead.split_to(len));
            return Poll::Ready(Ok(()));
        }
        loop {
            let ready = self.frame_reader.ready();
            if !ready.is_empty() {
                let taken = ready.split_to(ready.len().min(buf.remaining()));
                buf.put_slice(&taken);
                return Poll::Ready(Ok(()));
            }
            *ready = BytesMut::new(); // an idle connection keeps no buffer
            if self.frame_reader.waits_a_turn(&self.state) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.frame_reader.ready().is_empty() {
                continue;
            }
            let has_ended = self.frame_reader.ended().is_some();
            if has_ended || self.inbound.end.is_some() {
                // What came before is handed out first, since h2 hands out nothing after the end, and responded to, if the peer
                // may still read.
                if (has_ended || self.state.has_requests()) && !self.state.read_budget.is_fresh() {
                    return Poll::Pending;
                }
                if self.frame_reader.inject_frame_error() {
                    continue;
                }
                return self.poll_end(cx);
            }
            if self.is_waiting() {
                return Poll::Pending;
            }
            let before = buf.filled().len();
            ready!(self.poll_source(cx, buf));
            let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
            let passed = self.frame_reader.take(fresh, &self.state);
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Fills `buf` with what the peer sent, or notes the end of it.
    fn poll_source(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<()> {
        let already_read = &mut self.inbound.already_read;
        if !already_read.is_empty() {
            buf.put_slice(&already_read.split_to(already_read.len().min(buf.remaining())));
            return Poll::Ready(());
        }
        let mut conn = self.state.conn.borrow_mut();
        let Some(conn) = conn.as_mut() else {
            self.inbound.end = Some(SocketEnd::Closed);
            return Poll::Ready(());
        };
        let before = buf.filled().len();
        self.inbound.end = match ready!(Pin::new(conn).poll_read(cx, buf)) {
            Err(error) => Some(SocketEnd::Failed(error.kind())),
            Ok(()) if buf.filled().len() == before => Some(SocketEnd::Closed),
            Ok(()) => None,
        };
        self.state.note_read(buf.filled().len() - before);
        Poll::Ready(())
    }

    /// Nothing more is read: reports why.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let status = match (self.frame_reader.ended(), self.inbound.end) {
            (Some(ReadEnd::Flooded { flood, stream }), _) => {
                if self.state.status() == ConnectionStatus::Open {
                    self.state.count_flood(flood);
                }
                ConnectionStatus::Flooded { flood, stream }
            }
            (Some(ReadEnd::MalformedMessage(stream)), _) => {
                // Of a client the connection manager counts it, which is also notified of those that h2 finds.
                if self.frame_reader.role == Role::Client && self.state.status() == ConnectionStatus::Open {
                    self.state.stats.rx_messaging_error.inc();
                }
                ConnectionStatus::MalformedMessage(stream)
            }
            (Some(ReadEnd::NotSettings), _) => return self.poll_reject_first_frame(cx),
            (Some(ReadEnd::FrameError | ReadEnd::FrameErrorInjected), _) => ConnectionStatus::ProtocolError,
            (None, Some(SocketEnd::Failed(kind))) => {
                self.state.fail(ConnectionStatus::Reset);
                return Poll::Ready(Err(kind.into()));
            }
            (None, Some(SocketEnd::Closed) | None) => {
                self.state.fail(ConnectionStatus::ClosedByPeer);
                return Poll::Ready(Ok(()));
            }
        };
        self.state.fail(status);
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }

    fn poll_reject_first_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.frame_reader.role {
            Role::Client => {
                self.state.fail(ConnectionStatus::NotHttp2);
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
            Role::Server => {
                self.goaway = Some(goaway_frame([0; 4], PROTOCOL_ERROR, b"SETTINGS expected"));
                self.poll_goaway(cx)
            }
        }
    }

    /// Sends GOAWAY to a client whose first frame is not SETTINGS, with nghttp2's text; h2 would take any frame. Nothing of h2's own is
    /// under way: its SETTINGS have left, and it replies to nothing before it has those of its peer.
    fn poll_goaway(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(goaway) = self.goaway.as_mut().filter(|goaway| !goaway.is_empty()) {
            let written = ready!(self.state.poll_write(|conn| conn.poll_write(cx, goaway)))?;
            if written == 0 {
                break;
            }
            goaway.advance(written);
        }
        self.state.fail(ConnectionStatus::ProtocolError);
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}

impl AsyncRead for H2Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.goaway.is_some() {
            return this.poll_goaway(cx);
        }
        this.poll_fill(cx, buf)
    }
}
