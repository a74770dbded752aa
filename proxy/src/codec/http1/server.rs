//! The server's side of a connection: requests in, responses out, one at a time.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::{Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::body::{Incoming, Outgoing, Sender};
use super::buffered_conn::{BufferedConn, Half, SharedConn};
use super::framing::Encoder;
use super::options::ServerOptions;
use super::parse::{self, RequestRules};
use super::refusal::HeadError;
use super::serialise;
use super::serialise::To;
use crate::codec::lingering::Lingering;
use crate::codec::{Counted, ExchangeError, InformationalSender, Payload, RequestHead, ResponseHead};
use crate::net::Conn;

/// One read of what is dropped.
const DISCARD_BYTES_MAX: usize = 4 * 1024; // it lies in the future that closes

/// A connection from a client.
#[derive(Debug)]
pub struct ServerConnection {
    conn: SharedConn,
    options: ServerOptions,
    /// Of the request under way. The response to one that was refused is in 1.1, whatever its version.
    version: Version,
    /// Fields of that request that were left out for their underscores.
    dropped_fields: u32,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Close {
    /// With RST, at once; what is queued is lost.
    Abort,
    /// With FIN behind what is queued; then what the peer still sends is read and dropped until it closes, or until the
    /// caller has waited enough: a peer that sends its whole request before it reads gets the response.
    FinThenDiscard,
    /// With FIN behind what is queued; then as [`Self::FlushThenWaitForPeer`]. For a client that learns of the end in no
    /// other way.
    FinThenWaitForPeer,
    /// As soon as what is queued has been written.
    Flush,
    /// When what is queued has been written and then the peer has closed, or the caller has waited enough and
    /// drops the future. Until then no FIN is sent and nothing is read, so that the response is not erased from
    /// the client's buffer by the RST that unread data provokes.
    FlushThenWaitForPeer,
}

impl ServerConnection {
    /// `already_read` is what was read from `conn` to find out that this is HTTP/1.
    #[must_use]
    pub fn new(conn: Conn, already_read: BytesMut, options: ServerOptions) -> Self {
        Self { conn: BufferedConn::shared(conn, already_read), options, version: Version::HTTP_11, dropped_fields: 0 }
    }

    /// Waits for the first byte of a request: true when it is there, false when the client has closed instead. A client
    /// that does not read its responses is not read either, once they fill the buffer.
    /// Empty lines before a request are skipped (RFC 9112 2.2).
    ///
    /// # Errors
    /// [`ExchangeError::ConnectionReset`]: the client's system sent RST.
    ///
    /// # Cancellation
    /// Safe to drop: what was read is kept.
    pub async fn wait(&mut self) -> Result<bool, ExchangeError> {
        poll_fn(|cx| self.poll_wait(cx)).await
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, ExchangeError>> {
        let mut conn = self.conn.borrow_mut();
        ready!(conn.poll_ready(cx, self.options.write_buffer_bytes_max))?;
        loop {
            if conn.skip_empty_lines() {
                return Poll::Ready(Ok(true));
            }
            match ready!(conn.poll_fill(cx)) {
                Ok(()) => {}
                Err(ExchangeError::Closed) => return Poll::Ready(Ok(false)),
                Err(broken) => return Poll::Ready(Err(broken)),
            }
        }
    }

    /// Reads a request head. The body that comes with it is to be read to its end before the next head.
    ///
    /// # Errors
    /// [`HeadError::Refused`] calls for a response, after which the connection closes; after [`HeadError::Lost`] there is
    /// no request to respond to.
    ///
    /// # Cancellation
    /// Safe to drop: what was read is kept.
    pub async fn read_head(&mut self) -> Result<(RequestHead, Incoming), HeadError> {
        let ServerOptions { accept_http_10, methods, headers_max, names, .. } = self.options;
        let rules = RequestRules { accept_http_10, methods, headers_max, names };
        self.version = Version::HTTP_11;
        let found = poll_fn(|cx| {
            let bytes_max = self.options.head_bytes_max;
            self.conn.borrow_mut().poll_head(cx, bytes_max, |input| parse::request(input, rules))
        })
        .await?;
        self.version = found.head.version;
        self.dropped_fields = found.dropped;
        let passed = (self.options.trailers, self.options.names.case);
        Ok((found.head, Incoming::new(&self.conn, found.decoder, Sender::Downstream, passed)))
    }

    /// The next exchange is counted there.
    pub fn count(&mut self, counted: Counted) {
        self.conn.borrow_mut().count(counted);
    }

    /// How many fields of the request that was read last were left out for their underscores.
    #[must_use]
    pub fn dropped_fields(&self) -> u32 {
        self.dropped_fields
    }

    /// Queues `100 Continue`, which goes out when the body is next polled.
    pub fn send_continue(&mut self) {
        self.conn.borrow_mut().queue_interim(|out| out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
    }

    /// A way to send informational responses while another owner has the request's body.
    #[must_use]
    pub fn informational_sender(&self) -> InformationalSender {
        let (conn, version, case) = (Rc::clone(&self.conn), self.version, self.options.names.case);
        InformationalSender::new(move |head| {
            // HTTP/1.0 does not define such responses (RFC 9110 15.2), so its client gets none.
            let is_known = version > Version::HTTP_10;
            if is_known {
                let to = To { method: &Method::GET, version, case };
                conn.borrow_mut().queue_interim(|out| serialise::response(out, head, Payload::None, to));
            }
            is_known
        })
    }

    /// Queues the head of the response to a request of method `to`. The framing fields are ours (RFC 9112 6): a
    /// content-length the head carries is kept where it holds, else the body is chunked, or ends with the
    /// connection for HTTP/1.0. `date` and `server` are the caller's, and so is `connection: close`.
    pub fn respond(&mut self, head: &ResponseHead, payload: Payload, to: &Method) -> Outgoing {
        let to = To { method: to, version: self.version, case: self.options.names.case };
        let encoder = self.conn.borrow_mut().queue_head(|out| serialise::response(out, head, payload, to));
        let ServerOptions { write_buffer_bytes_max, trailers, names, .. } = self.options;
        let mut outgoing = Outgoing::new(&self.conn, encoder, write_buffer_bytes_max, (trailers, names.case));
        if payload == Payload::None && encoder == Encoder::Nothing {
            outgoing.finish(None);
        }
        outgoing
    }

    /// May the next request be read? Yes, if the request was read to its end, the response was finished, and
    /// neither ends with the connection.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        let conn = self.conn.borrow();
        conn.reading == Half::Between && conn.writing == Half::Between
    }

    /// Ready when everything queued has left for the kernel.
    ///
    /// # Errors
    /// [`ExchangeError::ConnectionReset`]: it never will.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        self.conn.borrow_mut().poll_flush(cx)
    }

    /// Bytes received, heads and framing included.
    #[must_use]
    pub fn rx_bytes(&self) -> u64 {
        self.conn.borrow().rx_bytes()
    }

    /// Bytes sent, heads and framing included.
    #[must_use]
    pub fn tx_bytes(&self) -> u64 {
        self.conn.borrow().tx_bytes()
    }

    /// Ends the connection. Halves that still exist find it closed.
    ///
    /// # Cancellation
    /// Dropping the future is the way to stop waiting. While it waits for the peer, that closes the connection:
    /// with RST if the client sent more meanwhile, as the kernel does for unread data, else with FIN. While it
    /// still writes, the connection closes with the last of its halves.
    pub async fn close(self, how: Close) {
        let flushed = match how {
            Close::Abort => Ok(()),
            Close::FinThenDiscard | Close::FinThenWaitForPeer | Close::Flush | Close::FlushThenWaitForPeer => {
                poll_fn(|cx| self.conn.borrow_mut().poll_flush(cx)).await
            }
        };
        let peer_has_closed = flushed.is_err() || self.conn.borrow().has_ended();
        let Some(mut conn) = self.conn.borrow_mut().take_conn() else { return };
        match how {
            Close::Abort => conn.abort(),
            Close::Flush => drop(conn),
            Close::FinThenDiscard | Close::FinThenWaitForPeer | Close::FlushThenWaitForPeer if peer_has_closed => {
                drop(conn);
            }
            Close::FinThenDiscard => {
                drop(conn.shutdown().await); // a connection that is broken ends the next read
                let mut scratch = [0; DISCARD_BYTES_MAX];
                while let Ok(1..) = conn.read(&mut scratch).await {}
            }
            Close::FinThenWaitForPeer => {
                drop(conn.shutdown().await); // a broken connection has no peer to wait for, as the next line finds
                Lingering::new(conn).peer_closed().await;
            }
            Close::FlushThenWaitForPeer => Lingering::new(conn).peer_closed().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http::{HeaderName, HeaderValue, StatusCode};

    use super::super::buffered_conn::PIPELINE_BYTES_MAX;
    use super::super::testing::{OPTIONS, Seen, Then, connect, finish, look, read_body};
    use super::*;
    use crate::codec::buffer::{ByteQueue, held_max};
    use crate::codec::{Frame, Headers};

    type Fields = &'static [(&'static str, &'static str)];
    /// Request, status, fields, what follows; then what is sent, and whether another request may follow.
    type Case = (&'static [u8], u16, Fields, Payload, &'static str, bool);

    fn serve(pieces: &[&[u8]], then: Then, options: ServerOptions) -> (ServerConnection, Arc<Mutex<Seen>>) {
        let (conn, seen) = connect(pieces, then);
        (ServerConnection::new(conn, BytesMut::new(), options), seen)
    }

    fn read(server: &mut ServerConnection) -> (RequestHead, Incoming) {
        finish(server.read_head()).expect("the script has a request").expect("which is valid")
    }

    /// Bytes of memory that `pieces` keep alive, once nothing else does.
    fn held(pieces: Vec<Bytes>) -> usize {
        let capacity = |piece: Bytes| piece.try_into_mut().map_or_else(|shared| shared.len(), |own| own.capacity());
        pieces.into_iter().map(capacity).sum()
    }

    #[test]
    fn payload_keeps_no_more_than_twice_its_length_alive() {
        let extension = "e".repeat(4000);
        let tiny = format!("1;{extension}\r\nx\r\n").repeat(200);
        let medium =
            format!("1388\r\n{}\r\n{}", "m".repeat(5000), format!("1;{extension}\r\nx\r\n").repeat(6)).repeat(10);
        let bare = "1\r\nx\r\n".repeat(20_000);
        for chunks in [tiny, medium, bare] {
            let input =
                ["POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", &chunks, "0\r\n\r\n"].concat();
            for step in [40_000, 9_000, 700] {
                let pieces: Vec<_> = input.as_bytes().chunks(step).collect();
                let (mut server, _) = serve(&pieces, Then::Silence, OPTIONS);
                let (_, mut body) = read(&mut server);
                let mut queue = ByteQueue::default();
                while let Some(Ok(Frame::Data(data))) = finish(poll_fn(|cx| body.poll_frame(cx))).flatten() {
                    queue.push(data);
                }
                drop((server, body));
                assert!(queue.held_bytes() <= held_max(queue.len()));
                let length = queue.len();
                let taken: Vec<Bytes> = std::iter::from_fn(|| queue.take()).collect();
                let bytes = held(taken);
                assert!(bytes <= held_max(length), "{bytes} for {length} by {step}");
            }
        }
    }

    fn head(status: u16, fields: Fields) -> ResponseHead {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        ResponseHead { status: StatusCode::from_u16(status).unwrap(), version: Version::HTTP_11, headers }
    }

    fn flush(outgoing: &mut Outgoing) -> Option<Result<(), ExchangeError>> {
        finish(poll_fn(|cx| outgoing.poll_flush(cx)))
    }

    /// Responds to one request with `fields` and, unless the payload is none, the body `hello`.
    fn response_to(request: &[u8], status: u16, fields: Fields, payload: Payload) -> (String, bool) {
        let options = ServerOptions { accept_http_10: true, ..OPTIONS };
        let (mut server, seen) = serve(&[request], Then::Silence, options);
        let (request, _) = read(&mut server);
        let mut outgoing = server.respond(&head(status, fields), payload, &request.method);
        if payload != Payload::None {
            outgoing.write(Bytes::from_static(b"hello"));
            outgoing.finish(None);
        }
        flush(&mut outgoing).unwrap().unwrap();
        let sent = look(&seen).text();
        (sent, server.is_reusable())
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\n\r\n";
    const OLD: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
    const CONNECT: &[u8] = b"CONNECT a:1 HTTP/1.1\r\n\r\n";
    const LENGTH: (&str, &str) = ("content-length", "5");
    const CODING: (&str, &str) = ("transfer-encoding", "gzip");

    #[test]
    #[rustfmt::skip] // a row is a line
    fn responses_are_framed_by_us() {
        let cases: [Case; 18] = [
            (GET, 200, &[], Payload::None, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true),
            (GET, 200, &[LENGTH, ("x", "1")], Payload::Some, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: 1\r\n\r\nhello", true),
            (GET, 200, &[("x", "1")], Payload::Some, "HTTP/1.1 200 OK\r\nx: 1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
            (GET, 200, &[CODING], Payload::Some, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
            (GET, 200, &[LENGTH], Payload::None, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true), // theirs would be a lie
            (GET, 200, &[("content-length", "3")], Payload::Some, "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhel", false),
            (GET, 200, &[("content-length", "7")], Payload::Some, "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nhello", false),
            (HEAD, 200, &[LENGTH], Payload::None, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", true),
            (HEAD, 200, &[], Payload::Some, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", true),
            (GET, 304, &[LENGTH], Payload::None, "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", true),
            (GET, 204, &[LENGTH], Payload::Some, "HTTP/1.1 204 No Content\r\n\r\n", true),
            (GET, 101, &[LENGTH], Payload::Raw, "HTTP/1.1 101 Switching Protocols\r\n\r\nhello", false),
            (GET, 403, &[], Payload::Raw, "HTTP/1.1 403 Forbidden\r\n\r\nhello", false),
            (CONNECT, 200, &[LENGTH, CODING], Payload::Raw, "HTTP/1.1 200 OK\r\n\r\nhello", false),
            (CONNECT, 503, &[LENGTH], Payload::Some, "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nhello", false),
            (OLD, 200, &[], Payload::Some, "HTTP/1.0 200 OK\r\n\r\nhello", false),
            (OLD, 200, &[LENGTH], Payload::Some, "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", true),
            (GET, 999, &[], Payload::None, "HTTP/1.1 999 Unknown\r\ncontent-length: 0\r\n\r\n", true),
        ];
        for (request, status, fields, payload, sent, reusable) in cases {
            assert_eq!(response_to(request, status, fields, payload), (sent.into(), reusable), "{status} {fields:?}");
        }
    }

    #[test]
    fn a_small_response_is_one_write() {
        let (mut server, seen) = serve(&[GET], Then::Silence, OPTIONS);
        let (request, _) = read(&mut server);
        let mut outgoing = server.respond(&head(200, &[]), Payload::Some, &request.method);
        for _ in 0..10 {
            outgoing.write(Bytes::from_static(b"hello"));
        }
        outgoing.finish(None);
        flush(&mut outgoing).unwrap().unwrap();
        assert_eq!(look(&seen).writes, 1);
        assert_eq!(server.tx_bytes(), look(&seen).bytes.len() as u64);
        assert_eq!(server.rx_bytes(), GET.len() as u64);
    }

    #[test]
    fn a_large_body_arrives_whole_through_a_narrow_window() {
        let (mut server, seen) = serve(&[GET], Then::Silence, OPTIONS);
        look(&seen).window = 1000;
        let (request, _) = read(&mut server);
        let body: Vec<u8> = (0..100_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut outgoing = server.respond(&head(200, &[("content-length", "100000")]), Payload::Some, &request.method);
        for piece in body.chunks(9_999) {
            outgoing.write(Bytes::copy_from_slice(piece));
        }
        outgoing.finish(None);
        flush(&mut outgoing).unwrap().unwrap();
        assert!(look(&seen).bytes.ends_with(&body));
        assert!(server.is_reusable());
    }

    #[test]
    fn a_full_buffer_holds_the_writer_back() {
        let options = ServerOptions { write_buffer_bytes_max: 1000, ..OPTIONS };
        let (mut server, seen) = serve(&[GET], Then::Silence, options);
        look(&seen).window = 0;
        let (request, _) = read(&mut server);
        let mut outgoing = server.respond(&head(200, &[]), Payload::Some, &request.method);
        assert_eq!(finish(poll_fn(|cx| outgoing.poll_ready(cx))), Some(Ok(())));
        outgoing.write(vec![0; 1000].into());
        assert_eq!(finish(poll_fn(|cx| outgoing.poll_ready(cx))), None);
        look(&seen).window = 500;
        assert_eq!(finish(poll_fn(|cx| outgoing.poll_ready(cx))), Some(Ok(())));
    }

    #[test]
    fn a_connection_is_reused_only_between_messages() {
        let post: &[u8] = b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello";
        let (mut server, _) = serve(&[post, GET], Then::Silence, OPTIONS);
        let (request, mut body) = read(&mut server);
        let mut outgoing = server.respond(&head(200, &[LENGTH]), Payload::Some, &request.method);
        assert!(!server.is_reusable(), "neither half is done");
        outgoing.write(Bytes::from_static(b"hello"));
        outgoing.finish(None);
        assert!(!server.is_reusable(), "the request was not read");
        assert_eq!(read_body(&mut body), Ok("hello".into()));
        assert!(server.is_reusable());
        let (request, body) = read(&mut server);
        assert!(body.is_complete());
        server.respond(&head(200, &[LENGTH]), Payload::Some, &request.method).reset();
        assert!(!server.is_reusable(), "the response was broken off");
    }

    #[test]
    fn continue_is_sent_when_the_body_is_read() {
        let request: &[u8] = b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
        let (mut server, seen) = serve(&[request, b"hi"], Then::Silence, OPTIONS);
        let (_, mut body) = read(&mut server);
        server.send_continue();
        assert_eq!(look(&seen).text(), "");
        assert_eq!(read_body(&mut body), Ok("hi".into()));
        assert_eq!(look(&seen).text(), "HTTP/1.1 100 Continue\r\n\r\n");
    }

    #[test]
    fn an_accepted_upgrade_passes_chunk_framing_as_payload() {
        let request: &[u8] = b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nmore";
        let (mut server, _) = serve(&[request], Then::Fin, OPTIONS);
        let (_, mut body) = read(&mut server);
        body.switch_to_raw();
        assert_eq!(read_body(&mut body), Ok("2\r\nhi\r\n0\r\n\r\nmore".into()));
        assert!(!server.is_reusable());
    }

    #[test]
    fn waiting_distinguishes_a_request_from_the_end() {
        assert_eq!(finish(serve(&[GET], Then::Silence, OPTIONS).0.wait()), Some(Ok(true)));
        assert_eq!(finish(serve(&[b"\r\n"], Then::Fin, OPTIONS).0.wait()), Some(Ok(false)));
        assert_eq!(finish(serve(&[], Then::Rst, OPTIONS).0.wait()), Some(Err(ExchangeError::ConnectionReset)));
        assert_eq!(finish(serve(&[b"\r\n"], Then::Silence, OPTIONS).0.wait()), None);
    }

    #[test]
    fn bytes_read_by_the_sniffer_come_first() {
        let (conn, _) = connect(&[b" / HTTP/1.1\r\n\r\n"], Then::Silence);
        let mut server = ServerConnection::new(conn, BytesMut::from("GET"), OPTIONS);
        assert_eq!(read(&mut server).0.method, Method::GET);
    }

    #[test]
    fn a_disconnect_is_detected_behind_pipelined_bytes() {
        let (mut server, _) = serve(&[GET, GET], Then::Fin, OPTIONS);
        let (_, mut body) = read(&mut server);
        assert_eq!(finish(poll_fn(|cx| body.poll_gone(cx))), Some(ExchangeError::Closed));
        assert_eq!(read(&mut server).0.method, Method::GET, "the pipelined request is kept");

        let flood = vec![b'x'; PIPELINE_BYTES_MAX];
        let (mut server, _) = serve(&[GET, &flood, &flood], Then::Fin, OPTIONS);
        let (_, mut body) = read(&mut server);
        assert_eq!(finish(poll_fn(|cx| body.poll_gone(cx))), None);
        assert_eq!(server.rx_bytes(), (GET.len() + flood.len()) as u64, "no more is read ahead");
    }

    /// Whether closing ended by itself, then whether the connection is closed and how.
    fn close(pieces: &[&[u8]], then: Then, how: Close) -> (bool, bool, bool) {
        let (server, seen) = serve(pieces, then, OPTIONS);
        let ended = finish(server.close(how)).is_some();
        let seen = look(&seen);
        (ended, seen.closed, seen.aborted)
    }

    #[test]
    fn closing_waits_for_the_peer_and_resets_unread_data() {
        let wait = Close::FlushThenWaitForPeer;
        assert_eq!(close(&[], Then::Silence, Close::Flush), (true, true, false));
        assert_eq!(close(&[], Then::Silence, Close::Abort), (true, true, true));
        assert_eq!(close(&[], Then::Fin, wait), (true, true, false));
        assert_eq!(close(&[], Then::Rst, wait), (true, true, false));
        assert_eq!(close(&[], Then::Silence, wait), (false, true, false), "FIN when the caller stops waiting");
        assert_eq!(close(&[b"x"], Then::Fin, wait), (false, true, true), "RST when the caller stops waiting");
    }

    #[test]
    fn closing_writes_what_is_queued() {
        let (mut server, seen) = serve(&[GET], Then::Fin, OPTIONS);
        let (request, _) = read(&mut server);
        let outgoing = server.respond(&head(200, &[]), Payload::None, &request.method);
        assert_eq!(finish(server.close(Close::FlushThenWaitForPeer)), Some(()));
        assert!(look(&seen).text().starts_with("HTTP/1.1 200 OK"));
        assert!(look(&seen).closed, "although a half is still there");
        drop(outgoing);
    }
}
