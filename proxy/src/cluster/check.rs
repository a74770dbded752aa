//! One health check: a request over HTTP/1.1, HTTP/2 or gRPC, or bytes over TCP, and what its response says.

use std::net::SocketAddr;

use http::{HeaderValue, Method, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::check_http2;
use super::check_target::{BODY_BYTES_MAX, DEGRADED, Failure, Found, Target};
use super::{Cluster, Endpoint};
use crate::codec::http1::{ClientConnection, ClientOptions};
use crate::codec::{Frame, Headers, Payload, RequestHead};
use crate::config::header_names::{NameCase, TrailerRule};
use crate::config::health::{CheckVersion, Probe};
use crate::net::{Address, Conn};

/// Largest head of a response to a check. Bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;
/// Bytes of a TCP response that are searched.
const TCP_RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// Connections that are kept from one check to the next.
#[derive(Default)]
pub(super) struct Kept {
    /// The last response said so: `x-envoy-degraded`.
    pub(super) is_degraded: bool,
    http: Option<ClientConnection>,
    http2: Option<check_http2::Connection>,
    pub(super) tcp: Option<Conn>,
}

/// Waits until the endpoint has closed the connection. What it sends before counts for nothing.
pub(super) async fn ended(conn: &mut Conn) {
    let mut unasked = [0; 64];
    while !matches!(conn.read(&mut unasked).await, Ok(0) | Err(_)) {}
}

/// Where checks of an endpoint go.
pub(super) fn checked_address(cluster: &Cluster, endpoint: &Endpoint) -> Address {
    match (cluster.placement(endpoint).check.port, &endpoint.address) {
        (Some(port), Address::Socket(at)) => Address::Socket(SocketAddr::new(at.ip(), port.get())),
        (_, address) => address.clone(),
    }
}

/// # Cancellation
/// Safe to drop; the connection is then in no state to be used again.
pub(super) async fn run_check(probe: &Probe, authority: &str, target: Target<'_>, kept: &mut Kept) -> Found {
    match probe {
        Probe::Grpc { service, .. } => check_http2::grpc(service, authority, target, &mut kept.http2).await,
        Probe::Http { version, path, expected, retriable, .. } => {
            let status = match version {
                CheckVersion::Http1 => check_http(path, authority, target, &mut kept.http).await,
                CheckVersion::Http2 => check_http2::status(path, authority, target, &mut kept.http2).await,
            };
            let Some((status, is_degraded)) = status else { return Found::Failure(Failure::Network) };
            kept.is_degraded = is_degraded;
            if expected.iter().any(|range| range.contains(&status)) {
                Found::Success
            } else if retriable.iter().any(|range| range.contains(&status)) {
                Found::Failure(Failure::Response)
            } else {
                Found::Verdict
            }
        }
        Probe::Tcp { send, receive } => {
            let mut conn = match kept.tcp.take() {
                Some(conn) => conn,
                None => match target.connect().await {
                    Ok(conn) => conn,
                    Err(_) => return Found::Failure(Failure::Network),
                },
            };
            match check_tcp(&mut conn, send, receive).await {
                Some(()) => {
                    // Without a response that is awaited the next check has to connect, to find whether that succeeds.
                    kept.tcp = (!receive.is_empty()).then_some(conn);
                    Found::Success
                }
                None => Found::Failure(Failure::Network),
            }
        }
    }
}

async fn check_http(
    path: &str,
    authority: &str,
    target: Target<'_>,
    kept: &mut Option<ClientConnection>,
) -> Option<(u16, bool)> {
    let kept_one = kept.take().filter(ClientConnection::is_reusable);
    let mut connection = match kept_one.and_then(|mut kept| kept.peek().is_none().then_some(kept)) {
        Some(connection) => connection,
        None => {
            let options = ClientOptions {
                head_bytes_max: HEAD_BYTES_MAX,
                headers_max: HEADERS_MAX,
                case: NameCase::Lower,
                trailers: TrailerRule::Dropped,
                write_buffer_bytes_max: HEAD_BYTES_MAX,
            };
            target.codec_stats.http1();
            ClientConnection::new(target.connect().await.ok()?, options)
        }
    };
    let mut headers = Headers::default();
    headers.append(http::header::USER_AGENT, HeaderValue::from_static("Envoy/HC")); // apps recognise the check by it
    let head = RequestHead {
        method: Method::GET,
        scheme: None,
        authority: HeaderValue::from_str(authority).ok(),
        path: HeaderValue::from_str(path).ok(),
        protocol: None,
        version: Version::HTTP_11,
        headers,
    };
    let mut outgoing = connection.send(&head, Payload::None);
    std::future::poll_fn(|cx| outgoing.poll_flush(cx)).await.ok()?;
    drop(outgoing);
    let (response, mut body) = connection.response().await.ok()?;
    let mut read = 0;
    while let Some(frame) = std::future::poll_fn(|cx| body.poll_frame(cx)).await {
        let Ok(Frame::Data(data)) = frame else { break };
        read += data.len();
        if read > BODY_BYTES_MAX {
            break;
        }
    }
    drop(body);
    if connection.is_reusable() {
        *kept = Some(connection);
    }
    let is_degraded = response.headers.contains(&DEGRADED);
    Some((response.status.as_u16(), is_degraded))
}

/// Sends `send` and waits for the responses.
async fn check_tcp(conn: &mut Conn, send: &[u8], receive: &[Vec<u8>]) -> Option<()> {
    conn.write_all(send).await.ok()?;
    let mut got = Vec::new();
    let mut searched = 0;
    for wanted in receive {
        loop {
            let rest = got.get(searched..).unwrap_or_default();
            if let Some(at) = find(rest, wanted) {
                searched += at + wanted.len();
                break;
            }
            if got.len() > TCP_RESPONSE_BYTES_MAX || conn.read_buf(&mut got).await.ok()? == 0 {
                return None;
            }
        }
    }
    Some(())
}

fn find(within: &[u8], wanted: &[u8]) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    within.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_where_they_begin() {
        assert_eq!(find(b"abcab", b"ca"), Some(2));
        assert_eq!(find(b"abc", b"abcd"), None);
        assert_eq!(find(b"", b""), Some(0));
    }
}
