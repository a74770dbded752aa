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
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::config::listener::Http2Options;
use crate::net::Conn;

/// RFC 9113 3.4.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// RFC 9113 4.1.
const FRAME_HEAD_LEN: usize = 9;

// Frame types, RFC 9113 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const PROTOCOL_ERROR: u32 = 1;
const STREAM_CLOSED: u32 = 5;

/// What h2 puts into the PING of a graceful shutdown.
const SHUTDOWN: [u8; 8] = [0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54];
/// The head of the frame that answers it, RFC 9113 6.7.
const PONG_HEAD: [u8; FRAME_HEAD_LEN] = [0, 0, 8, PING, ACK, 0, 0, 0, 0];

/// Streams remembered as reset by us. A reset leaves with the next flush, so few are ever waiting.
const RESETS_REMEMBERED_MAX: usize = 1024;

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Role {
    Client,
    Server,
}

/// What became of the connection, as far as it has been seen from the socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Alive,
    /// The peer sent FIN.
    Closed,
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
    bytes_read: Cell<u64>,
    bytes_written: Cell<u64>,
    fate: Cell<Fate>,
    goaway_received: Cell<bool>,
    pong: Cell<Pong>,
    reset_by_us: RefCell<VecDeque<u32>>,
}

impl Shared {
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

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    pub(super) fn bytes_written(&self) -> u64 {
        self.bytes_written.get()
    }

    pub(super) fn fate(&self) -> Fate {
        self.fate.get()
    }

    pub(super) fn goaway_received(&self) -> bool {
        self.goaway_received.get()
    }

    /// The first misfortune is the cause; what follows is its consequence.
    fn fail(&self, fate: Fate) {
        if self.fate.get() == Fate::Alive {
            self.fate.set(fate);
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
    /// Bytes of the current outgoing frame that h2 has yet to write.
    writing_left: usize,
    /// Our SETTINGS, until they have taken the place of h2's.
    settings: Option<Bytes>,
    /// What is being written in the place of one of h2's frames, and the length of that frame.
    instead: Bytes,
    replaced: usize,
}

impl Wire {
    pub(super) fn new(conn: Conn, role: Role, options: &Http2Options, already_read: Bytes) -> (Self, Rc<Shared>) {
        let shared = Rc::new(Shared {
            conn: RefCell::new(Some(conn)),
            bytes_read: Cell::new(u64::try_from(already_read.len()).unwrap_or(u64::MAX)),
            bytes_written: Cell::new(0),
            fate: Cell::new(Fate::Alive),
            goaway_received: Cell::new(false),
            pong: Cell::new(Pong::NotAsked),
            reset_by_us: RefCell::default(),
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
            reading: Scanner { left: reading_left, ..Scanner::default() },
            writing_left,
            settings: Some(settings_frame(role, options)),
            instead: Bytes::new(),
            replaced: 0,
        };
        (wire, shared)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.shared.pong.get() == Pong::Asked && self.ahead.is_empty() && self.reading.is_between_frames() {
            self.shared.pong.set(Pong::Given);
            self.ahead = Bytes::from([&PONG_HEAD[..], &SHUTDOWN].concat());
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
            read => add(&self.shared.bytes_read, read),
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
            at += frame_len(frame);
        }
        self.writing_left = at.saturating_sub(written);
    }

    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        write: impl FnOnce(Pin<&mut Conn>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = ready!(poll_conn(&self.shared, |conn| write(conn, cx)))?;
        self.advance(first, written);
        Poll::Ready(Ok(written))
    }

    fn carry_out(&mut self, plan: Plan, cx: &mut Context<'_>, first: &[u8]) -> Poll<io::Result<usize>> {
        match plan {
            Plan::Fail(stream) => {
                self.shared.fail(Fate::InvalidMessage(stream));
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
            Plan::Pass(pass) => {
                let pass = first.get(..pass).unwrap_or(first);
                self.poll_pass(cx, first, |conn, cx| conn.poll_write(cx, pass))
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

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(this.poll_fill(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let Self { reading, shared, role, .. } = this;
        let is_http2 = reading.scan(fresh, |nth, kind| {
            shared.goaway_received.set(shared.goaway_received.get() || kind == GOAWAY);
            *role == Role::Server || nth > 0 || kind == SETTINGS
        });
        if !is_http2 {
            shared.fail(Fate::NotHttp2);
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
            return this.poll_pass(cx, first, |conn, cx| conn.poll_write_vectored(cx, bufs));
        }
        this.carry_out(plan, cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.shared.conn.borrow().as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.shared.conn.borrow_mut().as_mut() {
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
        Ok(written) => add(&shared.bytes_written, *written),
        Err(_) => shared.fail(Fate::Reset),
    }
    Poll::Ready(written)
}

/// Finds frame heads in a stream of bytes that is cut anywhere.
#[derive(Debug, Default)]
struct Scanner {
    head: [u8; FRAME_HEAD_LEN],
    head_len: usize,
    /// Payload of the current frame that has not passed yet.
    left: usize,
    /// Type and stream of the current frame, or of the last one.
    kind: u8,
    stream: u32,
    frames: u64,
    /// Did the last read hold a piece of a header block?
    saw_header_block: bool,
}

impl Scanner {
    /// Calls `on_frame` with the position and type of every frame that begins here; false as soon as it says no.
    fn scan(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(u64, u8) -> bool) -> bool {
        self.saw_header_block = self.left > 0 && is_header_block(self.kind);
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                self.left -= passed;
                bytes.advance(passed);
                continue;
            }
            let Some(slot) = self.head.get_mut(self.head_len) else { return false };
            *slot = bytes.get_u8();
            self.head_len += 1;
            let Some(head) = self.head.get(..self.head_len).and_then(FrameHead::parse) else { continue };
            self.head_len = 0;
            self.left = head.len;
            self.kind = head.kind;
            self.stream = head.stream;
            self.saw_header_block |= is_header_block(head.kind);
            if !on_frame(self.frames, head.kind) {
                return false;
            }
            self.frames += 1;
        }
        true
    }

    fn is_between_frames(&self) -> bool {
        self.left == 0 && self.head_len == 0
    }
}

#[derive(Clone, Copy)]
struct FrameHead {
    /// Of the payload.
    len: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl FrameHead {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = bytes.first_chunk::<FRAME_HEAD_LEN>()?;
        let len = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        Some(Self { len, kind: *kind, flags: *flags, stream: u32::from_be_bytes(*stream) & (u32::MAX >> 1) })
    }
}

/// The length of a frame with its head; a cut head counts as all that is there.
fn frame_len(frame: &[u8]) -> usize {
    FrameHead::parse(frame).map_or(frame.len(), |head| FRAME_HEAD_LEN + head.len)
}

fn is_header_block(kind: u8) -> bool {
    matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION)
}

fn be_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn add(counter: &Cell<u64>, bytes: usize) {
    counter.set(counter.get().saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)));
}

/// SETTINGS with Envoy's members in Envoy's order.
fn settings_frame(role: Role, options: &Http2Options) -> Bytes {
    let common = [
        (0x1, options.hpack_table_size),
        (0x8, u32::from(options.allow_connect)),
        (0x3, options.max_concurrent_streams.get()),
        (0x4, options.initial_stream_window_size),
    ];
    let no_push = (role == Role::Client).then_some((0x2, 0));
    let mut payload = BytesMut::new();
    for (id, value) in no_push.into_iter().chain(common) {
        payload.put_u16(id);
        payload.put_u32(value);
    }
    control_frame(SETTINGS, &payload)
}

fn goaway_frame(last: [u8; 4], code: u32, debug: &[u8]) -> Bytes {
    control_frame(GOAWAY, &[&last, &code.to_be_bytes(), debug].concat())
}

fn control_frame(kind: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_LEN + payload.len());
    frame.put_uint(u64::try_from(payload.len()).unwrap_or_default(), 3);
    frame.put_slice(&[kind, 0, 0, 0, 0, 0]);
    frame.put_slice(payload);
    frame.freeze()
}
