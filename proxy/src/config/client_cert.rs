//! What upstreams are told of a client's certificate, in `x-forwarded-client-cert`.

/// `forward_client_cert_details`. All but the first take the header off a request whose client has shown no certificate.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum ClientCertHeader {
    /// `ALWAYS_FORWARD_ONLY`: it stays as it came, with TLS or without.
    AlwaysForward,
    /// `APPEND_FORWARD`: what the client's certificate says is added to it.
    Append(Vec<ClientCertDetail>),
    /// `FORWARD_ONLY`: it stays as it came.
    Forward,
    /// `SANITIZE`: it is taken off.
    #[default]
    Sanitize,
    /// `SANITIZE_SET`: it says what the client's certificate says, and nothing else.
    Set(Vec<ClientCertDetail>),
}

/// `set_current_client_cert_details`: what the header has beside the certificate's hash, in this order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientCertDetail {
    /// The certificate, in PEM.
    Certificate,
    /// It and those that came with it.
    Chain,
    /// Whose it is.
    Subject,
    /// URIs among its names.
    Uris,
    /// DNS names.
    DnsNames,
}
