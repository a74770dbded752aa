//! The way back to the client, by either protocol: what is said before the response, and how its head is finished.

use std::rc::Rc;

use http::header::CONNECTION;
use http::{HeaderValue, StatusCode, Version};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::After;
use super::decorate;
use super::service::Service;
use crate::access_log::StreamInfo;
use crate::codec::http1::{Close, ServerConnection};
use crate::codec::{Informer, Payload, RequestHead, ResponseHead, Writer, http2, names};
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

/// Whether an HTTP/1 connection carries another request after a response (RFC 9112 9.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Persistence {
    Close,
    KeepAlive,
}

/// A stream's wish that its HTTP/2 connection be drained.
#[derive(Default)]
pub(crate) struct GoAway(Notify);

impl GoAway {
    pub(super) fn ask(&self) {
        self.0.notify_one();
    }

    /// # Cancellation
    /// Safe to drop.
    pub(crate) async fn asked(&self) {
        self.0.notified().await;
    }
}

impl Responder<'_> {
    /// Sends what comes before the final response.
    pub(super) fn informer(&self) -> Informer {
        match self {
            Self::Http1 { connection, .. } => Informer::http1(connection.informer()),
            Self::Http2 { respond, .. } => Informer::http2(respond.informer()),
        }
    }

    /// Says that the body may come.
    pub(super) fn send_continue(&mut self, service: &Service, info: &mut StreamInfo) {
        match self {
            Self::Http1 { connection, .. } => connection.send_continue(),
            Self::Http2 { respond, .. } => drop(respond.informer().inform(&ResponseHead::new(StatusCode::CONTINUE))),
        }
        service.count_response(StatusCode::CONTINUE);
        info.response_code = Some(StatusCode::CONTINUE.as_u16());
    }
}

/// Queues a response head, finished for this client's protocol, and counts it.
pub(super) fn begin_response(
    service: &Service,
    mut head: ResponseHead,
    payload: Payload,
    request: &RequestHead,
    responder: Responder<'_>,
    closes: bool,
    info: &mut StreamInfo,
) -> Writer {
    decorate::response(&mut head, service.server_header.clone(), service.date.at(service.outside.clock.wall()));
    decorate::echo_request_id(&mut head, request, service.options.request_ids, info.internal);
    if info.attempts_in_response {
        head.headers.set(names::X_ENVOY_ATTEMPT_COUNT.clone(), HeaderValue::from(info.attempts));
    }
    service.count_response(head.status);
    info.response_code = Some(head.status.as_u16());
    info.times.response_begin = Some(Instant::now());
    let writer = match responder {
        Responder::Http1 { connection, persistence } => {
            // A tunnel's response says nothing of its connection, which is no longer HTTP.
            if closes || (payload != Payload::Raw && persistence() == Persistence::Close) {
                let names_upgrade = head.headers.upgrade().is_some();
                head.headers
                    .set(CONNECTION, HeaderValue::from_static(if names_upgrade { "upgrade, close" } else { "close" }));
            } else if request.version == Version::HTTP_10 && payload != Payload::Raw {
                head.headers.set(CONNECTION, HeaderValue::from_static("keep-alive"));
            }
            Writer::Http1(connection.respond(&head, payload, &request.method))
        }
        Responder::Http2 { respond, go_away } => {
            if service.drain.is_draining() {
                go_away.ask();
            }
            handshake::response_to_http2(&mut head);
            Writer::Http2(respond.respond(&head, payload))
        }
    };
    info.response = Some(head);
    writer
}

/// What becomes of an HTTP/1 connection whose response has been sent.
pub(super) fn after_response(closes: bool, client_asked: bool) -> After {
    match (closes, client_asked) {
        (false, _) => After::KeepAlive,
        // The client expects the end and has sent all: nothing can be lost by closing at once.
        (true, true) => After::Close(Close::Flush),
        (true, false) => After::Close(Close::FlushThenWaitForPeer),
    }
}
