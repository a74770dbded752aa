//! The server's end of a connection: requests come in, responses go out.

use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, RecvStream};
use http::Request;

use super::bounds::{RESET_STREAM_AGE_MAX, RESET_STREAMS_MAX, STREAM_BUFFER_BYTES_MAX, TURN_STREAMS_MAX};
use super::flood::Flood;
use super::frames::Role;
use super::h2_io::{ConnectionState, ConnectionStatus, H2Io, MessageErrorScope, StreamError};
use super::heads::{request_from_h2, response_to_h2, restore};
use super::outgoing::Ending;
use super::{
    CONNECTION, ExchangeError, HeadLimit, Incoming, ListLimit, Outgoing, ResetReason, Sending, Stream, broken, lost,
};
use crate::codec::Violation;
use crate::codec::lingering::Lingering;
use crate::codec::{Counted, InformationalSender, Payload, RequestHead, ResponseHead};
use crate::config::listener::Http2Options;
use crate::net::Conn;
use crate::stats::Http2Stats;

/// A connection on which we serve.
pub struct ServerConnection {
    /// Gone after an error that ended it.
    connection: Option<Connection<H2Io, Bytes>>,
    state: Rc<ConnectionState>,
    /// The last stream handed out.
    last_accepted: u32,
    /// Streams handed out since there was none to be, or a turn was left to others.
    accepted_in_turn: u32,
}

/// Are the bytes of each stream counted?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Counting {
    /// They are.
    EachStream,
    /// No log shows them.
    Off,
}

/// Of `:status` and its value.
const STATUS_BYTES: usize = ":status".len() + 3;

/// Why no request came.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectionError {
    /// The connection is gone.
    #[error(transparent)]
    ExchangeError(ExchangeError),
    /// The client sent too many frames of a kind that costs it nothing. The connection is not worth a word more.
    #[error("flooded")]
    Flooded {
        /// Envoy's text for the request whose head they were to be.
        unread: Option<Violation>,
    },
    /// One request was malformed and was reset with PROTOCOL_ERROR. The connection goes on.
    #[error("malformed request: {0}")]
    Malformed(Violation),
    /// One request had too many or too large fields and was reset with INTERNAL_ERROR. The connection goes on.
    #[error("request head over the limit: {0}")]
    HeadTooLarge(HeadLimit),
    /// The peer sent a message that RFC 9113 8.1.1 calls malformed. No response was sent and nothing more is
    /// served; see [`ServerConnection::wait_for_peer`].
    #[error("malformed message")]
    InvalidMessage {
        /// Envoy's text for the request, if its head could not be read.
        unread: Option<Violation>,
    },
    /// The peer broke the framing. It got GOAWAY where Envoy sends one.
    #[error("connection error")]
    Protocol {
        /// Envoy's text for the request whose head did it.
        unread: Option<Violation>,
    },
}

impl ServerConnection {
    /// Sends our SETTINGS and reads the client's preface, of which `already_read` has been taken from the socket.
    ///
    /// # Errors
    /// The peer went away, or what it sent is not the preface.
    pub async fn handshake(
        conn: Conn,
        already_read: Bytes,
        options: &Http2Options,
        errors: MessageErrorScope,
        limit: ListLimit,
        stats: &Http2Stats,
        counting: Counting,
    ) -> Result<Self, ExchangeError> {
        let (io, state) = H2Io::new(conn, Role::Server, errors, limit, options, already_read, stats);
        state.counts.set(counting == Counting::EachStream);
        let mut builder = Builder::new();
        if options.allow_connect {
            builder.enable_connect_protocol();
        }
        builder
            .header_table_size(options.hpack_table_size)
            .initial_connection_window_size(options.initial_connection_window_size)
            .initial_window_size(options.initial_stream_window_size)
            .max_concurrent_reset_streams(RESET_STREAMS_MAX)
            .max_concurrent_streams(options.max_concurrent_streams.get())
            // Not sent: the I/O layer replaces h2's SETTINGS. The I/O layer also keeps longer ones from h2.
            .max_header_list_size(limit.hpack_bytes())
            // Streams that were reset at once are judged like any others, by the connection manager.
            .max_pending_accept_reset_streams(usize::MAX)
            .max_local_error_reset_streams(None)
            .data_frame_budget(usize::MAX)
            .max_send_buffer_size(STREAM_BUFFER_BYTES_MAX)
            .reset_stream_duration(RESET_STREAM_AGE_MAX);
        let connection = builder.handshake(io).await.map_err(|error| broken(&error, &state, CONNECTION))?;
        Ok(Self { connection: Some(connection), state, last_accepted: 0, accepted_in_turn: 0 })
    }

    /// The next request. `None` when the connection is over: the client closed it, or it was drained and no
    /// stream is left. This also moves every stream's bytes, so it has to be polled all the time. After an error
    /// other than [`ConnectionError::HeadTooLarge`] and [`ConnectionError::Malformed`] every stream is broken and only `None`
    /// follows.
    ///
    /// # Cancellation
    /// Safe: a request that was not returned is returned by the next call.
    pub async fn accept(&mut self) -> Option<Result<(RequestHead, Incoming, Responder), ConnectionError>> {
        if self.accepted_in_turn >= TURN_STREAMS_MAX {
            self.accepted_in_turn = 0;
            tokio::task::yield_now().await;
        }
        let connection = self.connection.as_mut()?;
        let (state, accepted_in_turn) = (&self.state, &mut self.accepted_in_turn);
        let accepted = poll_fn(|cx| {
            if let Some(refused) = state.take_rejected_request() {
                return Poll::Ready(Err(refused));
            }
            match connection.poll_accept(cx) {
                Poll::Ready(accepted) => Poll::Ready(Ok(accepted)),
                // It may have read some that are refused.
                Poll::Pending => match state.take_rejected_request() {
                    Some(refused) => Poll::Ready(Err(refused)),
                    None => {
                        *accepted_in_turn = 0;
                        // Not before the last of the new streams has been handed out: until then nothing more is read.
                        state.end_turn(cx);
                        Poll::Pending
                    }
                },
            }
        });
        Some(match accepted.await {
            Err(StreamError::HeaderListTooLarge(limit)) => Err(ConnectionError::HeadTooLarge(limit)),
            Err(StreamError::Malformed { violation, .. }) => Err(ConnectionError::Malformed(violation)),
            Err(StreamError::UnexpectedContent) => Err(ConnectionError::Malformed(Violation::RemoteReset)),
            Ok(accepted) => match accepted? {
                Err(error) => Err(self.fail(&error)),
                Ok((request, respond)) => Ok(self.open(request, respond)),
            },
        })
    }

    /// The first step of a drain: GOAWAY with the largest stream id. New streams are still served.
    pub fn go_away_gently(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.graceful_shutdown();
        }
    }

    /// The second step: GOAWAY with the last stream that came. Younger ones are ignored, and the connection
    /// closes when those before have ended.
    pub fn go_away_now(&mut self) {
        self.go_away_gently();
        self.state.acknowledge_shutdown_ping();
    }

    /// The sender of PINGs to the client; `None` if it has been taken.
    pub fn pinger(&mut self) -> Option<Pinger> {
        let pings = self.connection.as_mut()?.ping_pong()?;
        Some(Pinger::new(pings, &self.state))
    }

    /// After [`ConnectionError::InvalidMessage`] or [`ConnectionError::Protocol`]: returns when the client has
    /// closed, else never, so the caller sets a limit. Dropping the future closes the socket, with RST if the
    /// client sent more meanwhile.
    pub fn wait_for_peer(self) -> impl Future<Output = ()> {
        let conn = self.state.take_conn();
        drop(self); // here: a future that waits need not hold what h2 held
        async move {
            let Some(conn) = conn else { return };
            Lingering::new(conn).peer_closed().await;
        }
    }

    /// Has the client closed or reset the connection?
    #[must_use]
    pub fn is_peer_gone(&self) -> bool {
        matches!(self.state.status(), ConnectionStatus::ClosedByPeer | ConnectionStatus::Reset)
    }

    fn open(
        &mut self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
    ) -> (RequestHead, Incoming, Responder) {
        self.last_accepted = respond.stream_id().as_u32();
        self.accepted_in_turn = self.accepted_in_turn.saturating_add(1);
        let original = self.state.take_original(self.last_accepted);
        let (parts, recv) = request.into_parts();
        let stream = Stream::new(Sending::Head(respond), &self.state, None);
        let responder = Responder(Outgoing::new(Rc::clone(&stream), Ending::Open));
        let mut head = request_from_h2(parts);
        if let Some(original) = original {
            restore(&mut head, original);
        }
        (head, Incoming::new(recv, stream), responder)
    }

    fn fail(&mut self, error: &h2::Error) -> ConnectionError {
        // Ends the streams: after a failed write h2 would leave them waiting.
        self.connection = None;
        match self.state.status() {
            ConnectionStatus::MalformedMessage(stream) if stream <= self.last_accepted => {
                ConnectionError::InvalidMessage { unread: None }
            }
            ConnectionStatus::MalformedMessage(_) => {
                let violation = self.state.malformed_as.get().unwrap_or(Violation::InvalidHeaderField);
                ConnectionError::InvalidMessage { unread: Some(violation) }
            }
            ConnectionStatus::Flooded { flood, stream } => {
                let unread = (stream > self.last_accepted).then(|| flood.violation_of_culprit());
                match flood {
                    Flood::Continuations => ConnectionError::Protocol { unread },
                    Flood::EmptyFrames | Flood::Priorities | Flood::WindowUpdates => {
                        ConnectionError::Flooded { unread }
                    }
                }
            }
            ConnectionStatus::ProtocolError => ConnectionError::Protocol { unread: self.state.malformed_as.get() },
            ConnectionStatus::Open if error.is_library() => ConnectionError::Protocol { unread: None },
            ConnectionStatus::Open
            | ConnectionStatus::ClosedByPeer
            | ConnectionStatus::ClosedByUs
            | ConnectionStatus::NotHttp2
            | ConnectionStatus::Reset => ConnectionError::ExchangeError(lost(&self.state, CONNECTION)),
        }
    }
}

impl Drop for ServerConnection {
    fn drop(&mut self) {
        // The streams hold the connection's state, and must not keep the socket open with it.
        drop(self.state.take_conn());
    }
}

/// Sends PING (RFC 9113 6.7) while another task drives the connection.
pub struct Pinger {
    pings: PingPong,
    state: Rc<ConnectionState>,
}

/// Whether anything comes from the peer.
pub struct Traffic(Rc<ConnectionState>);

impl Pinger {
    pub(super) fn new(pings: PingPong, state: &Rc<ConnectionState>) -> Self {
        Self { pings, state: Rc::clone(state) }
    }

    /// Sends PING and waits for its acknowledgement, which never comes if the connection ends.
    ///
    /// # Cancellation
    /// Dropped, it leaves a PING under way; do not send another.
    pub async fn ping(&mut self) {
        if self.pings.ping(Ping::opaque()).await.is_err() {
            pending().await
        }
    }

    /// A view of what comes, for the time of a [`Self::ping`].
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic(Rc::clone(&self.state))
    }
}

impl Traffic {
    /// Bytes read from the socket so far.
    #[must_use]
    pub fn rx_bytes(&self) -> u64 {
        self.0.rx_bytes()
    }
}

/// Sends the response to one request. Dropped, it resets the stream with CANCEL.
#[derive(Debug)]
pub struct Responder(Outgoing);

impl Responder {
    /// Sends the head. With [`Payload::None`] it ends the stream; if the request has not ended by then, h2
    /// adds RST_STREAM with NO_ERROR as soon as both halves are dropped (RFC 9113 8.1). An error shows when the
    /// payload is written.
    #[must_use = "dropping it resets the stream, unless there is no payload"]
    pub fn respond(self, head: &ResponseHead, payload: Payload) -> Outgoing {
        let Self(mut outgoing) = self;
        let is_end = payload == Payload::None;
        let sent = match &mut *outgoing.stream.sending.borrow_mut() {
            Sending::Head(respond) => Some(respond.send_response(response_to_h2(head), is_end)),
            Sending::Body(_) => None,
        };
        match sent {
            None => {}
            Some(Err(error)) => outgoing.broken = Some(outgoing.stream.broken(&error)),
            Some(Ok(body)) => {
                outgoing.stream.sending.replace(Sending::Body(body));
                outgoing.stream.head_submitted(&head.headers, STATUS_BYTES);
                if is_end {
                    outgoing.ending = Ending::Sent;
                }
            }
        }
        outgoing
    }

    /// Where the stream is counted, if its connection counts.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.0.stream.counted()
    }

    /// A way to send informational responses while another owner has the request's body.
    #[must_use]
    pub fn informational_sender(&self) -> InformationalSender {
        let stream = Rc::clone(&self.0.stream);
        // Not sent once a final head was, or when the stream is gone.
        InformationalSender::new(move |head| {
            let is_sent = match &mut *stream.sending.borrow_mut() {
                Sending::Head(respond) => respond.send_informational(response_to_h2(head)).is_ok(),
                Sending::Body(_) => false,
            };
            if is_sent {
                stream.head_submitted(&head.headers, STATUS_BYTES);
            }
            is_sent
        })
    }

    /// RST_STREAM with `reason` and no response.
    pub fn reset(self, reason: ResetReason) {
        self.0.reset(reason);
    }
}
