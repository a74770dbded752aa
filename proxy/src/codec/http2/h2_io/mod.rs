//! What lies between the h2 crate and the socket: it looks at frame heads as they pass, in both directions.
//!
//! h2 hides seven things that the proxy needs or decides:
//! - why a connection broke: FIN, RST, or a peer that does not use HTTP/2 at all;
//! - that GOAWAY has come, which takes a connection out of its pool before the next request fails on it;
//! - that a client's GOAWAY changes nothing: h2 would stop serving;
//! - the exact SETTINGS: h2 cannot send ENABLE_CONNECT_PROTOCOL 0, so its frame is replaced by ours;
//! - targets of requests that no URI can have: its HEADERS are replaced by ours;
//! - how much a peer may send before it reads, and empty DATA, of which h2 takes a hundred in a connection's life;
//! - what a malformed message costs. h2 resets the one stream or ends the connection, depending on what is wrong; Envoy
//!   drops the whole connection without a word unless it is configured otherwise.
//!
//! It relies on one property of h2: the head of a frame, and a control frame as a whole, is encoded in one
//! piece, so it stands contiguous at the place where the previous frame ended.
//!
//! [`inbound`] reads: [`frame_reader`] decides about each frame of the peer, and [`accounting`] counts it. [`outbound`] decides about each frame
//! that h2 wants to write. [`connection_state`] is the part that the connection and its streams see.

mod accounting;
mod backlog;
mod connection_state;
mod control;
mod credit;
mod early_bytes;
mod early_reset;
mod frame_error;
mod frame_reader;
mod inbound;
mod outbound;
mod read_budget;
mod recently_closed;
mod resets;
mod section;
mod sections;
mod stream_error;
mod stream_map;
mod streams;
#[cfg(test)]
mod tests;

use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::frames::{
    FRAME_HEAD_LEN, FrameHead, HEADERS, PREFACE, RST_STREAM, Role, frame_len, settings_frame, window_update_frame,
};
use super::hpack::ListLimit;
use crate::config::listener::Http2Options;
use crate::net::Conn;
use crate::stats::Http2Stats;
use frame_reader::FrameReader;
use inbound::Inbound;
use outbound::WriteAction;

pub(super) use connection_state::{Amount, ConnectionState, ConnectionStatus};
pub use frame_reader::MessageErrorScope;
pub(super) use stream_error::StreamError;

/// The IO type that h2 is given.
#[derive(Debug)]
pub(super) struct H2Io {
    state: Rc<ConnectionState>,
    inbound: Inbound,
    frame_reader: FrameReader,
    /// Bytes of the current outgoing frame that h2 has yet to write.
    writing_left: usize,
    /// Our SETTINGS, until they have taken the place of h2's.
    settings: Option<Bytes>,
    /// What is being written in the place of one of h2's frames, and the length of that frame.
    instead: Bytes,
    replaced: usize,
    /// GOAWAY to a client that does not begin with SETTINGS: nothing more is read of it.
    goaway: Option<Bytes>,
    /// Frames that wait to be written with those that follow; see [`Coalescing`].
    held: BytesMut,
    coalescing: Coalescing,
}

/// A stream that waits for its last frame to leave will send more as soon as it has: RST_STREAM, mostly. Both go
/// out in one write, as Envoy's do. Written one after the other, the first could travel to the end of the chain
/// and its response come back before the second is on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Coalescing {
    /// What is held has yet to wait one turn.
    Ready,
    /// The streams have been woken; they get one turn before what is held goes out.
    Yielded,
}

/// What may be held back. Bytes; past that frames are written at once.
const HELD_BYTES_MAX: usize = 64 * 1024;

impl H2Io {
    pub(super) fn new(
        conn: Conn,
        role: Role,
        errors: MessageErrorScope,
        limit: ListLimit,
        options: &Http2Options,
        already_read: Bytes,
        stats: &Http2Stats,
    ) -> (Self, Rc<ConnectionState>) {
        let state = Rc::new(ConnectionState::new(conn, already_read.len(), stats));
        let writing_left = if role == Role::Client { PREFACE.len() } else { 0 };
        let io = Self {
            state: Rc::clone(&state),
            inbound: Inbound::new(already_read),
            frame_reader: FrameReader::new(role, errors, options, limit),
            writing_left,
            settings: Some(settings_frame(role, options)),
            instead: Bytes::new(),
            replaced: 0,
            goaway: None,
            held: BytesMut::new(),
            coalescing: Coalescing::Ready,
        };
        (io, state)
    }

    /// Writes to the socket. What it takes, the peer is reading.
    fn poll_socket(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Conn>, &mut Context<'_>, &Self) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let polled = self.state.poll_write(|conn| write(conn, cx, self));
        self.inbound.note_write(&self.state, polled.is_pending(), cx);
        polled
    }

    /// Gives the peer credit for what h2 has not seen. At the end of one of h2's frames only.
    fn hold_credit(&mut self) {
        if self.writing_left == 0 && self.replaced == 0 && self.held.is_empty() {
            for (stream, bytes) in self.state.take_credit() {
                self.held.extend_from_slice(&window_update_frame(stream, bytes));
            }
        }
    }

    /// Writes what stands in the place of h2's frame, then reports that frame as written.
    fn poll_replace(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.held.is_empty() && self.held.len() + self.instead.len() <= HELD_BYTES_MAX {
            self.held.extend_from_slice(&mem::take(&mut self.instead));
            return Poll::Ready(Ok(mem::take(&mut self.replaced)));
        }
        ready!(self.poll_held(cx))?;
        while !self.instead.is_empty() {
            let written = ready!(self.poll_socket(cx, |conn, cx, io| conn.poll_write(cx, &io.instead)))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(written);
        }
        Poll::Ready(Ok(mem::take(&mut self.replaced)))
    }

    /// Steps over `written` bytes that began with `first`; what lies beyond `first` is payload.
    fn advance(&mut self, first: &[u8], written: usize) {
        let mut at = self.writing_left;
        while at < written {
            let Some(frame) = first.get(at..).filter(|frame| !frame.is_empty()) else { break };
            if let Some(head) = FrameHead::parse(frame) {
                self.note_sent(head, frame);
            }
            at += frame_len(frame);
        }
        self.writing_left = at.saturating_sub(written);
    }

    fn note_sent(&mut self, head: FrameHead, frame: &[u8]) {
        self.state.note_sent(head, frame.get(FRAME_HEAD_LEN..).unwrap_or_default());
        self.frame_reader.streams.note_sent(head);
    }

    fn poll_pass(&mut self, cx: &mut Context<'_>, first: &[u8], bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        let holds = self.state.waiting.get() > 0 || !self.held.is_empty();
        if holds && self.held.len() + len <= HELD_BYTES_MAX {
            bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
            self.advance(first, len);
            return Poll::Ready(Ok(len));
        }
        ready!(self.poll_held(cx))?;
        let written = ready!(self.poll_socket(cx, |conn, cx, _| conn.poll_write_vectored(cx, bufs)))?;
        self.advance(first, written);
        Poll::Ready(Ok(written))
    }

    /// Writes what was held back.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(self.poll_socket(cx, |conn, cx, io| conn.poll_write(cx, &io.held)))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        self.held = BytesMut::new(); // an idle connection keeps no buffer
        self.coalescing = Coalescing::Ready;
        Poll::Ready(Ok(()))
    }

    fn carry_out(&mut self, action: WriteAction, cx: &mut Context<'_>, first: &[u8]) -> Poll<io::Result<usize>> {
        match action {
            WriteAction::Fail(status) => {
                self.state.fail(status);
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
            WriteAction::Pass(pass) => {
                let pass = first.get(..pass).unwrap_or(first);
                self.poll_pass(cx, first, &[io::IoSlice::new(pass)])
            }
            WriteAction::Replace(instead, len) => {
                // The first frame that is ever replaced is h2's SETTINGS: it stands at the start.
                self.settings = None;
                let is_of_stream = |head: &FrameHead| matches!(head.kind, HEADERS | RST_STREAM) && !instead.is_empty();
                if let Some(head) = FrameHead::parse(first).filter(is_of_stream) {
                    // Ours may be several frames; what counts of them is their length.
                    self.note_sent(FrameHead { len: instead.len().saturating_sub(FRAME_HEAD_LEN), ..head }, first);
                }
                self.instead = instead;
                self.replaced = len;
                self.poll_replace(cx)
            }
            WriteAction::Resume => self.poll_replace(cx),
        }
    }
}

impl Drop for H2Io {
    fn drop(&mut self) {
        self.state.is_gone.set(true);
        self.state.wake_all();
    }
}

impl AsyncWrite for H2Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.carry_out(this.write_action(buf), cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // h2 puts frame heads into its own buffer, which comes first, and chains at most one payload to it.
        let first = bufs.iter().map(|buf| &**buf).find(|buf| !buf.is_empty()).unwrap_or_default();
        let action = this.write_action(first);
        if matches!(action, WriteAction::Pass(pass) if pass == first.len()) {
            return this.poll_pass(cx, first, bufs);
        }
        this.carry_out(action, cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.state.conn.borrow().as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.hold_credit();
        if !this.held.is_empty() && this.coalescing == Coalescing::Ready {
            this.coalescing = Coalescing::Yielded;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(this.poll_held(cx))?;
        match this.state.conn.borrow_mut().as_mut() {
            None => Poll::Ready(Ok(())),
            Some(conn) => Pin::new(conn).poll_flush(cx),
        }
    }

    /// Only flushes: the socket is closed by dropping it, at a time that the owner of the connection chooses.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
