//! The protocols of peers, and the load balancer.

use std::fmt;

use serde::Deserialize;

use super::tls::{AppTls, ClientTls};
use crate::scenario::Ordered;
use crate::scenario::units::Time;

/// The protocol of a peer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum PeerProtocol {
    /// Nothing by itself: the script sends and receives bytes.
    Bytes,
    /// HTTP/1.0. An app closes the connection after each response.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge; the script may send frames by hand.
    Http2,
}

impl PeerProtocol {
    /// After how many requests a server of this protocol closes a connection, whatever its settings.
    #[must_use]
    pub fn requests_max(self) -> Option<usize> {
        (self == Self::Http10).then_some(1)
    }

    /// The version in the first line of what such a peer sends.
    #[must_use]
    pub fn version(self) -> http::Version {
        match self {
            Self::Http10 => http::Version::HTTP_10,
            Self::Bytes | Self::Http1 => http::Version::HTTP_11,
            Self::Http2 => http::Version::HTTP_2,
        }
    }

    /// Whether it is a version of HTTP/1.
    #[must_use]
    pub fn is_http1(self) -> bool {
        match self {
            Self::Http1 | Self::Http10 => true,
            Self::Bytes | Self::Http2 => false,
        }
    }
}

impl fmt::Display for PeerProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Http10 => "http10",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        })
    }
}

/// The settings of a peer with HTTP/2.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Http2 {
    /// Sent in its first SETTINGS; without any, the first SETTINGS is empty.
    #[serde(default)]
    pub settings: Ordered<u32>,
    /// Whether it begins by itself: with the preface, if it is a client, and SETTINGS.
    #[serde(default = "Http2::yes")]
    pub sends_preface: bool,
    /// Whether it acknowledges SETTINGS and PING by itself.
    #[serde(default = "Http2::yes")]
    pub acknowledges: bool,
    /// Whether it gives back by WINDOW_UPDATE what it has read.
    #[serde(default = "Http2::yes")]
    pub opens_windows: bool,
    /// Whether what it sends by itself keeps to the windows that the other side opens. Frames by hand never do.
    #[serde(default = "Http2::yes")]
    pub respects_windows: bool,
    /// Whether it refuses streams beyond its own max_concurrent_streams with RST_STREAM REFUSED_STREAM, if it is an app.
    #[serde(default)]
    pub refuses_streams: bool,
    /// Whether it responds to requests by itself, if it is an app.
    #[serde(default = "Http2::yes")]
    pub responds: bool,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            settings: Ordered::default(),
            sends_preface: true,
            acknowledges: true,
            opens_windows: true,
            respects_windows: true,
            refuses_streams: false,
            responds: true,
        }
    }
}

impl Http2 {
    fn yes() -> bool {
        true
    }
}

/// A load balancer in front of the proxy, such as Amazon's ALB: it keeps connections open and uses them again.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alb {
    /// The address that it connects to, as `host:port`.
    pub connect: String,
    /// Where it listens.
    #[serde(default = "Alb::default_port")]
    pub port: u16,
    /// Closes a connection to the proxy that was idle for this long.
    #[serde(default = "Alb::default_idle_timeout")]
    pub idle_timeout: Time,
    /// Which idle connection it takes.
    #[serde(default)]
    pub reuse: Reuse,
    /// Whether it looks, before it sends a request, if the connection has been closed.
    #[serde(default)]
    pub check: bool,
    /// The TLS settings of its listener; clear text if absent.
    pub listener_tls: Option<AppTls>,
    /// The TLS settings of its connections to the proxy; clear text if absent.
    pub target_tls: Option<ClientTls>,
}

impl Alb {
    fn default_port() -> u16 {
        80
    }

    fn default_idle_timeout() -> Time {
        Time(std::time::Duration::from_secs(60)) // the default of Amazon's
    }
}

/// Which idle connection a pool takes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Reuse {
    /// The one that has been idle longest.
    Fifo,
    /// The one used last.
    #[default]
    Lifo,
}
