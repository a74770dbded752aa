//! The way in: what the socket gives, as h2 is to see it.
//!
//! Nothing is read while enough has been read in this turn, nor while the peer does not read what it has called for. The end,
//! whatever brought it, is told in a turn of its own, so that it makes no difference whether it came with the last frames
//! or behind them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Wire;
use super::intake::End;
use super::shared::{Fate, Pong, Shared};
use crate::codec::http2::frames::{PROTOCOL_ERROR, Role, goaway_frame, shutdown_pong};

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
    pub(super) fn note_write(&mut self, shared: &Shared, is_blocked: bool, cx: &Context<'_>) {
        self.is_blocked = is_blocked;
        if !is_blocked {
            shared.turn.note_write();
            if std::mem::take(&mut self.is_paused) {
                cx.waker().wake_by_ref();
            }
        }
    }
}

impl Wire {
    /// Is nothing to be read for now? The end of the turn, or of the peer's silence, wakes.
    fn is_waiting(&mut self) -> bool {
        let owes = self.shared.turn.is_owing() || self.shared.backlog.is_full();
        self.inbound.is_paused = self.inbound.is_blocked && owes;
        self.inbound.is_paused || self.shared.turn.is_over()
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.shared.pong.get() == Pong::Asked && self.inbound.ahead.is_empty() && self.intake.is_between_frames() {
            self.shared.pong.set(Pong::Given);
            self.inbound.ahead = shutdown_pong();
        }
        if !self.inbound.ahead.is_empty() {
            let len = self.inbound.ahead.len().min(buf.remaining());
            buf.put_slice(&self.inbound.ahead.split_to(len));
            return Poll::Ready(Ok(()));
        }
        loop {
            let ready = self.intake.ready();
            if !ready.is_empty() {
                let taken = ready.split_to(ready.len().min(buf.remaining()));
                buf.put_slice(&taken);
                return Poll::Ready(Ok(()));
            }
            *ready = BytesMut::new(); // an idle connection keeps no buffer
            let has_ended = self.intake.ended().is_some();
            if has_ended || self.inbound.end.is_some() {
                // What came before is handed out first, since h2 hands out nothing after the end, and answered, if the peer
                // may still read.
                if (has_ended || self.shared.has_requests()) && !self.shared.turn.is_fresh() {
                    return Poll::Pending;
                }
                if self.intake.give_complaint() {
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
            let passed = self.intake.take(fresh, &self.shared);
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
        let mut conn = self.shared.conn.borrow_mut();
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
        self.shared.note_read(buf.filled().len() - before);
        Poll::Ready(())
    }

    /// Nothing more is read: tells why.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let fate = match (self.intake.ended(), self.inbound.end) {
            (Some(End::Flooded { flood, stream }), _) => {
                if self.shared.fate() == Fate::Alive {
                    self.shared.count_flood(flood);
                }
                Fate::Flooded { flood, stream }
            }
            (Some(End::Invalid(stream)), _) => {
                // Of a client the connection manager counts it, which also hears of those that h2 finds.
                if self.intake.role == Role::Client && self.shared.fate() == Fate::Alive {
                    self.shared.stats.rx_messaging_error.inc();
                }
                Fate::InvalidMessage(stream)
            }
            (Some(End::NotSettings), _) => return self.poll_refuse_first(cx),
            (Some(End::Complaint | End::Told), _) => Fate::BrokenProtocol,
            (None, Some(SocketEnd::Failed(kind))) => {
                self.shared.fail(Fate::Reset);
                return Poll::Ready(Err(kind.into()));
            }
            (None, Some(SocketEnd::Closed) | None) => {
                self.shared.fail(Fate::Closed);
                return Poll::Ready(Ok(()));
            }
        };
        self.shared.fail(fate);
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }

    fn poll_refuse_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.intake.role {
            Role::Client => {
                self.shared.fail(Fate::NotHttp2);
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
            Role::Server => {
                self.refusal = Some(goaway_frame([0; 4], PROTOCOL_ERROR, b"SETTINGS expected"));
                self.poll_refuse(cx)
            }
        }
    }

    /// Tells a client what was wrong with its first frame, in nghttp2's words; h2 would take any. Nothing of h2's own is
    /// under way: its SETTINGS have left, and it answers to nothing before it has those of its peer.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(refusal) = self.refusal.as_mut().filter(|refusal| !refusal.is_empty()) {
            let written = ready!(self.shared.poll_write(|conn| conn.poll_write(cx, refusal)))?;
            if written == 0 {
                break;
            }
            refusal.advance(written);
        }
        self.shared.fail(Fate::BrokenProtocol);
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refusal.is_some() {
            return this.poll_refuse(cx);
        }
        this.poll_fill(cx, buf)
    }
}
