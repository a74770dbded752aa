//! A request on its way to an endpoint, whose response has not come.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method, StatusCode};

use super::reach::{Course, Failed, is_loss};
use super::response::{UpstreamResponse, break_off};
use crate::cluster::{Endpoint, Exclusive, Failure, Lease, Stream, Tunnel};
use crate::codec::{
    Body, Counted, ExchangeError, Payload, RequestHead, ResetReason, ResponseHead, Writer, http1, http2,
};
use crate::exchange::{Exchange, TryExpired};
use crate::tunnel::handshake;

/// A request that was sent, and what its response is awaited on. Dropped, it is broken off: an HTTP/1 connection is closed, an
/// HTTP/2 stream reset.
pub(super) struct SentRequest {
    /// Where the rest of the request goes; `None` once the upstream stopped taking it.
    pub(super) writer: Option<Writer>,
    pub(super) awaited: Awaited,
    /// The connection had carried other requests.
    on_reused: bool,
    pub(super) endpoint: Rc<Endpoint>,
}

/// How the wait for a response has ended.
pub(super) type Received = Result<(ResponseHead, Body), ExchangeError>;

/// What a response is awaited on.
pub(super) enum Awaited {
    /// The whole connection, which had sent so many bytes before the request.
    Http1 { exclusive: Exclusive, written_before: u64 },
    /// A stream, which may request an upgrade to this protocol.
    Http2 { stream: Stream, response: http2::Response, upgrade: Option<HeaderValue> },
    /// A connection without framing, which is all that is wanted: the response is our own.
    Tcp { tunnel: Box<Tunnel>, incoming: Option<http1::Incoming> },
    /// It has come, or is not awaited any more.
    Over,
}

impl SentRequest {
    /// Sends the head; the rest follows through the writer. A connection without framing gets `first` instead of a head.
    ///
    /// # Errors
    /// Nothing was sent.
    pub(super) fn send(
        exchange: &Exchange<'_>,
        head: &RequestHead,
        endpoint: &Rc<Endpoint>,
        lease: Lease,
        first: Bytes,
        counted: Counted,
    ) -> Result<Self, Failed> {
        let payload = payload(exchange, head);
        let (writer, awaited, on_reused) = match lease {
            Lease::Http1(mut exclusive) => {
                let on_reused = exclusive.is_reused();
                let connection = exclusive.connection();
                let written_before = connection.tx_bytes();
                connection.count(counted);
                let with_length = (payload == Payload::None && head.wants_length()).then(|| with_zero_length(head));
                let writer = Writer::Http1(connection.send(with_length.as_ref().unwrap_or(head), payload));
                if let Some(informational_sender) = &exchange.informational_sender {
                    connection.pass_informational(informational_sender.clone());
                }
                (writer, Awaited::Http1 { exclusive, written_before }, on_reused)
            }
            Lease::Http2(stream) => {
                let on_reused = stream.is_reused();
                let upgrade = head.upgrade().cloned();
                let mut sent = head.clone();
                handshake::request_to_http2(&mut sent);
                let (outgoing, mut response) = stream
                    .connection()
                    .send_counted(&sent, payload, &counted)
                    .map_err(|broken| Failed::unseen(broken, on_reused))?;
                if let Some(informational_sender) = &exchange.informational_sender {
                    response.pass_informational(informational_sender.clone());
                }
                (Writer::Http2(outgoing), Awaited::Http2 { stream, response, upgrade }, on_reused)
            }
            Lease::Tcp(tunnel) => {
                tunnel.connection().count(counted);
                let (outgoing, incoming) = tunnel.halves(first);
                (Writer::Http1(outgoing), Awaited::Tcp { tunnel, incoming: Some(incoming) }, false)
            }
        };
        Ok(Self { writer: Some(writer), awaited, on_reused, endpoint: Rc::clone(endpoint) })
    }

    /// Informational responses so far.
    pub(super) fn informational(&mut self) -> &[StatusCode] {
        match &mut self.awaited {
            Awaited::Http1 { exclusive, .. } => exclusive.connection().informational(),
            Awaited::Http2 { response, .. } => response.informational(),
            Awaited::Tcp { .. } | Awaited::Over => &[],
        }
    }

    /// The wait has ended like this.
    pub(super) fn conclude(mut self, received: Received) -> Result<Box<UpstreamResponse>, Failed> {
        match received {
            Ok((mut head, body)) => {
                let lease = match std::mem::replace(&mut self.awaited, Awaited::Over) {
                    Awaited::Http1 { exclusive, .. } => Lease::Http1(exclusive),
                    Awaited::Http2 { stream, upgrade, .. } => {
                        if let Some(protocol) = upgrade {
                            handshake::response_from_http2(&mut head, &protocol);
                        }
                        Lease::Http2(stream)
                    }
                    Awaited::Tcp { tunnel, .. } => Lease::Tcp(tunnel),
                    Awaited::Over => return Err(Failed::unseen(ExchangeError::Closed, self.on_reused)),
                };
                Ok(Box::new(UpstreamResponse::new(head, body, self.writer.take(), Rc::clone(&self.endpoint), lease)))
            }
            Err(broken) => {
                let is_unseen = self.is_unseen(broken);
                let informed = self.informational().to_vec();
                let reach = Course { on_reused: self.on_reused, is_unseen, informed: &informed }.reach(broken);
                let writer = self.writer.take();
                match std::mem::replace(&mut self.awaited, Awaited::Over) {
                    Awaited::Http1 { exclusive, .. } => {
                        drop(writer);
                        Lease::Http1(exclusive).close_broken(broken);
                    }
                    // The writer goes last: what is dropped before the end is known resets the stream.
                    Awaited::Http2 { stream, .. } => Lease::Http2(stream).close_broken(broken),
                    Awaited::Tcp { tunnel, .. } => Lease::Tcp(tunnel).close_broken(broken),
                    Awaited::Over => {}
                }
                Err(Failed { failure: Failure::from(broken), reach })
            }
        }
    }

    /// Is it certain that no upstream has looked at a request that `broken` has ended?
    fn is_unseen(&mut self, broken: ExchangeError) -> bool {
        match &mut self.awaited {
            Awaited::Http1 { exclusive, written_before } => exclusive.connection().tx_bytes() == *written_before,
            Awaited::Http2 { stream, response, .. } => {
                let refused = broken == ExchangeError::StreamReset(ResetReason::RefusedStream);
                let excluded = refused && stream.connection().goaway_received();
                excluded || (is_loss(broken) && !response.request_was_sent())
            }
            Awaited::Tcp { tunnel, .. } => tunnel.connection().tx_bytes() == 0,
            Awaited::Over => false,
        }
    }

    /// The try's time is over.
    pub(super) fn expire(self, which: TryExpired) -> Failed {
        let nothing_sent = match &self.awaited {
            Awaited::Http1 { exclusive, written_before } => exclusive.connection_ref().tx_bytes() == *written_before,
            Awaited::Http2 { response, .. } => !response.request_was_sent(),
            Awaited::Tcp { tunnel, .. } => tunnel.connection().tx_bytes() == 0,
            Awaited::Over => false,
        };
        Failed::expired(which, nothing_sent)
    }
}

impl Awaited {
    /// Ready when the final head is there, or will not come.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        match self {
            Self::Http1 { exclusive, .. } => {
                exclusive.connection().poll_response(cx).map_ok(|(head, incoming)| (head, Body::Http1(incoming)))
            }
            Self::Http2 { response, .. } => {
                response.poll_head(cx).map_ok(|(head, incoming)| (head, Body::Http2(incoming)))
            }
            // The connection is there, and with it the response.
            Self::Tcp { incoming, .. } => match incoming.take() {
                Some(incoming) => Poll::Ready(Ok((ResponseHead::new(StatusCode::OK), Body::Tcp(incoming)))),
                None => Poll::Pending,
            },
            Self::Over => Poll::Pending,
        }
    }
}

impl Drop for SentRequest {
    fn drop(&mut self) {
        let lease = match std::mem::replace(&mut self.awaited, Awaited::Over) {
            Awaited::Http1 { exclusive, .. } => Lease::Http1(exclusive),
            Awaited::Http2 { stream, .. } => Lease::Http2(stream),
            Awaited::Tcp { tunnel, .. } => Lease::Tcp(tunnel),
            Awaited::Over => return,
        };
        break_off(self.writer.take(), &lease);
    }
}

fn payload(exchange: &Exchange<'_>, head: &RequestHead) -> Payload {
    if head.upgrade().is_some() || head.method == Method::CONNECT {
        Payload::Raw
    } else if exchange.has_no_body() {
        Payload::None
    } else {
        Payload::Some
    }
}

fn with_zero_length(head: &RequestHead) -> RequestHead {
    let mut head = head.clone();
    head.headers.set_if_absent(CONTENT_LENGTH, HeaderValue::from_static("0"));
    head
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;
    use crate::codec::Headers;

    #[test]
    fn a_method_that_may_have_content_says_that_it_has_none() {
        let mut head = RequestHead {
            method: Method::POST,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            version: Version::HTTP_11,
            headers: Headers::default(),
        };
        for (method, expected) in [
            ("GET", false),
            ("HEAD", false),
            ("DELETE", false),
            ("TRACE", false),
            ("CONNECT", false),
            ("POST", true),
            ("PUT", true),
            ("FOO", true),
        ] {
            head.method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(head.wants_length(), expected, "{method}");
        }
        assert_eq!(with_zero_length(&head).headers.get(&CONTENT_LENGTH).map(HeaderValue::as_bytes), Some(&b"0"[..]));
        head.headers.set(CONTENT_LENGTH, HeaderValue::from_static("00"));
        let lengths: Vec<_> = with_zero_length(&head).headers.get_all(&CONTENT_LENGTH).cloned().collect();
        assert_eq!(lengths, ["00"], "what the request says stays");
    }
}
