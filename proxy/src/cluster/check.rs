//! One health check: a request over HTTP or gRPC, or bytes over TCP, and what its response says.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::check_target::{Failure, Finding, Found, Target, find};
use super::{Cluster, Endpoint, Origin};
use super::{check_http, check_http2};
use crate::codec::http1::ClientConnection;
use crate::config::address::ProxyVersion;
use crate::config::balancing::CheckedAt;
use crate::config::health::Probe;
use crate::net::{Address, Conn};

/// Bytes of a TCP response that are searched.
const TCP_RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// Connections that are kept from one check to the next.
#[derive(Default)]
pub(super) struct Kept {
    http1: Option<ClientConnection>,
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
    let CheckedAt { port, address, .. } = cluster.placement(endpoint).check;
    match (port, address.as_ref().unwrap_or(&endpoint.address)) {
        (Some(port), Address::Socket(at)) => Address::Socket(SocketAddr::new(at.ip(), port.get())),
        (_, address) => address.clone(),
    }
}

/// # Cancellation
/// Safe to drop; the connection is then in no state to be used again.
pub(super) async fn run_check(probe: &Probe, authority: &str, target: Target<'_>, kept: &mut Kept) -> Finding {
    match probe {
        Probe::Grpc { service, edits, .. } => {
            check_http2::grpc(service, edits, authority, target, &mut kept.http2).await.into()
        }
        Probe::Http(probe) => check_http::check(probe, authority, target, (&mut kept.http1, &mut kept.http2)).await,
        Probe::Tcp { header, send, receive } => tcp(*header, send, receive, target, kept).await.into(),
    }
}

async fn tcp(
    header: Option<ProxyVersion>,
    send: &[u8],
    receive: &[Vec<u8>],
    target: Target<'_>,
    kept: &mut Kept,
) -> Found {
    let connected = match kept.tcp.take() {
        Some(conn) => Ok(conn),
        None => connect_tcp(header, !receive.is_empty(), target).await,
    };
    let Ok(mut conn) = connected else { return Found::Failure(Failure::Network) };
    if receive.is_empty() {
        // As in Envoy: that there is a connection is all that was to be found, and the next check has to find it again.
        return Found::Success;
    }
    match check_tcp(&mut conn, send, receive).await {
        Some(()) => {
            kept.tcp = Some(conn);
            Found::Success
        }
        None => Found::Failure(Failure::Network),
    }
}

async fn connect_tcp(header: Option<ProxyVersion>, is_used: bool, target: Target<'_>) -> io::Result<Conn> {
    let mut conn = target.connect().await?;
    if let Some(version) = header.filter(|_| is_used) {
        conn.write_all(&Origin::header_of_check(version, &conn.local, &conn.peer)).await?;
    }
    Ok(conn)
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
