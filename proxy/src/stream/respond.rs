//! The way back to the client, by either protocol: what is sent before the response, and how its head is finished.

use std::rc::Rc;

use http::header::CONNECTION;
use http::{HeaderValue, StatusCode, Version};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::decorate;
use super::service::Service;
use super::{After, Persistence, StreamContext};
use crate::access_log::StreamInfo;
use crate::codec::http1::{Close, ServerConnection};
use crate::codec::{InformationalSender, Payload, RequestHead, ResponseHead, Writer, http2, names};
use crate::tunnel::handshake;

/// Where the response goes.
pub(crate) enum Responder<'a> {
    Http1 {
        connection: &'a mut ServerConnection,
        /// Called when a response is about to leave.
        persistence: &'a mut dyn FnMut() -> Persistence,
    },
    Http2 {
        respond: http2::Responder,
        go_away: Rc<GoAway>,
    },
}

/// A stream's request that its HTTP/2 connection be drained.
#[derive(Default)]
pub(crate) struct GoAway(Notify);

impl GoAway {
    pub(super) fn request(&self) {
        self.0.notify_one();
    }

    /// # Cancellation
    /// Safe to drop.
    pub(crate) async fn requested(&self) {
        self.0.notified().await;
    }
}

impl Responder<'_> {
    /// Sends what comes before the final response.
    pub(super) fn informational_sender(&self) -> InformationalSender {
        match self {
            Self::Http1 { connection, .. } => connection.informational_sender(),
            Self::Http2 { respond, .. } => respond.informational_sender(),
        }
    }

    /// Sends 100 (Continue).
    pub(super) fn send_continue(&mut self, service: &Service, info: &mut StreamInfo) {
        match self {
            Self::Http1 { connection, .. } => connection.send_continue(),
            Self::Http2 { respond, .. } => {
                respond.informational_sender().send(&ResponseHead::new(StatusCode::CONTINUE));
            }
        }
        service.count_response(StatusCode::CONTINUE);
        info.response_code = Some(StatusCode::CONTINUE.as_u16());
    }
}

/// A response head, and what follows it.
pub(super) struct Response {
    pub(super) head: ResponseHead,
    pub(super) payload: Payload,
    /// `Close`: an HTTP/1 connection ends with this response.
    pub(super) persistence: Persistence,
}

/// Does to the head of a response what its route sets, with what is known of the stream by now. As in Envoy, a response of the
/// proxy's own has no status yet.
pub(super) fn edit_response(stream: &mut StreamContext<'_>, head: &mut ResponseHead) {
    let StreamContext { request, exchange, info, .. } = stream;
    if !exchange.filters.has_no_edits() {
        info.bytes_received = exchange.bytes_received;
        exchange.filters.edit_response(head, request, info);
    }
}

/// Says how often the request was sent, if the route wants that. Connection manager and filters do not.
pub(super) fn tell_attempts(stream: &StreamContext<'_>, head: &mut ResponseHead) {
    if stream.info.attempts_in_response {
        head.headers.set(names::X_ENVOY_ATTEMPT_COUNT.clone(), HeaderValue::from(stream.info.attempts));
    }
}

/// Queues a response head, finished for this client's protocol, and counts it.
pub(super) fn begin_response(
    service: &Service,
    request: &RequestHead,
    response: Response,
    responder: Responder<'_>,
    info: &mut StreamInfo,
) -> Writer {
    let Response { mut head, payload, persistence: wanted } = response;
    decorate::response(&mut head, service.server_header.clone(), service.date.at(service.outside.clock.wall()));
    if let Some(tracer) = &service.tracer {
        tracer.respond(&mut head, info);
    }
    if let Some(via) = &service.options.via {
        decorate::append_via(&mut head.headers, via);
    }
    decorate::echo_request_id(&mut head, request, service.options.request_ids, info.internal);
    if !info.is_health_check {
        service.count_response(head.status);
    }
    info.response_code = Some(head.status.as_u16());
    info.times.response_begin = Some(Instant::now());
    let writer = match responder {
        Responder::Http1 { connection, persistence } => {
            // A tunnel's response has no field about its connection, which is no longer HTTP.
            let closes =
                wanted == Persistence::Close || (payload != Payload::Raw && persistence() == Persistence::Close);
            if closes {
                let names_upgrade = head.headers.upgrade().is_some();
                let value = if names_upgrade { "upgrade, close" } else { "close" };
                head.headers.set(CONNECTION, HeaderValue::from_static(value));
            } else if request.version == Version::HTTP_10 && payload != Payload::Raw {
                head.headers.set(CONNECTION, HeaderValue::from_static("keep-alive"));
            }
            Writer::Http1(connection.respond(&head, payload, &request.method))
        }
        Responder::Http2 { respond, go_away } => {
            if service.drain.sends_away() {
                go_away.request();
            }
            handshake::response_to_http2(&mut head);
            Writer::Http2(respond.respond(&head, payload))
        }
    };
    info.response = Some(head);
    writer
}

/// What an HTTP/1 client may still send behind its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Remaining {
    /// Nothing: it has sent its whole request and expects the connection to close.
    Nothing,
    /// The rest of its body, or another request.
    Possible,
}

/// What becomes of an HTTP/1 connection whose response has been sent.
pub(super) fn after_response(persistence: Persistence, remaining: Remaining) -> After {
    match (persistence, remaining) {
        (Persistence::KeepAlive, _) => After::KeepAlive,
        // Nothing can be lost by closing at once.
        (Persistence::Close, Remaining::Nothing) => After::Close(Close::Flush),
        (Persistence::Close, Remaining::Possible) => After::Close(Close::FlushThenWaitForPeer),
    }
}
