//! Fields of transport sockets.

use super::RESPONSE;
use super::Support::{self, Ignored, Only, Refused};

const FILES: &str = "certificates and keys come from the file; write them, or the names of their files, here";
const HANDSHAKE: &str = "rustls does the handshake, with its own rules";
const SOURCE: &str = "there is no xDS; write path_config_source, which names a file";
const VERIFICATION: &str = "a peer is known by trusted_ca and match_typed_subject_alt_names";

#[rustfmt::skip]
pub(super) const FIELDS: &[(&str, &str, Support)] = &[
    ("ListenerFilter", "config_discovery", Refused("the configuration is static; there is no xDS")),
    ("ListenerFilter", "filter_disabled", Refused("the filter sees every connection")),
    ("ProxyProtocolUpstreamTransport", "allow_unspecified_address", Ignored("an address that is not known has a form of its own")),
    ("ProxyProtocolUpstreamTransport", "tlv_as_pool_key", Ignored("connections whose headers differ are never shared")),
    ("TlsInspector", "close_connection_on_client_hello_parsing_errors", Ignored("what begins like TLS and is none fails in its handshake, if its filter chain has one")),
    ("TlsInspector", "initial_read_buffer_size", Ignored("the buffer grows as it is needed")),
    ("TlsInspector", "max_client_hello_size", Ignored("a ClientHello has at most 16 KiB")),

    ("DownstreamTlsContext", "full_scan_certs_on_sni_mismatch", Only("false", "where no certificate is for the name, the first is shown")),
    ("DownstreamTlsContext", "prefer_client_ciphers", Only("false", "the cipher suite is chosen by the server's preference")),
    ("DownstreamTlsContext", "require_sni", Ignored("a client without SNI is accepted, by Envoy as well")),
    ("DownstreamTlsContext", "session_timeout", Ignored("sessions are resumed for as long as their ticket is good: 12 hours at most")),

    ("UpstreamTlsContext", "allow_renegotiation", Only("false", "TLS 1.3 has no renegotiation, and rustls has none for 1.2")),
    ("UpstreamTlsContext", "enforce_rsa_key_usage", Ignored("rustls checks how a key may be used in any case")),

    ("CommonTlsContext", "custom_handshaker", Refused(HANDSHAKE)),
    ("CommonTlsContext", "custom_tls_certificate_selector", Refused("of several certificates the first that is for the name is shown")),
    ("CommonTlsContext", "tls_certificate_certificate_provider", Refused(FILES)),
    ("CommonTlsContext", "tls_certificate_certificate_provider_instance", Refused(FILES)),
    ("CommonTlsContext", "tls_certificate_provider_instance", Refused(FILES)),
    ("CommonTlsContext", "validation_context_certificate_provider", Refused(FILES)),
    ("CommonTlsContext", "validation_context_certificate_provider_instance", Refused(FILES)),

    ("TlsParameters", "compliance_policies", Refused(HANDSHAKE)),
    ("TlsParameters", "ecdh_curves", Ignored("the curves are X25519, P-256 and P-384")),
    ("TlsParameters", "signature_algorithms", Ignored("signatures are those that both sides know")),

    ("TlsCertificate", "pkcs12", Refused("write certificate_chain and private_key, in PEM")),
    ("TlsCertificate", "private_key_provider", Refused("keys are in files")),
    ("TlsCertificate", "signed_certificate_timestamp", Refused("nothing is sent beside a certificate")),

    ("CertificateValidationContext", "ca_certificate_provider_instance", Refused(VERIFICATION)),
    ("CertificateValidationContext", "custom_validator_config", Refused(VERIFICATION)),
    ("CertificateValidationContext", "require_signed_certificate_timestamp", Only("false", "nothing is read beside a certificate")),

    ("ConfigSource", "ads", Refused(SOURCE)),
    ("ConfigSource", "api_config_source", Refused(SOURCE)),
    ("ConfigSource", "authorities", Ignored("a file has no authority")),
    ("ConfigSource", "initial_fetch_timeout", Ignored("files are read with the configuration")),
    ("ConfigSource", "resource_api_version", Ignored("a file says of each resource what it is")),
    ("ConfigSource", "self", Refused(SOURCE)),
    ("DiscoveryResponse", "canary", Ignored(RESPONSE)),
    ("DiscoveryResponse", "control_plane", Ignored(RESPONSE)),
    ("DiscoveryResponse", "nonce", Ignored(RESPONSE)),
    ("DiscoveryResponse", "resource_errors", Ignored(RESPONSE)),
    ("DiscoveryResponse", "type_url", Ignored(RESPONSE)),
    ("Secret", "generic_secret", Ignored("nothing here asks for it")),
];
