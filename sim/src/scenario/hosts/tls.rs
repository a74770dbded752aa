//! TLS as clients and apps speak it.

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

/// How a client speaks TLS.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTls {
    /// Application protocols that it offers, by preference; that of its `protocol` if absent.
    pub alpn: Option<Vec<String>>,
    /// The certificate that it shows if it is asked; none if absent.
    pub certificate: Option<Certificate>,
    /// Whom it asks for, and whose certificate it wants to see; the host that it connects to if absent.
    pub server_name: Option<String>,
    /// The authority that it trusts.
    pub trusted: Trusted,
    /// What it does before it closes.
    pub closing: TlsClosing,
    /// The versions that it speaks; both if absent.
    pub versions: Option<Vec<TlsVersion>>,
}

/// Whose certificates are trusted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Trusted {
    /// Whatever the other side shows.
    Anybody,
    /// What this authority has signed.
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
    /// By FIN alone, as many do.
    Fin,
}

/// How an app speaks TLS.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppTls {
    /// Application protocols that it takes, by preference; that of its `protocol` if absent.
    pub alpn: Option<Vec<String>>,
    /// The certificate that it shows.
    pub certificate: Certificate,
    /// Whether it wants to see a certificate.
    pub client_certificate: ClientCertificate,
    /// What it does before it closes.
    pub closing: TlsClosing,
    /// The versions that it speaks; both if absent.
    pub versions: Option<Vec<TlsVersion>>,
}

/// Whether an app wants to see a certificate of those who connect.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// It asks for none.
    #[default]
    Ignored,
    /// It asks, and checks one that is shown.
    Optional,
    /// Who shows none is refused.
    Required,
}
