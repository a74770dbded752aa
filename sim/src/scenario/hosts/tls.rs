//! The TLS settings of clients and apps.

use std::fmt;

use serde::Deserialize;

use crate::scenario::certificate::Certificate;

/// A version of TLS.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum TlsVersion {
    /// RFC 5246.
    #[serde(rename = "TLSv1.2")]
    V12,
    /// RFC 8446.
    #[serde(rename = "TLSv1.3")]
    V13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V12 => "TLSv1.2",
            Self::V13 => "TLSv1.3",
        })
    }
}

/// The TLS settings of a client.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTls {
    /// Application protocols that it offers, by preference; that of its `protocol` if absent.
    pub alpn: Option<Vec<String>>,
    /// The certificate that it presents if the server requests one; none if absent.
    pub certificate: Option<Certificate>,
    /// Its SNI, and the name that the certificate of the server has to be for; the host that it connects to if absent.
    pub server_name: Option<String>,
    /// The authority that it trusts.
    pub trusted: Trusted,
    /// What it does before it closes.
    pub closing: TlsClosing,
    /// The versions that it permits; both if absent.
    pub versions: Option<Vec<TlsVersion>>,
}

/// Which certificates are trusted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Trusted {
    /// Any.
    Any,
    /// Those that this authority has signed.
    #[serde(untagged)]
    By(String),
}

impl Default for Trusted {
    fn default() -> Self {
        Self::By(Certificate::AUTHORITY.into())
    }
}

/// How an end of a TLS connection is closed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum TlsClosing {
    /// By close_notify, then FIN (RFC 8446 6.1).
    #[default]
    CloseNotify,
    /// By close_notify. FIN comes when the peer has closed (RFC 8446 6.1 leaves the other direction open).
    CloseNotifyOnly,
    /// By FIN alone, as many do.
    Fin,
}

/// The TLS settings of an app.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppTls {
    /// Application protocols that it takes, by preference; that of its `protocol` if absent.
    pub alpn: Option<Vec<String>>,
    /// The certificate that it presents.
    pub certificate: Certificate,
    /// Whether it requests a certificate of clients.
    pub client_certificate: ClientCertificate,
    /// What it does before it closes.
    pub closing: TlsClosing,
    /// The versions that it permits; both if absent.
    pub versions: Option<Vec<TlsVersion>>,
}

/// Whether an app requests a certificate of clients.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// It requests none.
    #[default]
    Ignored,
    /// It requests one, and checks it if the client presents one.
    Optional,
    /// It refuses a client that presents none.
    Required,
}
