//! Health checks over HTTP/2: the health service of gRPC, and how a request is sent and its response read.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, TE};
use http::{HeaderName, HeaderValue, Method};
use tokio::task::JoinSet;

use super::check_target::{BODY_BYTES_MAX, Failure, Found, Response, Target};
use crate::codec::http2::{ClientConnection, MessageErrorScope};
use crate::codec::{Frame, Headers, Payload, RequestHead};
use crate::config::cluster::UpstreamProtocol;
use crate::config::http2::Http2Options;
use crate::config::mutation::Edits;
use crate::filter::edits;

/// A connection of checks, and the task that moves its bytes.
pub(super) struct Connection {
    connection: ClientConnection,
    _driver: JoinSet<()>,
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Asks for the health of a service.
pub(super) async fn grpc(
    service: &str,
    edits: &Edits,
    authority: &str,
    target: Target<'_>,
    kept: &mut Option<Connection>,
) -> Found {
    let mut head = target.head(Method::POST, "/grpc.health.v1.Health/Check", authority);
    head.headers.append(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head.headers.append(TE, HeaderValue::from_static("trailers"));
    edits::add_to_own(edits, &mut head, target.info);
    let Some(response) = exchange(head, Some(health_request(service)), target, kept).await else {
        return Found::Failure(Failure::Network);
    };
    let is_ok = |headers: &Headers| headers.get(&GRPC_STATUS).map(|status| status.as_bytes() == b"0");
    let status = response.trailers.as_ref().and_then(is_ok).or_else(|| is_ok(&response.head.headers));
    match response.head.status.as_u16() == 200 && status == Some(true) && says_serving(&response.body) {
        true => Found::Success,
        false => Found::Verdict,
    }
}

/// # Cancellation
/// Safe to drop; the connection is then closed.
pub(super) async fn exchange(
    head: RequestHead,
    body: Option<Bytes>,
    target: Target<'_>,
    kept: &mut Option<Connection>,
) -> Option<Response> {
    let usable = kept.take().filter(|kept| kept.connection.is_available() && !kept.connection.has_closed());
    let mut connection = match usable {
        Some(connection) => connection,
        None => connect(target).await?,
    };
    let payload = if body.is_some() { Payload::Some } else { Payload::None };
    let (mut outgoing, mut response) = connection.connection.send(&head, payload).ok()?;
    if let Some(body) = body {
        outgoing.write(body);
        outgoing.finish(None);
    }
    std::future::poll_fn(|cx| outgoing.poll_flush(cx)).await.ok()?;
    let (head, mut incoming) = target.counted(response.head().await)?;
    let mut whole = Response { head, body: BytesMut::new(), trailers: None };
    while let Some(frame) = std::future::poll_fn(|cx| incoming.poll_frame(cx)).await {
        match target.counted(frame)? {
            Frame::Data(data) if whole.body.len() + data.len() <= BODY_BYTES_MAX => whole.body.extend_from_slice(&data),
            Frame::Data(_) => return Some(whole), // without the connection, on which the rest is
            Frame::Trailers(trailers) => whole.trailers = Some(trailers),
        }
    }
    drop((outgoing, incoming));
    *kept = Some(connection);
    Some(whole)
}

async fn connect(target: Target<'_>) -> Option<Connection> {
    let options = match target.config.protocol.of(None) {
        UpstreamProtocol::Alpn(options) | UpstreamProtocol::Http2(options) => options,
        UpstreamProtocol::Http1 => Http2Options::default(),
    };
    // As in Envoy, whose codec is made with the connection, whether or not that comes about.
    target.codec_stats.http2().nghttp2_upstream_connections.inc();
    let conn = target.connect().await.ok()?;
    let both = ClientConnection::handshake(conn, &options, MessageErrorScope::Stream, target.codec_stats.http2()).await;
    let (connection, driver) = both.ok()?;
    let mut task = JoinSet::new();
    task.spawn_local(async move {
        driver.await;
    });
    Some(Connection { connection, _driver: task })
}

/// `grpc.health.v1.HealthCheckRequest`, whose only field is the name of the service, in a frame of gRPC.
fn health_request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2); // field 1, of bytes
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0); // not compressed
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.unsplit(message);
    frame.freeze()
}

fn put_varint(into: &mut BytesMut, mut number: usize) {
    while number > 0x7f {
        into.put_u8(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    into.put_u8(u8::try_from(number).unwrap_or(0));
}

/// Is this one frame of gRPC with `grpc.health.v1.HealthCheckResponse`, whose field 1 is SERVING (1)?
fn says_serving(body: &[u8]) -> bool {
    let Some((prefix, message)) = body.split_at_checked(5) else { return false };
    let length = prefix.iter().skip(1).fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    prefix.first() == Some(&0) && length == message.len() && message == [1 << 3, 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_health_service() {
        assert_eq!(health_request("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(health_request("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(health_request(&"x".repeat(300))[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
        for (body, serving) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], true),
            (&[0, 0, 0, 0, 2, 8, 2], false),
            (&[0, 0, 0, 0, 0], false),
            (&[1, 0, 0, 0, 2, 8, 1], false),
            (&[0, 0], false),
        ] {
            assert_eq!(says_serving(body), serving, "{body:?}");
        }
    }
}
