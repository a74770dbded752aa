//! The server's side of a connection: requests in, responses out, one at a time.

use std::future::{pending, poll_fn};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{Method, Version};
use tokio::io::AsyncReadExt;

use super::body::{Incoming, Outgoing, Sender};
use super::framing::Encoder;
use super::parse::{self, RequestRules};
use super::refusal::HeadError;
use super::serialise;
use super::wire::{Half, SharedWire, Wire};
use crate::codec::{Broken, Payload, RequestHead, ResponseHead};
use crate::net::Conn;

/// What a client may send, and how much waits for it.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Bytes of a request head, start line included; more is answered with 431.
    pub head_bytes_max: usize,
    /// Fields of a request head; more is answered with 431.
    pub headers_max: usize,
    /// Serve HTTP/1.0 rather than answer 426.
    pub accept_http_10: bool,
    /// Bytes of response that may wait for the client before [`Outgoing::poll_ready`] holds back.
    pub write_buffer_bytes_max: usize,
}

/// A connection from a client.
#[derive(Debug)]
pub struct ServerConnection {
    wire: SharedWire,
    options: ServerOptions,
    /// Of the request that is being answered. A request that was refused is answered in 1.1, whatever it said.
    version: Version,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Close {
    /// With RST, at once; what is queued is lost.
    Abort,
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
        Self { wire: Wire::shared(conn, already_read), options, version: Version::HTTP_11 }
    }

    /// Waits for the first byte of a request: true when it is there, false when the client has closed instead.
    /// Empty lines before a request are skipped (RFC 9112 2.2).
    ///
    /// # Errors
    /// [`Broken::ConnectionReset`]: the client's system sent RST.
    ///
    /// # Cancellation
    /// Safe to drop: what was read is kept.
    pub async fn wait(&mut self) -> Result<bool, Broken> {
        poll_fn(|cx| self.poll_wait(cx)).await
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
        let mut wire = self.wire.borrow_mut();
        loop {
            if skip_empty_lines(&mut wire.input) {
                return Poll::Ready(Ok(true));
            }
            match ready!(wire.poll_fill(cx)) {
                Ok(()) => {}
                Err(Broken::Closed) => return Poll::Ready(Ok(false)),
                Err(broken) => return Poll::Ready(Err(broken)),
            }
        }
    }

    /// Reads a request head. The body that comes with it is to be read to its end before the next head.
    ///
    /// # Errors
    /// [`HeadError::Refused`] is to be answered, and the connection closed; after [`HeadError::Broken`] there is
    /// nobody to answer.
    ///
    /// # Cancellation
    /// Safe to drop: what was read is kept.
    pub async fn read_head(&mut self) -> Result<(RequestHead, Incoming), HeadError> {
        let rules = RequestRules { accept_http_10: self.options.accept_http_10, headers_max: self.options.headers_max };
        self.version = Version::HTTP_11;
        let found = poll_fn(|cx| {
            let bytes_max = self.options.head_bytes_max;
            self.wire.borrow_mut().poll_head(cx, bytes_max, |input| parse::request(input, rules))
        })
        .await?;
        self.version = found.head.version;
        Ok((found.head, Incoming::new(&self.wire, found.decoder, Sender::Downstream)))
    }

    /// Queues `100 Continue`, which goes out when the body is next polled.
    pub fn send_continue(&mut self) {
        self.wire.borrow_mut().queue_interim(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// Queues the head of the response to a request of method `to`. The framing fields are ours (RFC 9112 6): a
    /// content-length the head carries is kept where it holds, else the body is chunked, or ends with the
    /// connection for HTTP/1.0. `date` and `server` are the caller's, and so is `connection: close`.
    pub fn respond(&mut self, head: &ResponseHead, payload: Payload, to: &Method) -> Outgoing {
        let encoder = serialise::response(self.wire.borrow_mut().queue().text(), head, payload, to, self.version);
        let mut outgoing = Outgoing::new(&self.wire, encoder, self.options.write_buffer_bytes_max);
        if payload == Payload::None && encoder == Encoder::Nothing {
            outgoing.finish(None);
        }
        outgoing
    }

    /// May the next request be read? Yes, if the request was read to its end, the response was finished, and
    /// neither ends with the connection.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        let wire = self.wire.borrow();
        wire.reading == Half::Between && wire.writing == Half::Between
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

    /// Ends the connection. Halves that still exist find it closed.
    ///
    /// # Cancellation
    /// Dropping the future is the way to stop waiting. While it waits for the peer, that closes the connection:
    /// with RST if the client sent more meanwhile, as the kernel does for unread data, else with FIN. While it
    /// still writes, the connection closes with the last of its halves.
    pub async fn close(self, how: Close) {
        let flushed = match how {
            Close::Abort => Ok(()),
            Close::Flush | Close::FlushThenWaitForPeer => poll_fn(|cx| self.wire.borrow_mut().poll_flush(cx)).await,
        };
        let peer_has_closed = flushed.is_err() || self.wire.borrow().has_ended();
        let Some(conn) = self.wire.borrow_mut().take_conn() else { return };
        match how {
            Close::Abort => conn.abort(),
            Close::Flush => drop(conn),
            Close::FlushThenWaitForPeer if peer_has_closed => drop(conn),
            Close::FlushThenWaitForPeer => Lingering { conn: Some(conn), end: End::Fin }.peer_closed().await,
        }
    }
}

/// Drops line ends from the front; is there anything else?
fn skip_empty_lines(input: &mut Bytes) -> bool {
    let blank = input.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    drop(input.split_to(blank));
    !input.is_empty()
}

/// A connection that waits for its peer to close; dropped, it closes.
struct Lingering {
    /// `None` only while it is being dropped.
    conn: Option<Conn>,
    end: End,
}

/// How a [`Lingering`] connection closes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// Nothing came so far.
    Fin,
    /// Bytes came that will not be read.
    Rst,
}

impl Lingering {
    async fn peer_closed(mut self) {
        let Some(conn) = &mut self.conn else { return };
        // The only way to hear of the FIN is to read. One byte is enough to know that data came first; the rest
        // stays with the kernel.
        if let Ok(1..) = conn.read(&mut [0]).await {
            self.end = End::Rst;
            pending::<()>().await;
        }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        match (self.conn.take(), self.end) {
            (Some(conn), End::Rst) => conn.abort(),
            (conn, End::Fin | End::Rst) => drop(conn),
        }
    }
}
