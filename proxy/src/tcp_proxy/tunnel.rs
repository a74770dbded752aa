//! Bytes inside HTTP (`tunneling_config`): the payload of a CONNECT or a POST takes the place of a connection to an endpoint.
//!
//! Over HTTP/2 each half ends by itself, as with TCP. HTTP/1 has no half-close: the end of either side ends both, as in Envoy.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderValue, Method, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::access_log::StreamInfo;
use crate::access_log::format::{Heads, header_value};
use crate::cluster::{Endpoint, Failure, Lease, Origin, Wanted};
use crate::codec::{
    Body, ExchangeError, Frame, Headers, Payload, RequestHead, ResetReason, ResponseHead, Writer, http2,
};
use crate::config::cluster::Priority;
use crate::config::filter_state::{Object, ObjectKind};
use crate::config::tcp_proxy::Tunneling;
use crate::filter::edits::edit_tunnel;
use crate::net::ConnInfo;

/// Why there is no tunnel.
pub(super) enum Unopened {
    /// There is no connection to the endpoint.
    Unconnected(Failure),
    /// The endpoint ended the connection or the stream before it responded.
    Lost,
    /// It responded otherwise.
    Refused(StatusCode),
}

/// The payload of a request that an endpoint has accepted. Dropped before both halves have ended, it is broken off.
pub(super) struct Tunnel {
    /// `None` once the endpoint takes nothing more.
    writer: Option<Writer>,
    body: Body,
    /// Bytes that came and have not been read.
    unread: Bytes,
    /// `None` once the endpoint is given up.
    lease: Option<Lease>,
    /// How the endpoint broke it off.
    broken: Option<ExchangeError>,
    written: Written,
    trailers: Trailers,
}

/// What becomes of the trailers of a tunnel.
enum Trailers {
    Dropped,
    /// They are wanted: these have come, and have not been taken.
    Kept(Option<Headers>),
}

/// How far the payload that is written has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Written {
    Open,
    /// Its end has been handed over.
    Finished,
}

/// Requests a tunnel of `endpoint`.
///
/// # Cancellation
/// Dropped, it gives the attempt up.
pub(super) async fn open(
    options: &Tunneling,
    endpoint: &Endpoint,
    origin: &Origin,
    info: &mut StreamInfo,
) -> Result<Tunnel, Unopened> {
    let leased = endpoint.pool(Priority::Default, origin).checkout(Wanted::Any).await;
    let lease = leased.map_err(Unopened::Unconnected)?;
    info.upstream_connection = Some(lease.info());
    let head = request_head(options, info);
    let payload = if options.post_path.is_some() { Payload::Some } else { Payload::Raw };
    let mut pending = PendingTunnel::send(lease, &head, payload).ok_or(Unopened::Lost)?;
    let response = poll_fn(|cx| pending.poll(cx)).await;
    if let (Ok((head, _)), true) = (&response, options.keeps_headers) {
        note_headers(head, info);
    }
    match response {
        Ok((head, body)) if is_accepted(&head, &body) => {
            pending.accepted(body, Trailers::of(options)).ok_or(Unopened::Lost)
        }
        Ok((head, _)) => Err(Unopened::Refused(head.status)), // dropped, it is broken off
        Err(broken) => {
            pending.lost(broken);
            Err(Unopened::Lost)
        }
    }
}

/// RFC 9110 9.3.6: any 2xx accepts a CONNECT. Over HTTP/2 Envoy takes 200 alone, and none that ends at once.
fn is_accepted(head: &ResponseHead, body: &Body) -> bool {
    match head.version {
        Version::HTTP_2 => head.status == StatusCode::OK && !body.is_complete(),
        _ => head.status.is_success(),
    }
}

/// The request for a tunnel.
fn request_head(options: &Tunneling, info: &StreamInfo) -> RequestHead {
    let target = header_value(&options.hostname, Heads { request: None, response: None }, info);
    let mut head = RequestHead {
        method: Method::CONNECT,
        // Values of headers make a value.
        authority: HeaderValue::from_bytes(&target).ok(),
        version: Version::HTTP_11,
        ..RequestHead::default()
    };
    if let Some(path) = &options.post_path {
        head.method = Method::POST;
        head.path = Some(path.clone());
        head.scheme = Some(HeaderValue::from_static("http"));
    }
    edit_tunnel(&options.headers, &mut head, info);
    head
}

impl Trailers {
    fn of(options: &Tunneling) -> Self {
        if options.keeps_trailers { Self::Kept(None) } else { Self::Dropped }
    }
}

/// `propagate_response_headers`: what the endpoint has responded, whether it accepts the tunnel or not.
fn note_headers(head: &ResponseHead, info: &mut StreamInfo) {
    let status = (":status", head.status.as_str().as_bytes());
    let fields = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    note("envoy.tcp_proxy.propagate_response_headers", [status].into_iter().chain(fields), info);
}

/// `propagate_response_trailers`
pub(super) fn note_trailers(trailers: &Headers, info: &mut StreamInfo) {
    let fields = trailers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    note("envoy.tcp_proxy.propagate_response_trailers", fields, info);
}

/// Leaves fields under `key`, as JSON. Those of the last attempt stay.
fn note<'f>(key: &str, fields: impl Iterator<Item = (&'f str, &'f [u8])>, info: &mut StreamInfo) {
    let fields = fields.map(|(name, value)| serde_json::json!({"key": name, "value": String::from_utf8_lossy(value)}));
    let text = serde_json::json!({"headers": fields.collect::<Vec<_>>()}).to_string();
    if let Some(object) = Object::parse(ObjectKind::Fields, text.as_bytes()) {
        info.set_state(key.into(), object);
    }
}

/// A request whose response has not come. Dropped, it is broken off.
struct PendingTunnel {
    writer: Option<Writer>,
    lease: Option<Lease>,
    /// Of an HTTP/2 stream.
    response: Option<http2::Response>,
}

impl PendingTunnel {
    /// `None`: nothing was sent.
    fn send(mut lease: Lease, head: &RequestHead, payload: Payload) -> Option<Self> {
        let (writer, response) = match &mut lease {
            Lease::Http1(exclusive) => (Writer::Http1(exclusive.connection().send(head, payload)), None),
            Lease::Http2(stream) => {
                let (outgoing, response) = stream.connection().send(head, payload).ok()?;
                (Writer::Http2(outgoing), Some(response))
            }
            Lease::Tcp(_) => return None, // no pool lends one
        };
        Some(Self { writer: Some(writer), lease: Some(lease), response })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(ResponseHead, Body), ExchangeError>> {
        if let Some(writer) = &mut self.writer {
            // An endpoint that takes nothing gives the reason in its response.
            let _flushed = writer.poll_flush(cx);
        }
        match (&mut self.lease, &mut self.response) {
            (Some(Lease::Http1(exclusive)), _) => {
                exclusive.connection().poll_response(cx).map_ok(|(head, incoming)| (head, Body::Http1(incoming)))
            }
            (_, Some(response)) => response.poll_head(cx).map_ok(|(head, incoming)| (head, Body::Http2(incoming))),
            (_, None) => Poll::Ready(Err(ExchangeError::Closed)),
        }
    }

    fn accepted(mut self, body: Body, trailers: Trailers) -> Option<Tunnel> {
        let lease = self.lease.take()?;
        let (unread, broken, written) = (Bytes::new(), None, Written::Open);
        Some(Tunnel { writer: self.writer.take(), body, unread, lease: Some(lease), broken, written, trailers })
    }

    fn lost(mut self, broken: ExchangeError) {
        match self.lease.take() {
            // As in Envoy, which closes a connection itself that has ended, and not one that was reset.
            Some(lease @ Lease::Http1(_)) if broken != ExchangeError::ConnectionReset => drop(lease),
            Some(lease) => {
                lease.close_broken(broken);
                self.writer = None;
            }
            None => {}
        }
    }
}

impl Drop for PendingTunnel {
    fn drop(&mut self) {
        break_off(self.writer.take(), self.lease.take());
    }
}

/// RST_STREAM with INTERNAL_ERROR, as Envoy's upstreams see it; an HTTP/1 connection closes.
fn break_off(writer: Option<Writer>, lease: Option<Lease>) {
    let Some(lease) = lease else { return };
    lease.count_reset();
    if let Some(writer) = writer {
        writer.reset(ResetReason::InternalError);
    }
}

impl Tunnel {
    /// The facts of its connection, for logs.
    pub(super) fn info(&self) -> Option<ConnInfo> {
        self.lease.as_ref().map(Lease::info)
    }

    /// The trailers that were wanted and have come, once.
    pub(super) fn take_trailers(&mut self) -> Option<Headers> {
        if let Trailers::Kept(kept) = &mut self.trailers { kept.take() } else { None }
    }

    /// Ends the one half with the other?
    pub(super) fn ends_as_a_whole(&self) -> bool {
        matches!(self.lease, Some(Lease::Http1(_)))
    }

    fn read(&mut self, buf: &mut ReadBuf<'_>) {
        let count = self.unread.len().min(buf.remaining());
        buf.put_slice(self.unread.get(..count).unwrap_or_default());
        self.unread.advance(count);
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.unread.is_empty() {
            match ready!(this.body.poll_frame(cx)) {
                Some(Ok(Frame::Data(data))) => this.unread = data,
                // Trailers are the end, as in Envoy.
                None => return Poll::Ready(Ok(())),
                Some(Ok(Frame::Trailers(trailers))) => {
                    if let Trailers::Kept(kept) = &mut this.trailers {
                        *kept = Some(trailers);
                    }
                    return Poll::Ready(Ok(()));
                }
                Some(Err(broken)) => {
                    this.broken = Some(broken);
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
            }
        }
        this.read(buf);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Some(writer) = &mut self.get_mut().writer else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        ready!(writer.poll_ready(cx)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        writer.write(Bytes::copy_from_slice(buf));
        // What does not leave at once leaves with the next flush.
        let _flushed = writer.poll_flush(cx);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(writer) = &mut self.get_mut().writer else { return Poll::Ready(Ok(())) };
        writer.poll_flush(cx).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.written == Written::Open {
            this.written = Written::Finished;
            if let Some(writer) = &mut this.writer {
                writer.finish(None);
            }
        }
        Pin::new(this).poll_flush(cx)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let (Some(lease), writer) = (self.lease.take(), self.writer.take()) else { return };
        if let Some(broken) = self.broken {
            drop(writer);
            return lease.close_broken(broken);
        }
        if self.written == Written::Finished && self.body.is_complete() && matches!(lease, Lease::Http2(_)) {
            drop((std::mem::replace(&mut self.body, Body::Empty), writer));
            return lease.release();
        }
        break_off(writer, Some(lease));
    }
}
