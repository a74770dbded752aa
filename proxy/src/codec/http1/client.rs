//! The client's side of a connection: requests out, responses in, one at a time.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use http::header::CONNECTION;
use http::{StatusCode, Version};

use super::body::{CUT_SHORT, Incoming, Outgoing, Sender};
use super::buffered_conn::{BufferedConn, Half, SharedConn};
use super::framing::Encoder;
use super::informational::Informational;
use super::options::ClientOptions;
use super::parse::{self, FoundResponse};
use super::refusal::HeadError;
use super::request_kind::RequestKind;
use super::serialise;
use crate::codec::{Counted, ExchangeError, InformationalSender, Payload, RequestHead, ResponseHead, Violation};
use crate::net::{Address, Conn, ConnInfo, Peek};

/// Largest response head that a cluster takes. Bytes, start line included; Envoy's default for HTTP/1.
///
/// It also bounds what lies read and not taken yet: one head for each connection. The circuit breaker's `max_connections`
/// bounds these; with the default of 1,024 they are 80 MiB.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 80 * 1024;
/// Most header fields of a response that a cluster takes; Envoy's default, max_headers_count.
pub const RESPONSE_FIELDS_MAX: usize = 100;

/// A connection to a server.
#[derive(Debug)]
pub struct ClientConnection {
    conn: SharedConn,
    options: ClientOptions,
    /// Its facts for logs.
    pub info: ConnInfo,
    peer: Address,
    request: RequestKind,
    peer_wants_close: bool,
    informational: Informational,
}

/// Why an idle connection must leave the pool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdleEnd {
    /// The server sent FIN, or the 408 with which some servers announce it.
    Closed,
    /// The server's system sent RST.
    Reset,
    /// The server sent bytes without a request.
    StrayBytes,
}

impl ClientConnection {
    /// Uses HTTP/1.1 over `conn`.
    #[must_use]
    pub fn new(conn: Conn, options: ClientOptions) -> Self {
        let (info, peer) = (conn.info(), conn.peer.clone());
        Self {
            conn: BufferedConn::shared(conn, BytesMut::new()),
            options,
            info,
            peer,
            request: RequestKind::Other { version: Version::HTTP_11 },
            peer_wants_close: false,
            informational: Informational::default(),
        }
    }

    /// The next exchange is counted there.
    pub fn count(&mut self, counted: Counted) {
        self.conn.borrow_mut().count(counted);
    }

    /// Queues a request head: the start line, `host`, then the fields in order. The framing fields are ours: a
    /// content-length the head carries is kept where it holds, else the body is chunked. [`Payload::Raw`] is
    /// for a tunnel: what is written later goes out as it is.
    pub fn send(&mut self, head: &RequestHead, payload: Payload) -> Outgoing {
        self.request = RequestKind::by(head, payload);
        self.informational.clear();
        let encoder =
            self.conn.borrow_mut().queue_head(|out| serialise::request(out, head, payload, self.options.case));
        // The response is due from here on: without it the connection cannot be used again.
        self.conn.borrow_mut().reading.begin();
        let mut outgoing =
            Outgoing::new(&self.conn, encoder, self.options.write_buffer_bytes_max, self.options.trailers());
        if encoder == Encoder::Nothing {
            outgoing.finish(None);
        }
        outgoing
    }

    /// From here on, informational responses to the request that was last sent are passed on to `sender`.
    pub fn pass_informational(&mut self, sender: InformationalSender) {
        self.informational.pass_to(sender);
    }

    /// Reads the head of the final response; informational ones but 101 are skipped, or passed on if
    /// [`Self::pass_informational`] was called. 101 to an upgrade request, and 2xx to CONNECT, have a body that lasts until
    /// the connection closes.
    ///
    /// # Errors
    /// [`ExchangeError::Closed`] and [`ExchangeError::ConnectionReset`] mean that no byte of the response has come;
    /// [`ExchangeError::Malformed`] is a response that is not HTTP, frames its body in two ways, or was cut short.
    ///
    /// # Cancellation
    /// Safe to drop: what was read is kept.
    pub async fn response(&mut self) -> Result<(ResponseHead, Incoming), ExchangeError> {
        poll_fn(|cx| self.poll_response(cx)).await
    }

    /// As [`response`](Self::response), polled.
    pub fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, Incoming), ExchangeError>> {
        loop {
            let found = ready!(self.poll_found(cx))?;
            let decoder = self.request.body_of(&found)?;
            if found.head.status.is_informational() && found.head.status != StatusCode::SWITCHING_PROTOCOLS {
                let ClientOptions { head_bytes_max, write_buffer_bytes_max, .. } = self.options;
                self.informational.note(found.head, head_bytes_max.max(write_buffer_bytes_max))?;
                continue;
            }
            self.peer_wants_close = wants_close(&found.head);
            return Poll::Ready(Ok((
                found.head,
                Incoming::new(&self.conn, decoder, Sender::Upstream, self.options.trailers()),
            )));
        }
    }

    fn poll_found(&mut self, cx: &mut Context<'_>) -> Poll<Result<FoundResponse, ExchangeError>> {
        let mut conn = self.conn.borrow_mut();
        let options = self.options;
        let found = conn
            .poll_head(cx, options.head_bytes_max, |input| parse::response(input, options.headers_max, options.case));
        Poll::Ready(match ready!(found) {
            Ok(found) => Ok(found),
            Err(HeadError::Refused(refusal)) => Err(ExchangeError::Malformed(Violation::Http1(refusal))),
            Err(HeadError::Lost(_)) if !conn.input.is_empty() => Err(CUT_SHORT),
            Err(HeadError::Lost(broken)) => Err(broken),
        })
    }

    /// May the connection carry another request? Yes, if request and response are complete, the server did not
    /// request the close, and nothing came behind the response.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        let conn = self.conn.borrow();
        conn.reading == Half::Between
            && conn.writing == Half::Between
            && !self.peer_wants_close
            && conn.input.is_empty()
            && !conn.has_ended()
    }

    /// Have bytes come behind the response, to which no request belongs?
    #[must_use]
    pub fn has_stray_bytes(&self) -> bool {
        let conn = self.conn.borrow();
        conn.reading == Half::Between && !conn.input.is_empty()
    }

    /// Watches a connection that waits for its next request: ready when it must leave the pool.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEnd> {
        let mut conn = self.conn.borrow_mut();
        if conn.input.is_empty()
            && let Err(broken) = ready!(conn.poll_fill(cx))
        {
            return Poll::Ready(if broken == ExchangeError::Closed { IdleEnd::Closed } else { IdleEnd::Reset });
        }
        let is_timeout = conn.input.starts_with(b"HTTP/1.1 408") || conn.input.starts_with(b"HTTP/1.0 408");
        Poll::Ready(if is_timeout { IdleEnd::Closed } else { IdleEnd::StrayBytes })
    }

    /// Polls the system whether a connection that waits for its next request must leave the pool: what came since the
    /// event loop was last notified counts too.
    pub fn peek(&mut self) -> Option<IdleEnd> {
        if self.conn.borrow().input.is_empty() {
            match self.conn.borrow().peek() {
                Peek::Open => return None,
                Peek::Closed => return Some(IdleEnd::Closed),
                Peek::Reset => return Some(IdleEnd::Reset),
                Peek::Bytes => {}
            }
        }
        // Read what came, if the event loop has its event, to distinguish a 408 from other bytes.
        match self.poll_idle(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(end) => Some(end),
            Poll::Pending => Some(IdleEnd::StrayBytes),
        }
    }

    /// Did the server announce, with its last response, that it closes the connection?
    #[must_use]
    pub fn peer_wants_close(&self) -> bool {
        self.peer_wants_close
    }

    /// Has the server closed or reset the connection, as far as reading has shown?
    #[must_use]
    pub fn peer_has_ended(&self) -> bool {
        self.conn.borrow().has_ended()
    }

    /// Informational responses that were skipped since the request was sent.
    #[must_use]
    pub fn informational(&self) -> &[StatusCode] {
        self.informational.statuses()
    }

    /// The server's end.
    #[must_use]
    pub fn peer(&self) -> &Address {
        &self.peer
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

    /// Closes at once with RST. Dropping the connection and its halves closes it with FIN instead.
    pub fn abort(self) {
        if let Some(conn) = self.conn.borrow_mut().take_conn() {
            conn.abort();
        }
    }
}

/// RFC 9112 9.3: HTTP/1.1 connections persist without `connection: close`, HTTP/1.0 ones close without `connection: keep-alive`.
fn wants_close(head: &ResponseHead) -> bool {
    if head.version == Version::HTTP_10 {
        return !head.headers.has_token(&CONNECTION, "keep-alive");
    }
    head.headers.has_token(&CONNECTION, "close")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http::{HeaderName, HeaderValue, Method};

    use super::super::INFORMATIONAL_MAX;
    use super::super::testing::{Seen, Then, connect, finish, look, read_body};
    use super::*;
    use crate::codec::Headers;

    type Fields = &'static [(&'static str, &'static str)];

    use crate::config::header_names::{NameCase, TrailerRule};

    const OPTIONS: ClientOptions = ClientOptions {
        head_bytes_max: 80 * 1024,
        headers_max: 100,
        case: NameCase::Lower,
        trailers: TrailerRule::Dropped,
        write_buffer_bytes_max: 1024 * 1024,
    };

    fn dial(pieces: &[&[u8]], then: Then) -> (ClientConnection, Arc<Mutex<Seen>>) {
        let (conn, seen) = connect(pieces, then);
        (ClientConnection::new(conn, OPTIONS), seen)
    }

    fn head(method: &Method, path: &'static str, fields: Fields) -> RequestHead {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        RequestHead {
            method: method.clone(),
            scheme: None,
            authority: Some(HeaderValue::from_static("a:1")),
            path: Some(HeaderValue::from_static(path)),
            protocol: None,
            version: Version::HTTP_11,
            headers,
        }
    }

    #[test]
    #[rustfmt::skip] // a row is a line
    fn requests_are_framed_by_us() {
        const LENGTH: (&str, &str) = ("content-length", "5");
        let cases: [(Method, &'static str, Fields, Payload, &str); 12] = [
            (Method::GET, "/x?y", &[("x", "1")], Payload::None, "GET /x?y HTTP/1.1\r\nhost: a:1\r\nx: 1\r\n\r\n"),
            (Method::POST, "/", &[("content-length", "0")], Payload::None, "POST / HTTP/1.1\r\nhost: a:1\r\ncontent-length: 0\r\n\r\n"),
            (Method::POST, "/", &[LENGTH], Payload::None, "POST / HTTP/1.1\r\nhost: a:1\r\n\r\n"), // it would be a lie
            (Method::POST, "/", &[("content-length", "+5")], Payload::None, "POST / HTTP/1.1\r\nhost: a:1\r\n\r\n"),
            (Method::POST, "/", &[LENGTH, ("x", "1")], Payload::Some, "POST / HTTP/1.1\r\nhost: a:1\r\ncontent-length: 5\r\nx: 1\r\n\r\nhello"),
            (Method::POST, "/", &[LENGTH, LENGTH], Payload::Some, "POST / HTTP/1.1\r\nhost: a:1\r\ncontent-length: 5\r\n\r\nhello"),
            (Method::POST, "/", &[("transfer-encoding", "x")], Payload::Some, "POST / HTTP/1.1\r\nhost: a:1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
            (Method::GET, "/", &[("connection", "Upgrade"), ("upgrade", "x")], Payload::Raw, "GET / HTTP/1.1\r\nhost: a:1\r\nconnection: Upgrade\r\nupgrade: x\r\n\r\nhello"),
            (Method::GET, "/", &[("transfer-encoding", "chunked")], Payload::Raw, "GET / HTTP/1.1\r\nhost: a:1\r\n\r\nhello"),
            (Method::GET, "/", &[LENGTH], Payload::Raw, "GET / HTTP/1.1\r\nhost: a:1\r\ncontent-length: 5\r\n\r\nhello"),
            (Method::CONNECT, "/", &[], Payload::Raw, "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\nhello"),
            (Method::GET, "/a b\tc HTTP/1.1", &[], Payload::None, "GET /a%20b%09c%20HTTP/1.1 HTTP/1.1\r\nhost: a:1\r\n\r\n"),
        ];
        for (method, path, fields, payload, sent) in cases {
            let (mut client, seen) = dial(&[], Then::Silence);
            let mut outgoing = client.send(&head(&method, path, fields), payload);
            if payload != Payload::None {
                outgoing.write(Bytes::from_static(b"hello"));
                outgoing.finish(None);
            }
            finish(poll_fn(|cx| outgoing.poll_flush(cx))).unwrap().unwrap();
            assert_eq!(look(&seen).text(), sent);
            assert_eq!(look(&seen).writes, 1);
        }
    }

    /// What comes back for a request of `method`, the body and whether the connection can be used again.
    fn exchange(method: &Method, payload: Payload, pieces: &[&[u8]], then: Then) -> String {
        let (mut client, _) = dial(pieces, then);
        let fields: Fields = match payload {
            Payload::Raw => &[("connection", "upgrade"), ("upgrade", "x, y")],
            Payload::None | Payload::Some => &[],
        };
        let mut outgoing = client.send(&head(method, "/", fields), payload);
        outgoing.finish(None);
        let (head, mut body) = match finish(client.response()).expect("the script responds") {
            Ok(response) => response,
            Err(broken) => return format!("{broken}"),
        };
        let status = head.status.as_u16();
        match read_body(&mut body) {
            Ok(body) => format!("{status} {body:?} {}", if client.is_reusable() { "stays" } else { "goes" }),
            Err(broken) => format!("{status} {broken}"),
        }
    }

    #[test]
    #[rustfmt::skip] // a row is a line
    fn responses_have_one_reading() {
        const BAD: &str = "http1.codec_error";
        let cases: [(Method, Payload, &[u8], Then, &str); 62] = [
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Then::Silence, "200 \"ok\" stays"),
            (Method::GET, Payload::None, b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", Then::Silence, "200 \"\" stays"),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", Then::Silence, "200 \"ok\" stays"),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: 1\r\n\r\n", Then::Silence, "200 \"ok\" stays"),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\n\r\nok", Then::Fin, "200 \"ok\" goes"),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\n\r\nok", Then::Rst, "200 connection reset"),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", Then::Silence, "200 \"ok\" goes"),
            (Method::GET, Payload::None, b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", Then::Silence, "200 \"ok\" goes"),
            (Method::GET, Payload::None, b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", Then::Silence, "200 \"ok\" stays"),
            (Method::HEAD, Payload::None, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", Then::Silence, "200 \"\" stays"),
            (Method::HEAD, Payload::None, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Then::Silence, "200 \"\" stays"),
            (Method::GET, Payload::None, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n", Then::Silence, "304 \"\" stays"),
            (Method::GET, Payload::None, b"HTTP/1.1 204 No Content\r\n\r\n", Then::Silence, "204 \"\" stays"),
            (Method::GET, Payload::None, b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n", Then::Silence, "204 \"\" stays"),
            // Informational responses.
            (Method::GET, Payload::None, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Then::Silence, "200 \"ok\" stays"),
            (Method::GET, Payload::None, b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Then::Silence, "200 \"ok\" stays"),
            (Method::GET, Payload::None, b"HTTP/1.1 100 Continue\r\n\r\n", Then::Fin, "connection closed by the peer"),
            (Method::GET, Payload::None, b"HTTP/1.1 100 Continue\r\ncontent-length: 2\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 100 Continue\r\ntransfer-encoding: chunked\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", Then::Silence, "101 \"\" stays"),
            // Tunnels.
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nraw", Then::Fin, "101 \"raw\" goes"),
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: Y\r\ncontent-length: 0\r\n\r\nraw", Then::Fin, "101 \"raw\" goes"),
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nraw", Then::Rst, "101 connection reset"),
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\n\r\nraw", Then::Fin, BAD),
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nraw", Then::Fin, BAD),
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\r\nraw", Then::Fin, BAD),
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: ,\r\n\r\nraw", Then::Fin, BAD),
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nraw", Then::Fin, BAD),
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\nupgrade: h2c\r\n\r\nraw", Then::Fin, BAD),
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 1\r\n\r\nraw", Then::Fin, BAD),
            (Method::GET, Payload::Raw, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Then::Fin, BAD),
            (Method::GET, Payload::Raw, b"HTTP/1.1 403 Forbidden\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 2\r\n\r\nno", Then::Silence, "403 \"no\" goes"),
            (Method::GET, Payload::Raw, b"HTTP/1.1 426 Upgrade Required\r\nconnection: upgrade\r\nupgrade: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", Then::Silence, "426 \"no\" goes"),
            (Method::GET, Payload::Raw, b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", Then::Silence, "403 \"no\" goes"),
            (Method::CONNECT, Payload::Raw, b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nraw", Then::Fin, "200 \"raw\" goes"),
            (Method::CONNECT, Payload::Raw, b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", Then::Silence, "403 \"no\" goes"),
            // Two readings.
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Then::Silence, "http1.invalid_transfer_encoding"),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nok", Then::Fin, "http1.invalid_transfer_encoding"),
            (Method::GET, Payload::None, b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", Then::Silence, BAD),
            (Method::HEAD, Payload::None, b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n", Then::Silence, BAD),
            (Method::HEAD, Payload::None, b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", Then::Silence, BAD),
            (Method::HEAD, Payload::None, b"HTTP/1.1 101 Switching Protocols\r\ncontent-length: 2\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Then::Silence, "200 http1.codec_error"),
            // Not HTTP.
            (Method::GET, Payload::None, b"GARBAGE\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"\r\nHTTP/1.1 204 OK\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"\nHTTP/1.1 204 OK\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 100 Continue\r\n\r\n\r\nHTTP/1.1 204 OK\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 abc OK\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 099 Low\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/2.0 200 OK\r\n\r\n", Then::Silence, BAD),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\nx : 1\r\n\r\n", Then::Silence, BAD),
            // Cut short.
            (Method::GET, Payload::None, b"", Then::Fin, "connection closed by the peer"),
            (Method::GET, Payload::None, b"", Then::Rst, "connection reset"),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ncontent-le", Then::Fin, "http1.message_cut_short"),
            (Method::GET, Payload::None, b"H", Then::Rst, "http1.message_cut_short"),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", Then::Fin, "200 http1.message_cut_short"),
            (Method::GET, Payload::None, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n", Then::Rst, "200 http1.message_cut_short"),
        ];
        for (method, payload, input, then, expected) in cases {
            for step in [usize::MAX, 1, 3] {
                let pieces: Vec<_> = input.chunks(step).collect();
                assert_eq!(exchange(&method, payload, &pieces, then), expected, "{}, by {step}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn bytes_behind_a_response_end_the_connection() {
        let response: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        for stray in [b"EXTRA".as_slice(), response] {
            let together = [response, stray].concat();
            assert_eq!(exchange(&Method::GET, Payload::None, &[&together], Then::Silence), "200 \"ok\" goes");
        }
    }

    #[test]
    fn response_heads_are_bounded() {
        let sized = |bytes: usize| format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(bytes)).into_bytes();
        let counted = |count: usize| ["HTTP/1.1 204 OK\r\n", &"x: 1\r\n".repeat(count), "\r\n"].concat().into_bytes();
        for (input, expected) in [
            (sized(80_000), "200 \"\" goes"),
            (sized(82_000), "http1.headers_too_large"),
            (counted(100), "204 \"\" stays"),
            (counted(101), "http1.too_many_headers"),
        ] {
            assert_eq!(exchange(&Method::GET, Payload::None, &[&input], Then::Fin), expected);
        }
    }

    #[test]
    fn informational_responses_are_noted_and_bounded() {
        let hints: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";
        for (count, expected) in [(2, Some(204)), (INFORMATIONAL_MAX, Some(204)), (INFORMATIONAL_MAX + 1, None)] {
            let (mut client, _) = dial(&[&hints.repeat(count), b"HTTP/1.1 204 OK\r\n\r\n"], Then::Silence);
            drop(client.send(&head(&Method::GET, "/", &[]), Payload::None));
            let status = finish(client.response()).unwrap().ok().map(|(head, _)| head.status.as_u16());
            assert_eq!(status, expected);
            assert_eq!(client.informational(), vec![StatusCode::EARLY_HINTS; count.min(INFORMATIONAL_MAX)]);
        }
    }

    #[test]
    fn informational_responses_are_bounded_in_bytes() {
        let hints = |bytes: usize| format!("HTTP/1.1 103 Early Hints\r\nx: {}\r\n\r\n", "a".repeat(bytes)).into_bytes();
        for (bytes, expected) in [(10_000, Some(204)), (20_000, None)] {
            let (mut client, _) = dial(&[&hints(bytes).repeat(80), b"HTTP/1.1 204 OK\r\n\r\n"], Then::Silence);
            drop(client.send(&head(&Method::GET, "/", &[]), Payload::None));
            let status = finish(client.response()).unwrap().ok().map(|(head, _)| head.status.as_u16());
            assert_eq!(status, expected, "80 of {bytes}");
        }
    }

    #[test]
    fn a_connection_without_its_response_is_not_reusable() {
        let (mut client, _) = dial(&[b"HTTP/1.1 204 OK\r\n\r\n"], Then::Silence);
        assert!(client.is_reusable());
        let mut outgoing = client.send(&head(&Method::POST, "/", &[]), Payload::Some);
        finish(client.response()).unwrap().unwrap();
        assert!(!client.is_reusable(), "the request goes on");
        outgoing.finish(None);
        assert!(client.is_reusable());
        drop(client.send(&head(&Method::GET, "/", &[]), Payload::None));
        assert!(!client.is_reusable(), "the response is due");
    }

    #[test]
    fn an_idle_connection_reports_why_it_ends() {
        for (pieces, then, end) in [
            (&[][..], Then::Fin, Some(IdleEnd::Closed)),
            (&[], Then::Rst, Some(IdleEnd::Reset)),
            (&[], Then::Silence, None),
            (&[&b"x"[..]], Then::Fin, Some(IdleEnd::StrayBytes)),
            (&[&b"HTTP/1.1 408 Request Timeout\r\n\r\n"[..]], Then::Fin, Some(IdleEnd::Closed)),
        ] {
            let (mut client, _) = dial(pieces, then);
            assert_eq!(finish(poll_fn(|cx| client.poll_idle(cx))), end, "{pieces:?} {then:?}");
        }
    }

    #[test]
    fn abort_is_a_reset() {
        let (client, seen) = dial(&[], Then::Silence);
        client.abort();
        assert!(look(&seen).aborted && look(&seen).closed);
    }
}
