//! The client's side of a connection: requests out, responses in, one at a time.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::header::CONNECTION;
use http::{Method, StatusCode, Version};

use super::body::{CUT_SHORT, Incoming, Outgoing, Sender};
use super::framing::{Chunk, Decoder, Encoder, MALFORMED, TransferCoding};
use super::parse::{self, FoundResponse};
use super::refusal::HeadError;
use super::serialise;
use super::wire::{Half, SharedWire, Wire};
use crate::codec::{Broken, Payload, RequestHead, ResponseHead};
use crate::net::{Address, Conn};

/// What a server may send, and how much waits for it.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// Bytes of a response head, start line included.
    pub head_bytes_max: usize,
    /// Fields of a response head.
    pub headers_max: usize,
    /// Bytes of request that may wait for the server before [`Outgoing::poll_ready`] holds back.
    pub write_buffer_bytes_max: usize,
}

/// A connection to a server.
#[derive(Debug)]
pub struct ClientConnection {
    wire: SharedWire,
    options: ClientOptions,
    local: Address,
    peer: Address,
    asked: Asked,
    peer_wants_close: bool,
    informational_count: u32,
}

/// What decides how a response is framed besides its own head (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asked {
    Connect,
    Head,
    Other,
    Upgrade,
}

/// Why an idle connection must leave the pool.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdleEnd {
    /// The server sent FIN, or the 408 with which some servers announce it.
    Closed,
    /// The server's system sent RST.
    Reset,
    /// The server sent bytes that nobody asked for.
    StrayBytes,
}

impl ClientConnection {
    /// Speaks HTTP/1.1 over `conn`.
    #[must_use]
    pub fn new(conn: Conn, options: ClientOptions) -> Self {
        let (local, peer) = (conn.local.clone(), conn.peer.clone());
        Self {
            wire: Wire::shared(conn, BytesMut::new()),
            options,
            local,
            peer,
            asked: Asked::Other,
            peer_wants_close: false,
            informational_count: 0,
        }
    }

    /// Queues a request head: the start line, `host`, then the fields in order. The framing fields are ours: a
    /// content-length the head carries is kept where it holds, else the body is chunked. [`Payload::Raw`] asks
    /// for a tunnel: what is written later goes out as it is.
    pub fn send(&mut self, head: &RequestHead, payload: Payload) -> Outgoing {
        self.asked = match (payload, &head.method) {
            (_, &Method::CONNECT) => Asked::Connect,
            (Payload::Raw, _) => Asked::Upgrade,
            (Payload::None | Payload::Some, &Method::HEAD) => Asked::Head,
            (Payload::None | Payload::Some, _) => Asked::Other,
        };
        self.informational_count = 0;
        let encoder = serialise::request(self.wire.borrow_mut().queue().text(), head, payload);
        // The answer is due from here on: without it the connection cannot be used again.
        self.wire.borrow_mut().reading.begin();
        let mut outgoing = Outgoing::new(&self.wire, encoder, self.options.write_buffer_bytes_max);
        if encoder == Encoder::Nothing {
            outgoing.finish(None);
        }
        outgoing
    }

    /// Reads the head of the final response; informational ones but 101 are skipped. 101 to an upgrade request,
    /// 2xx to CONNECT, and any answer to an upgrade request that itself upgrades, have a body that lasts until
    /// the connection closes.
    ///
    /// # Errors
    /// [`Broken::Closed`] and [`Broken::ConnectionReset`] mean that no byte of the response has come;
    /// [`Broken::Malformed`] is an answer that is not HTTP, frames its body in two ways, or was cut short.
    ///
    /// # Cancellation
    /// Safe to drop: what was read is kept.
    pub async fn response(&mut self) -> Result<(ResponseHead, Incoming), Broken> {
        poll_fn(|cx| self.poll_response(cx)).await
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, Incoming), Broken>> {
        loop {
            let found = ready!(self.poll_found(cx))?;
            let decoder = self.body_of(&found)?;
            if found.head.status.is_informational() && found.head.status != StatusCode::SWITCHING_PROTOCOLS {
                self.informational_count = self.informational_count.saturating_add(1);
                continue;
            }
            self.peer_wants_close = wants_close(&found.head);
            return Poll::Ready(Ok((found.head, Incoming::new(&self.wire, decoder, Sender::Upstream))));
        }
    }

    fn poll_found(&mut self, cx: &mut Context<'_>) -> Poll<Result<FoundResponse, Broken>> {
        let mut wire = self.wire.borrow_mut();
        let options = self.options;
        let found = wire.poll_head(cx, options.head_bytes_max, |input| parse::response(input, options.headers_max));
        Poll::Ready(match ready!(found) {
            Ok(found) => Ok(found),
            Err(HeadError::Refused(refusal)) => Err(Broken::Malformed(refusal.details())),
            Err(HeadError::Broken(_)) if !wire.input.is_empty() => Err(CUT_SHORT),
            Err(HeadError::Broken(broken)) => Err(broken),
        })
    }

    /// How the body of a response is framed (RFC 9112 6.3).
    fn body_of(&self, found: &FoundResponse) -> Result<Decoder, Broken> {
        let ResponseHead { status, version, headers } = &found.head;
        let (coding, length) = (found.framing.transfer_coding, found.framing.content_length);
        match self.asked {
            Asked::Connect if status.is_success() => return Ok(Decoder::UntilClose),
            Asked::Upgrade if *status == StatusCode::SWITCHING_PROTOCOLS || headers.upgrade().is_some() => {
                return Ok(Decoder::UntilClose);
            }
            Asked::Head => return Ok(Decoder::Done),
            Asked::Connect | Asked::Other | Asked::Upgrade => {}
        }
        if *status == StatusCode::NOT_MODIFIED {
            return Ok(Decoder::Done);
        }
        let has_body_fields = coding != TransferCoding::Absent || length.is_some_and(|length| length > 0);
        if status.is_informational() || *status == StatusCode::NO_CONTENT {
            // A body where there can be none: half the world would skip it, the other half read it.
            return if has_body_fields { Err(MALFORMED) } else { Ok(Decoder::Done) };
        }
        match (coding, length) {
            (TransferCoding::Chunked, Some(_)) => Err(MALFORMED),
            // HTTP/1.0 has no transfer codings; RFC 9112 6.1 calls such a message faulty.
            (TransferCoding::Chunked, None) if *version == Version::HTTP_10 => Err(MALFORMED),
            (TransferCoding::Chunked, None) => Ok(Decoder::Chunked(Chunk::Size)),
            (TransferCoding::Absent, Some(length)) => Ok(Decoder::length(length)),
            (TransferCoding::Absent, None) => Ok(Decoder::UntilClose),
        }
    }

    /// May the connection carry another request? Yes, if request and response are complete, the server did not
    /// ask to close, and nothing came behind the response.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        let wire = self.wire.borrow();
        wire.reading == Half::Between
            && wire.writing == Half::Between
            && !self.peer_wants_close
            && wire.input.is_empty()
            && !wire.has_ended()
    }

    /// Watches a connection that waits for its next request: ready when it must leave the pool.
    pub fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<IdleEnd> {
        let mut wire = self.wire.borrow_mut();
        if wire.input.is_empty()
            && let Err(broken) = ready!(wire.poll_fill(cx))
        {
            return Poll::Ready(if broken == Broken::Closed { IdleEnd::Closed } else { IdleEnd::Reset });
        }
        let is_timeout = wire.input.starts_with(b"HTTP/1.1 408") || wire.input.starts_with(b"HTTP/1.0 408");
        Poll::Ready(if is_timeout { IdleEnd::Closed } else { IdleEnd::StrayBytes })
    }

    /// Did the server say, with its last response, that it closes the connection?
    #[must_use]
    pub fn peer_wants_close(&self) -> bool {
        self.peer_wants_close
    }

    /// Informational responses that were skipped since the request was sent.
    #[must_use]
    pub fn informational_count(&self) -> u32 {
        self.informational_count
    }

    /// Our end.
    #[must_use]
    pub fn local(&self) -> &Address {
        &self.local
    }

    /// The server's end.
    #[must_use]
    pub fn peer(&self) -> &Address {
        &self.peer
    }

    /// Bytes received, heads and framing included.
    #[must_use]
    pub fn rx_bytes(&self) -> u64 {
        self.wire.borrow().rx_bytes()
    }

    /// Bytes sent, heads and framing included.
    #[must_use]
    pub fn tx_bytes(&self) -> u64 {
        self.wire.borrow().tx_bytes()
    }

    /// Closes at once with RST. Dropping the connection and its halves closes it with FIN instead.
    pub fn abort(self) {
        if let Some(conn) = self.wire.borrow_mut().take_conn() {
            conn.abort();
        }
    }
}

/// RFC 9112 9.3: HTTP/1.1 connections stay unless told otherwise, HTTP/1.0 ones close unless told otherwise.
fn wants_close(head: &ResponseHead) -> bool {
    if head.version == Version::HTTP_10 {
        return !head.headers.has_token(&CONNECTION, "keep-alive");
    }
    head.headers.has_token(&CONNECTION, "close")
}
