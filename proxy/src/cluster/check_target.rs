//! What is checked, and what a check may find of it.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use http::header::USER_AGENT;
use http::{HeaderValue, Method, Version};
use tokio::io::AsyncWriteExt;

use super::Origin;
use super::encryption::encrypt;
use crate::access_log::StreamInfo;
use crate::codec::{ExchangeError, Headers, RequestHead, ResponseHead};
use crate::config;
use crate::config::cluster::UpstreamSocket;
use crate::config::tls::Carries;
use crate::config::upstream_name::RequestedNames;
use crate::net::{Address, Conn, ConnectOptions, Outside};
use crate::stats::{ClusterStats, CodecStats, HandshakeStats};

/// Bytes of a response to a check that are read to have the connection for the next one.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

/// What came back to a request.
pub(super) struct Response {
    pub(super) head: ResponseHead,
    /// As far as it was read.
    pub(super) body: BytesMut,
    pub(super) trailers: Option<Headers>,
}

/// What a check found, and what else the response says of the endpoint.
pub(super) struct Finding {
    pub(super) found: Found,
    /// `x-envoy-degraded`
    pub(super) is_degraded: bool,
    /// `x-envoy-immediate-health-check-fail`, with a response that fails.
    pub(super) is_excluded: bool,
}

impl From<Found> for Finding {
    fn from(found: Found) -> Self {
        Self { found, is_degraded: false, is_excluded: false }
    }
}

/// What a check found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Found {
    /// No response, or none that can be read, or one after which the check may be repeated.
    Failure(Failure),
    /// The response wanted.
    Success,
    /// A clear response, and not the one wanted.
    Verdict,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    /// There was a response.
    Response,
    /// The connection failed.
    Network,
    /// There was no response in time.
    Timeout,
}

/// The endpoint that is checked, and how it is reached.
#[derive(Clone, Copy)]
pub(super) struct Target<'t> {
    pub(super) outside: &'t Outside,
    pub(super) address: &'t Address,
    pub(super) config: &'t config::Cluster,
    /// How it is connected to.
    pub(super) socket: &'t UpstreamSocket,
    pub(super) codec_stats: &'t CodecStats,
    /// There if any connection of the cluster is encrypted.
    pub(super) tls_stats: Option<&'t HandshakeStats>,
    /// The names for TLS.
    pub(super) names: &'t RequestedNames,
    pub(super) stats: &'t ClusterStats,
    /// What the values of headers are made of.
    pub(super) info: &'t StreamInfo,
}

impl Target<'_> {
    /// The head of a check, as of HTTP/2.
    pub(super) fn head(self, method: Method, path: &str, authority: &str) -> RequestHead {
        let mut headers = Headers::default();
        headers.append(USER_AGENT, HeaderValue::from_static("Envoy/HC")); // apps recognise the check by it
        RequestHead {
            method,
            scheme: Some(self.scheme()),
            authority: HeaderValue::from_str(authority).ok(),
            path: HeaderValue::from_str(path).ok(),
            protocol: None,
            version: Version::HTTP_2,
            headers,
        }
    }

    /// What came of reading from a connection. Counts what is no HTTP.
    pub(super) fn counted<T>(self, read: Result<T, ExchangeError>) -> Option<T> {
        if matches!(read, Err(ExchangeError::Malformed(_))) {
            self.stats.upstream_cx_protocol_error.inc();
        }
        read.ok()
    }

    /// The scheme of requests.
    fn scheme(self) -> HeaderValue {
        HeaderValue::from_static(if self.socket.tls.is_some() { "https" } else { "http" })
    }

    pub(super) async fn connect(self) -> io::Result<Conn> {
        let options = ConnectOptions {
            from: self.config.source,
            options: Arc::clone(self.config.socket_options.of(self.address)),
            ..ConnectOptions::default()
        };
        let mut conn = self.outside.net.connect(self.address, &options).await?;
        if let Some(header) = Origin::own_header(self.socket, &conn.local, &conn.peer) {
            conn.write_all(&header).await?;
        }
        match (&self.socket.tls, self.tls_stats) {
            (Some(tls), Some(stats)) => {
                let counted = (stats, &*self.outside.logs);
                encrypt(conn, tls, (self.names, Carries::Other), counted).await.map_err(io::Error::other)
            }
            _ => Ok(conn),
        }
    }
}

/// Where `wanted` begins in `within`.
pub(super) fn find(within: &[u8], wanted: &[u8]) -> Option<usize> {
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
