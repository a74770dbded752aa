//! For the tests of this folder: a peer that follows a script, and a reader that says what it read.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use http::{HeaderValue, Method};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::parse::{self, RequestRules};
use super::{HeadError, Incoming, Methods, NameRules, ServerConnection, ServerOptions, serialise};
use crate::codec::{ExchangeError, Frame, Payload, RequestHead};
use crate::config::header_names::{NameCase, TrailerRule};
use crate::net::{Address, Conn, Io, Peek};

/// What the peer does once it has sent everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Then {
    Fin,
    Rst,
    Silence,
}

/// What the other end of a scripted connection has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) bytes: Vec<u8>,
    pub(super) writes: usize,
    pub(super) aborted: bool,
    pub(super) closed: bool,
    /// Bytes that one write takes; none when zero.
    pub(super) window: usize,
}

impl Seen {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A connection whose peer sends `pieces`, one for each read and a pause before each, and then does `then`.
pub(super) fn connect(pieces: &[&[u8]], then: Then) -> (Conn, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen { window: usize::MAX, ..Seen::default() }));
    let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
    let io = Script { pieces, pause: true, then, seen: Arc::clone(&seen) };
    let at = Address::Internal("test".into());
    (Conn::new(Box::new(io), at.clone(), at), seen)
}

pub(super) fn look(seen: &Arc<Mutex<Seen>>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap()
}

struct Script {
    pieces: VecDeque<Vec<u8>>,
    pause: bool,
    then: Then,
    seen: Arc<Mutex<Seen>>,
}

impl Io for Script {
    fn abort_on_drop(&mut self) {
        look(&self.seen).aborted = true;
    }

    fn peek(&self) -> Peek {
        match (self.pieces.front(), self.then) {
            (Some(_), _) => Peek::Bytes,
            (None, Then::Fin) => Peek::Closed,
            (None, Then::Rst) => Peek::Reset,
            (None, Then::Silence) => Peek::Open,
        }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        look(&self.seen).closed = true;
    }
}

impl AsyncRead for Script {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.pause = !self.pause;
        if !self.pause {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(mut piece) = self.pieces.pop_front() else {
            return match self.then {
                Then::Fin => Poll::Ready(Ok(())),
                Then::Rst => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Then::Silence => Poll::Pending,
            };
        };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        buf.put_slice(&piece);
        if !rest.is_empty() {
            self.pieces.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut seen = look(&self.seen);
        let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).take(seen.window).collect();
        if bytes.is_empty() {
            return Poll::Pending;
        }
        seen.bytes.extend_from_slice(&bytes);
        seen.writes += 1;
        Poll::Ready(Ok(bytes.len()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Polls to the end; `None` if that never comes.
pub(super) fn finish<F: Future>(future: F) -> Option<F::Output> {
    const POLLS_MAX: usize = 200_000; // a 180 KB head in pieces of 7 bytes takes 52,000
    let (mut future, mut cx) = (pin!(future), Context::from_waker(Waker::noop()));
    (0..POLLS_MAX).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

/// The whole body as text, or what broke it.
pub(super) fn read_body(incoming: &mut Incoming) -> Result<String, ExchangeError> {
    let mut body = Vec::new();
    let next = |incoming: &mut Incoming| finish(std::future::poll_fn(|cx| incoming.poll_frame(cx)));
    while let Some(frame) = next(incoming).expect("the body has an end") {
        match frame? {
            Frame::Data(data) => {
                assert!(!data.is_empty(), "an empty frame");
                body.extend_from_slice(&data);
            }
            Frame::Trailers(_) => panic!("HTTP/1 drops trailers"),
        }
    }
    assert!(incoming.is_complete());
    Ok(String::from_utf8_lossy(&body).into_owned())
}

pub(super) const OPTIONS: ServerOptions = ServerOptions {
    head_bytes_max: 60 * 1024,
    headers_max: 100,
    accept_http_10: false,
    methods: Methods::Known,
    trailers: TrailerRule::Dropped,
    names: NameRules::PLAIN,
    write_buffer_bytes_max: 1024 * 1024,
};

/// What a server reads of a request that is sent to it.
pub(crate) fn sent_and_read(head: &RequestHead) -> Option<RequestHead> {
    let mut sent = BytesMut::new();
    serialise::request(&mut sent, head, Payload::None, NameCase::Lower);
    let rules =
        RequestRules { accept_http_10: false, methods: Methods::Known, headers_max: 100, names: NameRules::PLAIN };
    let (found, length) = parse::request(&sent.clone().freeze(), rules).ok()??;
    (length == sent.len()).then_some(found.head)
}

/// What a server makes of `pieces` before the client's FIN: a line per request, and one for what is wrong.
pub(super) fn requests(pieces: &[&[u8]], options: ServerOptions) -> Vec<String> {
    let (conn, _) = connect(pieces, Then::Fin);
    let mut server = ServerConnection::new(conn, BytesMut::new(), options);
    let mut lines = Vec::new();
    while finish(server.wait()).expect("the client closes").expect("without RST") {
        let (head, mut body) = match finish(server.read_head()).expect("the client closes") {
            Ok(read) => read,
            Err(HeadError::Refused(refusal)) => {
                lines.push(format!("{} {}", refusal.status().as_u16(), refusal));
                return lines;
            }
            Err(HeadError::Lost(broken)) => {
                lines.push(format!("head: {broken}"));
                return lines;
            }
        };
        let text = |value: &Option<HeaderValue>| {
            value.as_ref().map_or("-".into(), |v| v.as_bytes().escape_ascii().to_string())
        };
        let mut line = format!("{} {} {}", head.method, text(&head.authority), text(&head.path));
        if let Some(scheme) = &head.scheme {
            line = format!("{line} ({})", scheme.to_str().unwrap());
        }
        let body = read_body(&mut body);
        lines.push(match &body {
            Ok(body) if body.is_empty() => line,
            Ok(body) => format!("{line} {body:?}"),
            Err(broken) => format!("{line} body: {broken}"),
        });
        if body.is_err() {
            return lines;
        }
        assert_eq!(server.is_reusable(), head.method != Method::CONNECT);
    }
    lines
}
