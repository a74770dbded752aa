//! The names for TLS towards upstreams that come from requests or endpoints.

use http::header::HeaderName;

/// `upstream_http_protocol_options`: the host that a request names is that of the upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostAsName {
    /// `override_auto_sni_header`: this header of the request counts first.
    pub header: Option<HeaderName>,
    /// What is done with it.
    pub uses: HostUses,
}

/// What the host of a request is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HostUses {
    /// `auto_sni` and `auto_san_validation`
    Both,
    /// `auto_san_validation`: the certificate is for it.
    Certificate,
    /// `auto_sni`: it is sent as the SNI.
    ServerName,
}

impl HostUses {
    /// Is it sent as the SNI?
    #[must_use]
    pub fn is_server_name(self) -> bool {
        matches!(self, Self::Both | Self::ServerName)
    }

    /// Must the certificate be for it?
    #[must_use]
    pub fn is_certified(self) -> bool {
        matches!(self, Self::Both | Self::Certificate)
    }
}

/// The names of one connection, which come before those that the configuration has for all.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct RequestedNames {
    /// The SNI; `None` if the configuration decides.
    pub server_name: Option<Box<str>>,
    /// The certificate of the upstream has to be for one of these names; empty if the configuration decides.
    pub certified: Box<[Box<str>]>,
    /// What is offered by ALPN; empty if the configuration decides.
    pub protocols: Box<[Box<[u8]>]>,
}
