//! What comes before the protocol of a connection: PROXY headers, and handshakes of TLS.

use std::sync::Arc;

use super::downstream::listener_prefix;
use super::{cluster_prefix, last_words, one_segment, scope};
use crate::config::tls::Staple;
use crate::stats::{Counter, Derived, Registry};

scope! {
    /// `listener.<address>.ssl.` and `cluster.<name>.ssl.`
    TlsStats {
        /// A handshake failed, for another reason than a certificate.
        connection_error: Counter,
        /// Handshakes that failed because the certificate is not among `verify_certificate_hash`, nor its key among
        /// `verify_certificate_spki`.
        fail_verify_cert_hash: Counter,
        /// A handshake failed: the peer's certificate is not signed by an authority that is trusted, or not valid now.
        fail_verify_error: Counter,
        /// A handshake failed: the client has no certificate, and has to have one.
        fail_verify_no_cert: Counter,
        /// A handshake failed: the peer's certificate is for another name.
        fail_verify_san: Counter,
        /// A handshake was completed.
        handshake: Counter,
        /// A handshake was completed in which the peer has shown no certificate.
        no_certificate: Counter,
        /// A client that asks for a response of OCSP was refused: `ocsp_staple_policy` permits no certificate.
        ocsp_staple_failed: Counter,
        /// A client that asks for a response of OCSP got a certificate without one.
        ocsp_staple_omitted: Counter,
        /// A client asked for a response of OCSP.
        ocsp_staple_requests: Counter,
        /// A client got a certificate with a response of OCSP.
        ocsp_staple_responses: Counter,
        /// A handshake was completed that resumed an earlier session.
        session_reused: Counter,
    }
}

scope! {
    /// `tls_inspector.`: what the first bytes of connections were.
    TlsInspectorStats {
        /// A client offered application protocols.
        alpn_found: Counter,
        /// A client began TLS and offered no application protocol.
        alpn_not_found: Counter,
        /// A client named a server.
        sni_found: Counter,
        /// A client began TLS and named no server.
        sni_not_found: Counter,
        /// A client began TLS.
        tls_found: Counter,
        /// A client began something else.
        tls_not_found: Counter,
    }
}

scope! {
    /// `http_inspector.`: what connections in clear text began with.
    HttpInspectorStats {
        /// A request line of another version than HTTP/1.1.
        http10_found: Counter,
        /// A request line of HTTP/1.1.
        http11_found: Counter,
        /// The preface of HTTP/2.
        http2_found: Counter,
        /// Something else.
        http_not_found: Counter,
        /// A connection was closed: its first line is too long.
        read_error: Counter,
    }
}

scope! {
    /// `proxy_proto.` or `proxy_proto.<stat_prefix>.`: the PROXY headers of connections.
    ProxyProtocolStats {
        /// A connection without a header was served.
        not_found_allowed: Counter,
        /// A connection was closed: it began with something else.
        not_found_disallowed: Counter,
        /// A connection was closed for its header of version 1, which is not allowed.
        v1_disallowed: Counter = "versions.v1.disallowed",
        /// A connection was closed: its header of version 1 is malformed.
        v1_error: Counter = "versions.v1.error",
        /// A connection had a header of version 1.
        v1_found: Counter = "versions.v1.found",
        /// A connection was closed for its header of version 2, which is not allowed.
        v2_disallowed: Counter = "versions.v2.disallowed",
        /// A connection was closed: its header of version 2 is malformed.
        v2_error: Counter = "versions.v2.error",
        /// A connection had a header of version 2.
        v2_found: Counter = "versions.v2.found",
    }
}

impl ProxyProtocolStats {
    /// The scope of all listeners whose filter has this `stat_prefix`.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: Option<&str>) -> Self {
        let prefix =
            stat_prefix.map_or_else(|| "proxy_proto".to_owned(), |own| format!("proxy_proto.{}", one_segment(own)));
        Self::under(registry, &prefix)
    }

    /// Connections that were closed for their header or the want of one, whatever the `stat_prefix`.
    #[must_use]
    pub fn errors(registry: &Registry) -> Counter {
        registry.counter("downstream_cx_proxy_proto_error")
    }
}

impl HttpInspectorStats {
    /// The scope of all listeners.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        Self::under(registry, "http_inspector")
    }
}

impl TlsInspectorStats {
    /// The scope of all listeners.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        // As in Envoy it stays 0: the listener's `downstream_listener_filter_remote_close` counts instead.
        drop(Counter::named(registry, "tls_inspector", "connection_closed"));
        Self::under(registry, "tls_inspector")
    }
}

/// What is counted of handshakes: the numbers above, and those of each version, cipher suite and group that was agreed upon,
/// which have names from then on.
#[derive(Debug)]
pub struct HandshakeStats {
    counted: TlsStats,
    registry: Arc<Registry>,
    prefix: String,
    /// `ssl_context_update_by_sds`
    updated: Counter,
}

/// What was agreed upon in a handshake; empty words are not counted.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    /// The cipher suite.
    pub cipher: &'static str,
    /// The group of the key exchange.
    pub group: &'static str,
    /// The version of TLS.
    pub version: &'static str,
    /// An earlier session was resumed.
    pub is_resumed: bool,
    /// A client has shown no certificate. Envoy does not count upstreams that show none.
    pub is_anonymous: bool,
}

impl HandshakeStats {
    /// The scope of a listening socket.
    #[must_use]
    pub fn of_listener(registry: &Arc<Registry>, listener: &str) -> Self {
        let prefix = listener_prefix(listener);
        Self::under(registry, format!("{prefix}.ssl"), &format!("{prefix}.server_ssl_socket_factory"))
    }

    /// The scope of a cluster.
    #[must_use]
    pub fn of_cluster(registry: &Arc<Registry>, cluster: &str) -> Self {
        let prefix = cluster_prefix(cluster);
        Self::under(registry, format!("{prefix}.ssl"), &format!("{prefix}.client_ssl_socket_factory"))
    }

    fn under(registry: &Arc<Registry>, prefix: String, factory: &str) -> Self {
        // Secrets are read with the configuration, so no connection waits for them.
        for name in ["downstream_context_secrets_not_ready", "upstream_context_secrets_not_ready"] {
            drop(Counter::named(registry, factory, name));
        }
        let updated = Counter::named(registry, factory, "ssl_context_update_by_sds");
        Self { counted: TlsStats::under(registry, &prefix), registry: Arc::clone(registry), prefix, updated }
    }

    /// Counts a handshake that was completed.
    pub fn count(&self, handshake: Handshake) {
        let Handshake { cipher, group, version, is_resumed, is_anonymous } = handshake;
        self.counted.handshake.inc();
        if is_resumed {
            self.counted.session_reused.inc();
        }
        if is_anonymous {
            self.counted.no_certificate.inc();
        }
        for (kind, name) in [("ciphers", cipher), ("curves", group), ("versions", version)] {
            if !name.is_empty() {
                self.registry.counter(&format!("{}.{kind}.{name}", self.prefix)).inc();
            }
        }
    }

    /// Counts a client that has asked for a response of OCSP.
    pub fn count_staple(&self, staple: Staple) {
        self.counted.ocsp_staple_requests.inc();
        match staple {
            Staple::Failed => &self.counted.ocsp_staple_failed,
            Staple::Omitted => &self.counted.ocsp_staple_omitted,
            Staple::Responded => &self.counted.ocsp_staple_responses,
        }
        .inc();
    }

    /// Gives a certificate its gauge: when it expires, in seconds since 1970, which `end` returns as long as it is in use.
    pub fn derive_expiration(&self, certificate: &str, end: impl Fn() -> Option<u64> + Send + Sync + 'static) {
        let name = format!("{}.certificate.{certificate}.expiration_unix_time_seconds", self.prefix);
        self.registry.derive(name, move || end().map(|value| Derived { value, used: true }));
    }

    /// Certificates were put in use that come from files of secrets.
    pub fn count_secret_update(&self) {
        self.updated.inc();
    }

    /// Counts a handshake that failed.
    pub(crate) fn count_failure(&self, failure: HandshakeFailure) {
        self.counted.count_failure(failure);
    }
}

impl TlsStats {
    /// Counts a handshake that failed.
    pub(crate) fn count_failure(&self, failure: HandshakeFailure) {
        match failure {
            HandshakeFailure::NoCertificate => &self.fail_verify_no_cert,
            HandshakeFailure::NotPinned => &self.fail_verify_cert_hash,
            HandshakeFailure::NotTrusted => &self.fail_verify_error,
            HandshakeFailure::OtherName => &self.fail_verify_san,
            HandshakeFailure::Protocol => &self.connection_error,
            HandshakeFailure::Transport => return,
        }
        .inc();
    }
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HandshakeFailure {
    /// The client has to show a certificate, and has none.
    NoCertificate,
    /// The peer's certificate is not among those known in advance, nor is its key.
    NotPinned,
    /// The peer's certificate is not signed by one that is trusted, or is not valid now.
    NotTrusted,
    /// The peer's certificate is for another name.
    OtherName,
    /// The peer speaks no TLS, or none that is configured.
    Protocol,
    /// The connection closed or broke.
    Transport,
}
