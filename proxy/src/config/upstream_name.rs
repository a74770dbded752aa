//! Which names TLS towards upstreams goes by, where requests or endpoints have a say in it.

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
    /// `auto_sni`: the upstream is asked for it.
    ServerName,
}

impl HostUses {
    /// Is the upstream asked for it?
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

/// What one connection is to go by, beside what the configuration says of all.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct AskedNames {
    /// What the upstream is asked for.
    pub server_name: Option<Box<str>>,
    /// What its certificate has to be for.
    pub certified: Option<Box<str>>,
}
