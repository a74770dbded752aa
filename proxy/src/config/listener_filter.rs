//! What is read from a connection before its filter chain is chosen.

use std::time::Duration;

use super::address::ProxyVersion;
use super::proxy_header::{TlvLocation, TlvRule, TlvSelection};

/// The listener filters of a listener, but for the inspectors, of which its filter chains know ([`Inspection`]).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListenerFilters {
    /// `original_dst`: the local address of a connection is the one that it was made for.
    pub destination: Destination,
    /// `proxy_protocol`, the first of them.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// `listener_filters_timeout`: so long may a client take to send what they read; `None` is for ever.
    pub timeout: Option<Duration>,
    /// What happens then.
    pub on_timeout: OnTimeout,
}

/// What the local address of a connection is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Destination {
    /// `original_dst`: where it was to go before the system sent it to the listener.
    Original,
    /// Where it has arrived.
    #[default]
    Socket,
}

/// What becomes of a client that is too slow for the listener filters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnTimeout {
    /// Its connection is closed.
    #[default]
    Close,
    /// `continue_on_listener_filters_timeout`: it goes on with what is known of it.
    Continue,
}

/// `envoy.filters.listener.proxy_protocol`: connections begin with a header that says whose they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyProtocol {
    /// What becomes of a connection without one.
    pub without: WithoutHeader,
    /// `disallowed_versions`: those that end a connection.
    pub disallowed: Vec<ProxyVersion>,
    /// `stat_prefix`: a part of the names of its stats.
    pub stat_prefix: Option<String>,
    /// `rules`: which TLVs become metadata, or fields of an object.
    pub rules: Vec<TlvRule>,
    /// `tlv_location`: which of both.
    pub location: TlvLocation,
    /// `pass_through_tlvs`: which TLVs headers to upstreams may repeat.
    pub passed: TlvSelection,
}

/// What becomes of a connection that begins without a PROXY header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WithoutHeader {
    /// It is closed.
    #[default]
    Refused,
    /// `allow_requests_without_proxy_protocol`: it is served as it is.
    Allowed,
}

/// How the first bytes of a connection are looked at before a chain is chosen. As in Envoy, which puts no inspector in by itself
/// (1.40), a chain that matches what only they tell takes no connection without one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Inspection {
    /// `tls_inspector` is configured.
    pub tls: bool,
    /// What it makes of each ClientHello.
    pub fingerprints: Fingerprinted,
    /// `http_inspector` is configured, and where.
    pub http: Option<HttpInspection>,
}

/// The fingerprints that `tls_inspector` makes of clients.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Fingerprinted {
    /// `enable_ja3_fingerprinting`
    pub ja3: bool,
    /// `enable_ja4_fingerprinting`
    pub ja4: bool,
}

/// Where `http_inspector` stands among the listener filters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HttpInspection {
    /// Behind `tls_inspector`: connections in which that one found TLS are not looked at again.
    AfterTls,
    /// It looks at every connection.
    First,
}

/// A version of HTTP, as far as the first bytes of a connection in clear text tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HttpVersion {
    /// A request line of HTTP/1.0, or of any other version but 1.1.
    Http10,
    /// A request line of HTTP/1.1.
    Http11,
    /// The preface of HTTP/2.
    Http2,
}

impl HttpVersion {
    /// What `application_protocols` of a match call it.
    #[must_use]
    pub const fn application_protocol(self) -> &'static str {
        match self {
            Self::Http10 => "http/1.0",
            Self::Http11 => "http/1.1",
            Self::Http2 => "h2c",
        }
    }
}

impl ListenerFilters {
    /// Envoy's, `listener_filters_timeout`.
    pub const TIMEOUT: Duration = Duration::from_secs(15);
}

impl Default for ListenerFilters {
    fn default() -> Self {
        Self {
            destination: Destination::Socket,
            proxy_protocol: None,
            timeout: Some(Self::TIMEOUT),
            on_timeout: OnTimeout::Close,
        }
    }
}

impl ProxyProtocol {
    /// May a header of this version come?
    #[must_use]
    pub fn takes(&self, version: ProxyVersion) -> bool {
        !self.disallowed.contains(&version)
    }
}
