//! What is checked, and what a check may find of it.

use std::io;
use std::sync::Arc;

use http::HeaderName;
use tokio::io::AsyncWriteExt;

use super::Origin;
use super::encryption::encrypt;
use crate::config;
use crate::config::cluster::UpstreamSocket;
use crate::config::tls::Carries;
use crate::config::upstream_name::RequestedNames;
use crate::net::{Address, Conn, ConnectOptions, Outside};
use crate::stats::{CodecStats, HandshakeStats};

/// Bytes of a response to a check that are read to have the connection for the next one.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

/// A response with it says that the endpoint is to be used where healthy ones do not suffice.
pub(super) const DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");

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
}

impl Target<'_> {
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
