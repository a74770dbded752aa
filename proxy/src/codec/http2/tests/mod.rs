//! Both ends against each other, and each against frames made by hand.

mod bounds;
mod canary;
mod cuts;
mod endings;
mod exchanges;
mod forbidden;
mod malformed;
mod neighbours;
mod refusals;
mod targets;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::MessageErrorScope::{Connection, Stream};
use super::bounds::{QUEUE_BYTES_MAX, STREAM_BUFFER_BYTES_MAX};
use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE,
};
use super::*;
use crate::codec::{Payload, RequestHead, ResponseHead};
use crate::config::listener::Http2Options;
use crate::net::testing::{Reads, TakesAll};
use crate::net::{Address, Conn, Io, Peek};
use crate::stats::{Http2Stats, Registry};

pub(super) const LIMIT: ListLimit = ListLimit { bytes: 60 * 1024, fields: 100 };
/// What a pipe between two ends holds.
pub(super) const PIPE_BYTES_MAX: usize = 64 * 1024;

pub(super) const GET: &[(&str, &str)] = &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
pub(super) const WEBSOCKET: &[(&str, &str)] =
    &[(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a"), (":path", "/chat")];

/// A socket whose peer has sent RST.
pub(super) struct ResetByPeer;

impl Reads for ResetByPeer {
    fn poll_read(&mut self, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

struct Pipe(DuplexStream);

impl Io for Pipe {
    fn abort_on_drop(&mut self) {}

    fn peek(&self) -> Peek {
        Peek::Open
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

pub(super) fn address() -> Address {
    Address::Socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

pub(super) fn conn(io: DuplexStream) -> Conn {
    Conn::new(Box::new(Pipe(io)), address(), address())
}

pub(super) fn request(method: Method, protocol: Option<&'static str>) -> RequestHead {
    RequestHead {
        method,
        scheme: None,
        authority: Some(HeaderValue::from_static("lab.test")),
        path: Some(HeaderValue::from_static("/p?q=1")),
        protocol: protocol.map(HeaderValue::from_static),
        version: Version::HTTP_11,
        headers: Headers::of(&[("x-one", "1"), ("x-two", "2"), ("x-two", "3")]),
    }
}

pub(super) async fn data(incoming: &mut Incoming) -> Bytes {
    match poll_fn(|cx| incoming.poll_frame(cx)).await {
        Some(Ok(Frame::Data(data))) => data,
        other => panic!("expected data, not {other:?}"),
    }
}

pub(super) async fn read_all(incoming: &mut Incoming) -> Result<(Vec<u8>, Option<Headers>), ExchangeError> {
    let mut body = Vec::new();
    let mut last = None;
    while let Some(frame) = poll_fn(|cx| incoming.poll_frame(cx)).await {
        match frame? {
            Frame::Data(data) => body.extend_from_slice(&data),
            Frame::Trailers(trailers) => last = Some(trailers),
        }
    }
    Ok((body, last))
}

/// Keeps a server's bytes moving while `work` is done; nothing may be accepted meanwhile.
pub(super) async fn while_serving<T>(server: &mut ServerConnection, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut accept = pin!(server.accept());
    poll_fn(|cx| {
        // Serving first, so that `work` sees what it led to.
        assert!(accept.as_mut().poll(cx).is_pending(), "nothing is expected meanwhile");
        work.as_mut().poll(cx)
    })
    .await
}

pub(super) type Accepted = (RequestHead, Incoming, Responder);

/// What a spawned server has accepted.
pub(super) struct Requests(tokio::sync::mpsc::UnboundedReceiver<Accepted>);

impl Requests {
    pub(super) async fn next(&mut self) -> Option<Accepted> {
        self.0.recv().await
    }
}

/// A client and a server with a pipe between, both driven for as long as the test runs.
pub(super) async fn both_ends(
    pipe: usize,
    options: &Http2Options,
) -> (ClientConnection, Requests, [JoinHandle<()>; 2]) {
    let (left, right) = duplex(pipe);
    let (client, driver) = ClientConnection::handshake(conn(left), options, Stream, &stats()).await.unwrap();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let options = *options;
    let serving = spawn_local(async move {
        let shaken =
            ServerConnection::handshake(conn(right), Bytes::new(), &options, Stream, LIMIT, &stats(), Counting::Off)
                .await;
        let mut server = shaken.unwrap();
        while let Some(accepted) = server.accept().await {
            drop(sender.send(accepted.unwrap()));
        }
    });
    let driving = spawn_local(async move {
        driver.await;
    });
    (client, Requests(receiver), [serving, driving])
}

/// A server, and its client made by hand, which has sent its preface and its SETTINGS.
pub(super) async fn raw_client(options: &Http2Options) -> (Raw, ServerConnection) {
    raw_client_with(options, Stream, LIMIT).await
}

pub(super) async fn raw_client_with(
    options: &Http2Options,
    errors: MessageErrorScope,
    limit: ListLimit,
) -> (Raw, ServerConnection) {
    let (io, server) = duplex(PIPE_BYTES_MAX);
    let mut raw = Raw { io, seen: VecDeque::new(), driver: None };
    // The sniffer has read a part of the preface.
    let (sniffed, rest) = PREFACE.split_at(10);
    raw.io.write_all(rest).await.unwrap();
    raw.send(SETTINGS, 0, 0, &[]).await;
    let sniffed = Bytes::from_static(sniffed);
    let shaken =
        ServerConnection::handshake(conn(server), sniffed, options, errors, limit, &stats(), Counting::Off).await;
    let mut server = shaken.unwrap();
    assert!(timeout(Duration::from_millis(1), server.accept()).await.is_err(), "there is no request yet");
    (raw, server)
}

/// A client, and its server made by hand, which has read the preface and has yet to send its SETTINGS.
pub(super) async fn raw_server() -> (Raw, ClientConnection) {
    raw_server_with(Stream).await
}

pub(super) async fn raw_server_with(errors: MessageErrorScope) -> (Raw, ClientConnection) {
    let (io, client) = duplex(PIPE_BYTES_MAX);
    let options = Http2Options::default();
    let (client, driver) = ClientConnection::handshake(conn(client), &options, errors, &stats()).await.unwrap();
    let mut raw = Raw { io, seen: VecDeque::new(), driver: Some(spawn_local(driver)) };
    let mut preface = vec![0; PREFACE.len()];
    raw.io.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, PREFACE);
    (raw, client)
}

/// An end that writes frames by hand and keeps those it has read.
pub(super) struct Raw {
    pub(super) io: DuplexStream,
    pub(super) seen: VecDeque<RawFrame>,
    /// The task that drives the other end, where that is a client.
    pub(super) driver: Option<JoinHandle<DriverEnd>>,
}

#[derive(Clone, Debug)]
pub(super) struct RawFrame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Raw {
    pub(super) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.io.write_all(&frame).await.unwrap();
    }

    pub(super) async fn frame(&mut self) -> RawFrame {
        self.next().await.expect("the connection ended")
    }

    pub(super) async fn frame_of(&mut self, kind: u8) -> RawFrame {
        loop {
            let frame = self.frame().await;
            if frame.kind == kind {
                return frame;
            }
        }
    }

    pub(super) async fn until_closed(&mut self) {
        while self.next().await.is_some() {}
    }

    pub(super) async fn next(&mut self) -> Option<RawFrame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).await.ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.io.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = RawFrame { kind: head[3], flags: head[4], stream, payload };
        self.seen.push_back(frame.clone());
        Some(frame)
    }
}

impl RawFrame {
    /// The number at `at` in the payload.
    pub(super) fn code(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub(super) fn settings(&self) -> Vec<(u16, u32)> {
        let setting =
            |raw: &[u8]| (u16::from_be_bytes([raw[0], raw[1]]), u32::from_be_bytes(raw[2..6].try_into().unwrap()));
        self.payload.chunks(6).map(setting).collect()
    }
}

/// A header block of literals without indexing, RFC 7541 6.2.2.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|len| *len < 127).expect("short enough for one byte"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// Counts that no test reads.
pub(super) fn stats() -> Http2Stats {
    Http2Stats::downstream(&Registry::new())
}
