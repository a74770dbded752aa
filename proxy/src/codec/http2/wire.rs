//! What lies between the h2 crate and the socket: it looks at frame heads as they pass, in both directions.
//!
//! h2 hides four things that the proxy has to know or to decide:
//! - why a connection broke: FIN, RST, or a peer that does not speak HTTP/2 at all;
//! - that GOAWAY has come, which takes a connection out of its pool before the next request fails on it;
//! - the exact SETTINGS: h2 cannot say ENABLE_CONNECT_PROTOCOL 0, so its frame is replaced by ours;
//! - what a message error does. h2 resets the one stream; Envoy drops the whole connection without a word.
//!
//! It relies on one property of h2: the head of a frame, and a control frame as a whole, is encoded in one
//! piece, so it stands contiguous at the place where the previous frame ended.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::flood::{Flood, Floods};
use super::frames::{
    ACK, DATA, FRAME_HEAD_LEN, FrameHead, GOAWAY, HEADERS, PING, PREFACE, PROTOCOL_ERROR, RST_STREAM, Role, SETTINGS,
    SHUTDOWN, STREAM_CLOSED, STREAM_ID_MAX, Scanner, be_u32, frame_len, goaway_frame, settings_frame, shutdown_pong,
};
use crate::config::listener::Http2Options;
use crate::net::{Conn, Look};
use crate::stats::Http2Stats;

/// Streams remembered as reset by us. A reset leaves with the next flush, so few are ever waiting.
const RESETS_REMEMBERED_MAX: usize = 1024;

/// What became of the connection, as far as it has been seen from the socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Alive,
    /// The peer sent FIN.
    Closed,
    /// The peer sent too much of what costs nothing.
    Flooded,
    /// We let go of it.
    Dropped,
    /// The peer sent a message that HTTP/2 forbids, on this stream if h2 told; nothing may be written any more.
    InvalidMessage(Option<u32>),
    /// The first bytes of the server are no SETTINGS frame.
    NotHttp2,
    /// Reading or writing failed: RST, most likely.
    Reset,
}

/// The second step of a drain, which h2 takes when its PING is answered. We keep that PING and answer it
/// ourselves, so that the time between the steps is ours to choose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pong {
    NotAsked,
    Asked,
    Given,
}

/// The part of a [`Wire`] that its connection and its streams can see while h2 owns the wire.
#[derive(Debug)]
pub(super) struct Shared {
    conn: RefCell<Option<Conn>>,
    rx_bytes: Cell<u64>,
    tx_bytes: Cell<u64>,
    fate: Cell<Fate>,
    /// From the last GOAWAY of a server.
    goaway_last: Cell<Option<u32>>,
    pong: Cell<Pong>,
    reset_by_us: RefCell<VecDeque<u32>>,
    /// The largest stream that either side has opened.
    last_stream: Cell<u32>,
    data_sent: Cell<u64>,
    /// h2 has let go of the wire.
    is_gone: Cell<bool>,
    /// Streams that wait for their frames to leave.
    waiting: Cell<usize>,
    /// How much of each stream has left. A stream is here from its first frame until it is dropped.
    sent: RefCell<BTreeMap<u32, Sent>>,
    stats: Http2Stats,
}

/// How much of a stream's payload and how many of its heads (trailers count) have left for the socket, or are
/// to leave.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Amount {
    pub(super) heads: u32,
    pub(super) payload_bytes: u64,
}

#[derive(Debug, Default)]
struct Sent {
    amount: Amount,
    waiting: Option<Waker>,
}

impl Shared {
    /// Ready when `amount` of `stream` has left, or will never leave. Until then a reset would throw it away:
    /// h2 drops what a stream has queued when the stream is reset.
    pub(super) fn poll_sent(&self, stream: u32, amount: Amount, cx: &mut Context<'_>) -> Poll<()> {
        let mut sent = self.sent.borrow_mut();
        let sent = sent.entry(stream).or_default();
        let has_left = sent.amount.heads >= amount.heads && sent.amount.payload_bytes >= amount.payload_bytes;
        if has_left || self.is_gone.get() || self.fate.get() != Fate::Alive {
            return Poll::Ready(());
        }
        if sent.waiting.replace(cx.waker().clone()).is_none() {
            self.waiting.set(self.waiting.get() + 1);
        }
        Poll::Pending
    }

    /// The stream is over: its count is of no more use.
    pub(super) fn forget_stream(&self, stream: u32) {
        if let Some(Sent { waiting: Some(_), .. }) = self.sent.borrow_mut().remove(&stream) {
            self.waiting.set(self.waiting.get().saturating_sub(1));
        }
    }

    /// A frame of h2's begins to leave.
    fn note_sent(&self, frame: FrameHead, payload: &[u8]) {
        match frame.kind {
            // The first step of a drain is a notice, and not counted (nor does Envoy).
            GOAWAY if be_u32(payload).is_none_or(|last| last != STREAM_ID_MAX) => self.stats.goaway_sent.inc(),
            RST_STREAM => self.stats.tx_reset.inc(),
            HEADERS => self.note_stream(frame.stream),
            DATA => self.data_sent.set(self.data_sent.get().saturating_add(1)),
            _ => {}
        }
        let mut streams = self.sent.borrow_mut();
        let Some(sent) = streams.get_mut(&frame.stream) else { return };
        match frame.kind {
            HEADERS => sent.amount.heads += 1,
            DATA => sent.amount.payload_bytes += u64::try_from(frame.len).unwrap_or(u64::MAX),
            _ => return,
        }
        self.wake(sent);
    }

    fn note_stream(&self, stream: u32) {
        self.last_stream.set(self.last_stream.get().max(stream));
    }

    /// A frame of the peer's has come.
    fn note_received(&self, frame: FrameHead, floods: &mut Floods) {
        if frame.kind == HEADERS {
            self.note_stream(frame.stream);
        }
        // Stream ids of clients are odd, and no server of ours or theirs pushes.
        let streams = u64::from(self.last_stream.get()).div_ceil(2);
        let Some(flood) = floods.note(frame, streams, self.data_sent.get()) else { return };
        if self.fate.get() == Fate::Alive {
            match flood {
                Flood::EmptyFrames => self.stats.inbound_empty_frames_flood.inc(),
                Flood::Priorities => self.stats.inbound_priority_frames_flood.inc(),
                Flood::WindowUpdates => self.stats.inbound_window_update_frames_flood.inc(),
            }
        }
        self.fail(Fate::Flooded);
    }

    fn wake(&self, sent: &mut Sent) {
        if let Some(waiting) = sent.waiting.take() {
            self.waiting.set(self.waiting.get().saturating_sub(1));
            waiting.wake();
        }
    }

    /// Counts what leaves of `stream`, from now on.
    pub(super) fn watch_stream(&self, stream: u32) {
        self.sent.borrow_mut().insert(stream, Sent::default());
    }

    /// Has a head of `stream` begun to leave?
    pub(super) fn has_begun(&self, stream: u32) -> bool {
        self.sent.borrow().get(&stream).is_some_and(|sent| sent.amount.heads > 0)
    }

    /// Notes that the application resets `stream` itself, so that the frame is not taken for h2's verdict.
    pub(super) fn expect_reset(&self, stream: u32) {
        let mut reset_by_us = self.reset_by_us.borrow_mut();
        if reset_by_us.len() == RESETS_REMEMBERED_MAX {
            reset_by_us.pop_front();
        }
        reset_by_us.push_back(stream);
    }

    /// Lets h2 take the second step of the drain at its next poll.
    pub(super) fn answer_shutdown_ping(&self) {
        if self.pong.get() == Pong::NotAsked {
            self.pong.set(Pong::Asked);
        }
    }

    /// Takes the socket away; h2 sees the end of the stream from here on.
    pub(super) fn take_conn(&self) -> Option<Conn> {
        self.fail(Fate::Dropped);
        self.conn.take()
    }

    /// What the system would let us read, whatever the event loop has told.
    pub(super) fn look(&self) -> Look {
        self.conn.borrow().as_ref().map_or(Look::Closed, Conn::look)
    }

    pub(super) fn rx_bytes(&self) -> u64 {
        self.rx_bytes.get()
    }

    pub(super) fn tx_bytes(&self) -> u64 {
        self.tx_bytes.get()
    }

    pub(super) fn fate(&self) -> Fate {
        self.fate.get()
    }

    pub(super) fn goaway_received(&self) -> bool {
        self.goaway_last.get().is_some()
    }

    /// Has the server said that it will not process this stream?
    pub(super) fn is_refused(&self, stream: u32) -> bool {
        self.goaway_last.get().is_some_and(|last| stream > last)
    }

    /// The first misfortune is the cause; what follows is its consequence.
    fn fail(&self, fate: Fate) {
        if self.fate.get() == Fate::Alive {
            self.fate.set(fate);
        }
        self.wake_all();
    }

    /// Whoever waits for a frame to leave waits in vain.
    fn wake_all(&self) {
        for sent in self.sent.borrow_mut().values_mut() {
            self.wake(sent);
        }
    }
}

/// The IO type that h2 is given.
#[derive(Debug)]
pub(super) struct Wire {
    shared: Rc<Shared>,
    role: Role,
    /// Bytes that h2 reads before those of the socket.
    ahead: Bytes,
    reading: Scanner,
    floods: Floods,
    /// Bytes of the current outgoing frame that h2 has yet to write.
    writing_left: usize,
    /// Our SETTINGS, until they have taken the place of h2's.
    settings: Option<Bytes>,
    /// What is being written in the place of one of h2's frames, and the length of that frame.
    instead: Bytes,
    replaced: usize,
    /// Frames that wait for company; see [`Company`].
    held: BytesMut,
    company: Company,
}

/// A stream that waits for its last frame to leave will say more as soon as it has: RST_STREAM, mostly. Both go
/// out in one write, as Envoy's do. Written one after the other, the first could travel to the end of the chain
/// and its answer come back before the second is on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Company {
    /// What is held goes out with the next flush.
    Here,
    /// The streams have been told; they get one turn before what is held goes out.
    Invited,
}

/// What may be held back. Bytes; past that nothing waits for company.
const HELD_BYTES_MAX: usize = 64 * 1024;

impl Wire {
    pub(super) fn new(
        conn: Conn,
        role: Role,
        options: &Http2Options,
        already_read: Bytes,
        stats: &Http2Stats,
    ) -> (Self, Rc<Shared>) {
        let shared = Rc::new(Shared {
            conn: RefCell::new(Some(conn)),
            rx_bytes: Cell::new(u64::try_from(already_read.len()).unwrap_or(u64::MAX)),
            tx_bytes: Cell::new(0),
            fate: Cell::new(Fate::Alive),
            goaway_last: Cell::new(None),
            pong: Cell::new(Pong::NotAsked),
            reset_by_us: RefCell::default(),
            last_stream: Cell::new(0),
            data_sent: Cell::new(0),
            is_gone: Cell::new(false),
            waiting: Cell::new(0),
            sent: RefCell::default(),
            stats: stats.clone(),
        });
        // The client's preface is no frame: it is stepped over like the rest of one.
        let (reading_left, writing_left) = match role {
            Role::Client => (0, PREFACE.len()),
            Role::Server => (PREFACE.len(), 0),
        };
        let wire = Self {
            shared: Rc::clone(&shared),
            role,
            ahead: already_read,
            reading: Scanner::after(reading_left),
            floods: Floods::new(options.floods),
            writing_left,
            settings: Some(settings_frame(role, options)),
            instead: Bytes::new(),
            replaced: 0,
            held: BytesMut::new(),
            company: Company::Here,
        };
        (wire, shared)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.shared.pong.get() == Pong::Asked && self.ahead.is_empty() && self.reading.is_between_frames() {
            self.shared.pong.set(Pong::Given);
            self.ahead = shutdown_pong();
        }
        if !self.ahead.is_empty() {
            let taken = self.ahead.split_to(self.ahead.len().min(buf.remaining()));
            buf.put_slice(&taken);
            return Poll::Ready(Ok(()));
        }
        let mut conn = self.shared.conn.borrow_mut();
        let Some(conn) = conn.as_mut() else { return Poll::Ready(Ok(())) };
        let before = buf.filled().len();
        if let Err(error) = ready!(Pin::new(conn).poll_read(cx, buf)) {
            self.shared.fail(Fate::Reset);
            return Poll::Ready(Err(error));
        }
        match buf.filled().len() - before {
            0 => self.shared.fail(Fate::Closed),
            read => add(&self.shared.rx_bytes, read),
        }
        Poll::Ready(Ok(()))
    }

    /// Judges what h2 wants to write, of which `first` is the part that holds frame heads.
    fn plan(&self, first: &[u8]) -> Plan {
        if self.replaced > 0 {
            return Plan::Resume;
        }
        let mut pass = self.writing_left.min(first.len());
        while let Some(frame) = first.get(pass..).filter(|frame| !frame.is_empty()) {
            match self.judge(frame) {
                Verdict::Pass => pass = first.len().min(pass + frame_len(frame)),
                _ if pass > 0 => break,
                Verdict::Fail(stream) => return Plan::Fail(stream),
                Verdict::Replace(instead) => return Plan::Replace(instead, frame_len(frame).min(first.len())),
            }
        }
        Plan::Pass(pass)
    }

    fn judge(&self, frame: &[u8]) -> Verdict {
        let Some(head) = FrameHead::parse(frame) else { return Verdict::Pass };
        let payload = frame.get(FRAME_HEAD_LEN..).unwrap_or_default();
        let is_server = self.role == Role::Server;
        match head.kind {
            SETTINGS if head.flags & ACK == 0 => match &self.settings {
                None => Verdict::Pass,
                Some(settings) => Verdict::Replace(settings.clone()),
            },
            PING if head.flags & ACK == 0 && payload.starts_with(&SHUTDOWN) => Verdict::Replace(Bytes::new()),
            RST_STREAM if is_server && be_u32(payload) == Some(PROTOCOL_ERROR) => self.judge_reset(head.stream),
            GOAWAY if is_server => match payload.split_first_chunk() {
                Some((last, rest)) if be_u32(rest) == Some(PROTOCOL_ERROR) => self.judge_goaway(*last),
                _ => Verdict::Pass,
            },
            _ => Verdict::Pass,
        }
    }

    /// h2 found a message malformed: connection headers, a missing or an unwanted pseudo-header, a body that
    /// does not have its content-length. Envoy drops the connection, and so do we.
    fn judge_reset(&self, stream: u32) -> Verdict {
        match self.shared.reset_by_us.borrow().contains(&stream) {
            true => Verdict::Pass,
            false => Verdict::Fail(Some(stream)),
        }
    }

    /// h2 found PROTOCOL_ERROR in the frames themselves.
    fn judge_goaway(&self, last: [u8; 4]) -> Verdict {
        let is_known = (1..=u32::from_be_bytes(last)).contains(&self.reading.stream);
        if self.reading.kind == DATA && is_known {
            // RFC 9113 5.1, half-closed (remote): the code is STREAM_CLOSED. The text is nghttp2's.
            return Verdict::Replace(goaway_frame(last, STREAM_CLOSED, b"DATA: stream in half-closed(remote)"));
        }
        if self.reading.saw_header_block {
            // An upper-case field name is an HPACK error to h2, a malformed message to Envoy.
            return Verdict::Fail(None);
        }
        Verdict::Pass
    }

    /// Writes what stands in the place of h2's frame, then reports that frame as written.
    fn poll_replace(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_held(cx))?;
        while !self.instead.is_empty() {
            let written = ready!(poll_conn(&self.shared, |conn| conn.poll_write(cx, &self.instead)))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(written);
        }
        Poll::Ready(Ok(std::mem::take(&mut self.replaced)))
    }

    /// Steps over `written` bytes that began with `first`; what lies beyond `first` is payload.
    fn advance(&mut self, first: &[u8], written: usize) {
        let mut at = self.writing_left;
        while at < written {
            let Some(frame) = first.get(at..).filter(|frame| !frame.is_empty()) else { break };
            if let Some(head) = FrameHead::parse(frame) {
                self.shared.note_sent(head, frame.get(FRAME_HEAD_LEN..).unwrap_or_default());
            }
            at += frame_len(frame);
        }
        self.writing_left = at.saturating_sub(written);
    }

    fn poll_pass(&mut self, cx: &mut Context<'_>, first: &[u8], bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        let holds = self.shared.waiting.get() > 0 || !self.held.is_empty();
        if holds && self.held.len() + len <= HELD_BYTES_MAX {
            bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
            self.advance(first, len);
            return Poll::Ready(Ok(len));
        }
        ready!(self.poll_held(cx))?;
        let written = ready!(poll_conn(&self.shared, |conn| conn.poll_write_vectored(cx, bufs)))?;
        self.advance(first, written);
        Poll::Ready(Ok(written))
    }

    /// Writes what was held back.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(poll_conn(&self.shared, |conn| conn.poll_write(cx, &self.held)))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        self.held = BytesMut::new(); // an idle connection keeps no buffer
        self.company = Company::Here;
        Poll::Ready(Ok(()))
    }

    fn carry_out(&mut self, plan: Plan, cx: &mut Context<'_>, first: &[u8]) -> Poll<io::Result<usize>> {
        match plan {
            Plan::Fail(stream) => {
                self.shared.fail(Fate::InvalidMessage(stream));
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
            Plan::Pass(pass) => {
                let pass = first.get(..pass).unwrap_or(first);
                self.poll_pass(cx, first, &[io::IoSlice::new(pass)])
            }
            Plan::Replace(instead, len) => {
                // The first frame that is ever replaced is h2's SETTINGS: it stands at the start.
                self.settings = None;
                self.instead = instead;
                self.replaced = len;
                self.poll_replace(cx)
            }
            Plan::Resume => self.poll_replace(cx),
        }
    }
}

/// What to do with the bytes that h2 wants to write.
enum Plan {
    /// The peer's message on this stream is malformed.
    Fail(Option<u32>),
    /// So many may go out.
    Pass(usize),
    /// These go out in the place of a frame, which has this length.
    Replace(Bytes, usize),
    /// Go on replacing.
    Resume,
}

/// What to do with a frame of h2.
enum Verdict {
    Fail(Option<u32>),
    Pass,
    Replace(Bytes),
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.is_gone.set(true);
        self.shared.wake_all();
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(this.poll_fill(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let first = (this.role == Role::Client).then_some(SETTINGS);
        let is_http2 = this.reading.scan(fresh, first, |frame| this.shared.note_received(frame, &mut this.floods));
        this.shared.stats.rx_reset.add(this.reading.take_resets());
        // A client's GOAWAY speaks of pushed streams, and we push none.
        this.shared.goaway_last.set(this.reading.goaway_last().filter(|_| this.role == Role::Client));
        if !is_http2 {
            this.shared.fail(Fate::NotHttp2);
        }
        if !is_http2 || this.shared.fate() == Fate::Flooded {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.carry_out(this.plan(buf), cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        // h2 puts frame heads into its own buffer, which comes first, and chains at most one payload to it.
        let first = bufs.iter().map(|buf| &**buf).find(|buf| !buf.is_empty()).unwrap_or_default();
        let plan = this.plan(first);
        if matches!(plan, Plan::Pass(pass) if pass == first.len()) {
            return this.poll_pass(cx, first, bufs);
        }
        this.carry_out(plan, cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.shared.conn.borrow().as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.held.is_empty() && this.company == Company::Here {
            this.company = Company::Invited;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(this.poll_held(cx))?;
        match this.shared.conn.borrow_mut().as_mut() {
            None => Poll::Ready(Ok(())),
            Some(conn) => Pin::new(conn).poll_flush(cx),
        }
    }

    /// Only flushes: the socket is closed by dropping it, at a time that the owner of the connection chooses.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// Writes to the socket and notes how it went.
fn poll_conn(
    shared: &Shared,
    write: impl FnOnce(Pin<&mut Conn>) -> Poll<io::Result<usize>>,
) -> Poll<io::Result<usize>> {
    let mut conn = shared.conn.borrow_mut();
    let Some(conn) = conn.as_mut() else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
    let written = ready!(write(Pin::new(conn)));
    match &written {
        Ok(written) => add(&shared.tx_bytes, *written),
        Err(_) => shared.fail(Fate::Reset),
    }
    Poll::Ready(written)
}

fn add(counter: &Cell<u64>, bytes: usize) {
    counter.set(counter.get().saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)));
}
