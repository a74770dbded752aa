//! The client's end of a connection: requests go out, responses come in.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::{Method, StatusCode};

use super::bounds::{RESET_STREAM_AGE_MAX, RESET_STREAMS_MAX, STREAM_BUFFER_BYTES_MAX};
use super::frames::Role;
use super::h2_io::{ConnectionState, ConnectionStatus, H2Io, MessageErrorScope};
use super::heads::{pseudo_bytes, request_to_h2, response_from_h2};
use super::outgoing::Ending;
use super::server::Pinger;
use super::{
    CONNECTION, ExchangeError, Incoming, ListLimit, Outgoing, ResetReason, Sending, Stream, Violation, broken, lost,
};
use crate::codec::http1::INFORMATIONAL_MAX;
use crate::codec::{Counted, InformationalSender, Payload, RequestHead, ResponseHead};
use crate::config::listener::Http2Options;
use crate::net::{Conn, ConnInfo, Peek};
use crate::stats::Http2Stats;

/// Stream ids are odd and end at 2^31 - 1 (RFC 9113 5.1.1).
const STREAMS_PER_CONNECTION_MAX: u32 = 1 << 30;
/// Envoy's default limits for a response's head and for its trailers: max_response_headers_kb, and max_headers_count with
/// `:status` among them.
///
/// It also bounds what lies read and not taken yet: one section for each stream. The circuit breaker's `max_requests` bounds
/// the streams of all connections of a cluster; with the default of 1,024 these are 60 MiB of names and values.
pub const RESPONSE_LIMIT: ListLimit = ListLimit { bytes: 60 * 1024, fields: 100 };

/// A handle on a connection that sends requests.
#[derive(Clone)]
pub struct ClientConnection {
    sender: SendRequest<Bytes>,
    state: Rc<ConnectionState>,
    count: Rc<Count>,
    streams_max: usize,
    /// Its facts for logs.
    pub info: ConnInfo,
}

#[derive(Debug, Default)]
struct Count {
    active: Cell<usize>,
    opened: Cell<u32>,
}

/// One active stream; counted until dropped.
#[derive(Debug)]
pub(super) struct Active(Rc<Count>);

impl Active {
    fn new(count: &Rc<Count>) -> Self {
        count.active.set(count.active.get() + 1);
        count.opened.set(count.opened.get().saturating_add(1));
        Self(Rc::clone(count))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
    }
}

impl ClientConnection {
    /// Starts HTTP/2 with prior knowledge. Does not wait for the server's SETTINGS: requests may go out at
    /// once, and a peer that does not use HTTP/2 shows itself in their responses.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn handshake(
        conn: Conn,
        options: &Http2Options,
        errors: MessageErrorScope,
        stats: &Http2Stats,
    ) -> Result<(Self, Driver), ExchangeError> {
        let info = conn.info();
        let (io, state) = H2Io::new(conn, Role::Client, errors, RESPONSE_LIMIT, options, Bytes::new(), stats);
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .header_table_size(options.hpack_table_size)
            .data_frame_budget(usize::MAX)
            .initial_connection_window_size(options.initial_connection_window_size)
            .initial_window_size(options.initial_stream_window_size)
            .max_concurrent_reset_streams(RESET_STREAMS_MAX)
            .max_concurrent_streams(options.max_concurrent_streams.get())
            // Not sent: the I/O layer replaces h2's SETTINGS. The I/O layer also keeps longer ones from h2.
            .max_header_list_size(RESPONSE_LIMIT.hpack_bytes())
            .max_local_error_reset_streams(None)
            .max_send_buffer_size(STREAM_BUFFER_BYTES_MAX)
            .reset_stream_duration(RESET_STREAM_AGE_MAX);
        let (sender, connection) = builder.handshake(io).await.map_err(|error| broken(&error, &state, CONNECTION))?;
        let streams_max = usize::try_from(options.max_concurrent_streams.get()).unwrap_or(usize::MAX);
        let handle = Self { sender, state: Rc::clone(&state), count: Rc::default(), streams_max, info };
        Ok((handle, Driver { connection: Some(connection), state }))
    }

    /// May another stream be opened? Not after GOAWAY, not once the connection failed, not above the
    /// server's or our own limit of concurrent streams.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.state.status() == ConnectionStatus::Open
            && !self.state.goaway_received()
            && self.count.opened.get() < STREAMS_PER_CONNECTION_MAX
            && self.streams_active() < self.streams_max()
    }

    /// Streams that may be open at once, by the server's limit and by ours.
    #[must_use]
    pub fn streams_max(&self) -> usize {
        self.streams_max.min(self.sender.current_max_send_streams())
    }

    /// Has the server closed or reset the connection, according to the system? Frames may still wait before a FIN;
    /// those this cannot see behind.
    #[must_use]
    pub fn has_closed(&self) -> bool {
        matches!(self.state.peek(), Peek::Closed | Peek::Reset)
    }

    /// Has the server sent GOAWAY?
    #[must_use]
    pub fn goaway_received(&self) -> bool {
        self.state.goaway_received()
    }

    /// Streams of which a half is still held.
    #[must_use]
    pub fn streams_active(&self) -> usize {
        self.count.active.get()
    }

    /// Opens a stream. Extended CONNECT goes out whether or not the server has announced it, as Envoy's does:
    /// its SETTINGS may be under way.
    ///
    /// # Errors
    /// The connection cannot take another stream, or the head has a protocol that is no text. Nothing has been sent.
    pub fn send(&mut self, head: &RequestHead, payload: Payload) -> Result<(Outgoing, Response), ExchangeError> {
        self.send_counted(head, payload, &None)
    }

    /// As [`send`](Self::send); the stream is counted there.
    ///
    /// # Errors
    /// As of [`send`](Self::send).
    pub fn send_counted(
        &mut self,
        head: &RequestHead,
        payload: Payload,
        counted: &Counted,
    ) -> Result<(Outgoing, Response), ExchangeError> {
        let (request, target) = request_to_h2(head)?;
        let is_end = payload == Payload::None;
        let (future, body) =
            self.sender.send_request(request, is_end).map_err(|error| broken(&error, &self.state, CONNECTION))?;
        let stream = Stream::new(Sending::Body(body), &self.state, Some(Active::new(&self.count)));
        // h2 writes nothing before its connection is polled.
        if let Some(target) = target {
            self.state.targets.keep(stream.id, target);
        }
        if [Method::HEAD, Method::CONNECT].contains(&head.method) {
            self.state.ignore_length(stream.id);
        }
        if let Some(counted) = counted {
            self.state.count_stream(stream.id, counted);
        }
        stream.head_submitted(&head.headers, pseudo_bytes(head));
        let ending = if is_end { Ending::Sent } else { Ending::Open };
        let response =
            Response { future: Some(future), stream: Rc::clone(&stream), informational: Vec::new(), sender: None };
        Ok((Outgoing::new(stream, ending), response))
    }
}

impl fmt::Debug for ClientConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConnection").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Moves the bytes of a [`ClientConnection`]: to be spawned by the owner of the connection. Dropping it closes
/// the socket. It ends by itself when the connection breaks, when GOAWAY came and the last stream has
/// ended, or when all handles are gone.
#[must_use = "nothing moves unless it is polled"]
pub struct Driver {
    /// Gone when it has ended.
    connection: Option<Connection<H2Io, Bytes>>,
    state: Rc<ConnectionState>,
}

impl Driver {
    /// The sender of PINGs to the server; `None` if it has been taken.
    pub fn pinger(&mut self) -> Option<Pinger> {
        let pings = self.connection.as_mut()?.ping_pong()?;
        Some(Pinger::new(pings, &self.state))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The streams hold the connection's state, and must not keep the socket open with it.
        drop(self.state.take_conn());
    }
}

/// How a client's connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DriverEnd {
    /// It broke: FIN, RST, or frames that are not HTTP/2.
    ExchangeError(ExchangeError),
    /// No stream was left, after GOAWAY or because the connection has no owner.
    Drained,
    /// The server ended it with GOAWAY and this error code.
    GoAway(u32),
}

impl Future for Driver {
    type Output = DriverEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<DriverEnd> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(DriverEnd::Drained) };
        let polled = Pin::new(connection).poll(cx);
        if polled.is_pending() {
            self.state.end_turn(cx);
        }
        let ended = ready!(polled);
        // Ends the streams: after a failed write h2 would leave them waiting.
        self.connection = None;
        Poll::Ready(match ended {
            Ok(()) if self.state.status() == ConnectionStatus::Open => DriverEnd::Drained,
            Ok(()) => DriverEnd::ExchangeError(lost(&self.state, CONNECTION)),
            Err(error) => match error.reason() {
                Some(reason) if error.is_remote() => DriverEnd::GoAway(reason.into()),
                _ => DriverEnd::ExchangeError(broken(&error, &self.state, CONNECTION)),
            },
        })
    }
}

/// The response to one request, to be waited for.
#[derive(Debug)]
pub struct Response {
    future: Option<ResponseFuture>,
    stream: Rc<Stream>,
    informational: Vec<StatusCode>,
    /// Where informational responses are passed on.
    sender: Option<InformationalSender>,
}

impl Response {
    /// Has any of the request been given to the system? A request that waited in a queue when its connection ended
    /// has reached no server.
    #[must_use]
    pub fn request_was_sent(&self) -> bool {
        self.stream.has_begun()
    }

    /// Informational responses that came before the final one.
    #[must_use]
    pub fn informational(&self) -> &[StatusCode] {
        &self.informational
    }

    /// From here on, informational responses are passed on to `sender`.
    pub fn pass_informational(&mut self, sender: InformationalSender) {
        self.sender = Some(sender);
    }

    /// The final head and the payload behind it; informational responses are skipped, or passed on if
    /// [`Self::pass_informational`] was called. To be called until it returns, once.
    ///
    /// # Errors
    /// The stream was reset or the connection broke first, or there were too many informational responses.
    ///
    /// # Cancellation
    /// Safe: the next call goes on waiting.
    pub async fn head(&mut self) -> Result<(ResponseHead, Incoming), ExchangeError> {
        poll_fn(|cx| self.poll_head(cx)).await
    }

    /// As [`head`](Self::head), polled.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, Incoming), ExchangeError>> {
        let Some(future) = &mut self.future else { return Poll::Ready(Err(ExchangeError::Closed)) };
        while let Poll::Ready(Some(Ok(interim))) = future.poll_informational(cx) {
            if self.informational.len() == INFORMATIONAL_MAX {
                self.future = None;
                self.stream.reset(ResetReason::InternalError);
                return Poll::Ready(Err(ExchangeError::Malformed(Violation::MessagingRule)));
            }
            self.informational.push(interim.status());
            if let Some(sender) = &self.sender {
                sender.send(&response_from_h2(interim.into_parts().0));
            }
        }
        let response = ready!(Pin::new(future).poll(cx));
        self.future = None;
        let (parts, recv) = response.map_err(|error| self.stream.broken(&error))?.into_parts();
        Poll::Ready(Ok((response_from_h2(parts), Incoming::new(recv, Rc::clone(&self.stream)))))
    }
}
