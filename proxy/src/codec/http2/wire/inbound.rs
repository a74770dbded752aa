//! The way in: what the socket gives, as h2 is to see it.
//!
//! Frame heads pass whole, so that a frame can be hidden from h2 by its type. Nothing is read while enough has been read in
//! this turn, nor while the peer does not read what it has called for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Wire;
use super::shared::{Fate, Pong, Shared};
use crate::codec::http2::frames::{PROTOCOL_ERROR, Role, UNDECIDED_BYTES_MAX, goaway_frame, shutdown_pong};

/// Room that a read needs beside what is undecided. h2 asks for as little as one byte. Bytes.
const ROOM_BYTES_MIN: usize = 64;

/// What has been read and has not been given to h2.
#[derive(Debug)]
pub(super) struct Inbound {
    /// Bytes that come before those of the socket.
    already_read: Bytes,
    /// A frame that h2 reads before what the peer sent.
    ahead: Bytes,
    /// After a malformed message that ends the connection: h2 has had a turn to write what it owes for the frames before.
    may_end: bool,
    /// A frame head that is cut.
    undecided: [u8; UNDECIDED_BYTES_MAX],
    undecided_len: usize,
    /// What found no room with h2.
    decided: Bytes,
    /// The socket took nothing at the last attempt.
    is_blocked: bool,
    /// Reading waits for the socket to take something.
    is_paused: bool,
}

impl Inbound {
    pub(super) fn new(already_read: Bytes) -> Self {
        Self {
            already_read,
            ahead: Bytes::new(),
            may_end: false,
            undecided: [0; UNDECIDED_BYTES_MAX],
            undecided_len: 0,
            decided: Bytes::new(),
            is_blocked: false,
            is_paused: false,
        }
    }

    fn undecided(&self) -> &[u8] {
        self.undecided.get(..self.undecided_len).unwrap_or_default()
    }

    fn keep_undecided(&mut self, rest: &[u8]) {
        self.undecided_len = rest.len().min(UNDECIDED_BYTES_MAX);
        self.undecided.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        buf.put_slice(&self.decided.split_to(self.decided.len().min(buf.remaining())));
    }

    /// After an attempt to write to the socket.
    pub(super) fn note_write(&mut self, shared: &Shared, is_blocked: bool, cx: &Context<'_>) {
        self.is_blocked = is_blocked;
        if !is_blocked {
            shared.owed_frames.set(0);
            if std::mem::take(&mut self.is_paused) {
                cx.waker().wake_by_ref();
            }
        }
    }
}

impl Wire {
    /// Is nothing to be read for now? The end of the turn, or of the peer's silence, wakes.
    fn is_waiting(&mut self) -> bool {
        let owes = self.shared.is_owing() || self.shared.backlog.is_full();
        self.inbound.is_paused = self.inbound.is_blocked && owes;
        self.inbound.is_paused || self.shared.is_turn_over()
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let is_between_frames = self.reading.is_between_frames() && self.inbound.undecided_len == 0;
        if self.shared.pong.get() == Pong::Asked && self.inbound.ahead.is_empty() && is_between_frames {
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
            if let Some(fate) = self.intake.failed() {
                if !std::mem::replace(&mut self.inbound.may_end, true) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                self.shared.fail(fate);
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            let before = buf.filled().len();
            let is_end = ready!(self.poll_source(cx, buf))?;
            let passed = self.intake.take(buf.filled().get(before..).unwrap_or_default(), &self.shared);
            buf.set_filled(before + passed);
            if is_end {
                self.intake.end();
            }
            if passed > 0 || is_end && self.intake.ready().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Fills `buf` with what the peer sent. Is that the end of it?
    fn poll_source(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let already_read = &mut self.inbound.already_read;
        if !already_read.is_empty() {
            buf.put_slice(&already_read.split_to(already_read.len().min(buf.remaining())));
            return Poll::Ready(Ok(false));
        }
        let mut conn = self.shared.conn.borrow_mut();
        let Some(conn) = conn.as_mut() else { return Poll::Ready(Ok(true)) };
        let before = buf.filled().len();
        if let Err(error) = ready!(Pin::new(conn).poll_read(cx, buf)) {
            self.shared.fail(Fate::Reset);
            return Poll::Ready(Err(error));
        }
        match buf.filled().len() - before {
            0 => self.shared.fail(Fate::Closed),
            read => self.shared.note_read(read),
        }
        Poll::Ready(Ok(buf.filled().len() == before))
    }

    /// Reads until there is something that h2 may see, or the end.
    fn poll_decide(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            buf.put_slice(self.inbound.undecided());
            let filled = self.poll_fill(cx, buf);
            let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
            if !matches!(filled, Poll::Ready(Ok(()))) {
                buf.set_filled(before);
                return filled;
            }
            if fresh.len() == self.inbound.undecided_len {
                self.inbound.undecided_len = 0; // the end, perhaps in the midst of a head
                return Poll::Ready(Ok(()));
            }
            let decided = self.decide(fresh);
            let Some(decided) = decided else { return self.poll_refuse_first(cx) };
            self.inbound.keep_undecided(fresh.get(decided..).unwrap_or_default());
            buf.set_filled(before + decided);
            if matches!(self.shared.fate(), Fate::Flooded { .. }) {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if decided > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// How much of `fresh` h2 may see; `None` if it is not HTTP/2.
    fn decide(&mut self, fresh: &mut [u8]) -> Option<usize> {
        let (shared, floods, is_client) = (&self.shared, &mut self.floods, self.role == Role::Client);
        let decided = self.reading.scan(fresh, |frame| shared.note_received(frame, floods, is_client));
        shared.stats.rx_reset.add(self.reading.take_resets());
        // A client's GOAWAY speaks of pushed streams, and we push none.
        shared.goaway_last.set(self.reading.goaway_last().filter(|_| is_client));
        decided
    }

    fn poll_refuse_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.role {
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
        if !this.inbound.decided.is_empty() {
            this.inbound.give(buf);
            return Poll::Ready(Ok(()));
        }
        if this.is_waiting() {
            return Poll::Pending;
        }
        if buf.remaining() >= ROOM_BYTES_MIN {
            return this.poll_decide(cx, buf);
        }
        let mut room = [0; ROOM_BYTES_MIN];
        let mut room = ReadBuf::new(&mut room);
        ready!(this.poll_decide(cx, &mut room))?;
        this.inbound.decided = Bytes::copy_from_slice(room.filled());
        this.inbound.give(buf);
        Poll::Ready(Ok(()))
    }
}
