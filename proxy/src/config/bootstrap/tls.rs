//! Transport sockets, as written: what lies between a TCP connection and its protocol.

use serde::Deserialize;

use super::proxy_protocol::ProxyProtocolConfig;
use super::source::{SdsSecretConfig, WatchedDirectory};
use super::{CidrRange, DataSource, StringMatcher};
use crate::config::constraints::NonEmpty;
use crate::config::yaml::At;

/// `envoy.config.core.v3.TransportSocket`
#[derive(Debug, Deserialize)]
pub(crate) struct TransportSocket {
    #[expect(dead_code, reason = "free text: the type says which socket is meant")]
    pub(crate) name: Option<String>,
    pub(crate) typed_config: At<TransportSocketConfig>,
}

/// The transport sockets there are.
#[derive(Debug, Deserialize)]
pub(crate) enum TransportSocketConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext")]
    Downstream(Box<DownstreamTlsContext>),
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport"
    )]
    InternalUpstream(Box<InternalUpstreamTransport>),
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
    )]
    ProxyProtocol(Box<ProxyProtocolUpstreamTransport>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")]
    RawBuffer(RawBuffer),
    #[serde(rename = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext")]
    Upstream(Box<UpstreamTlsContext>),
}

/// `envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport`
#[derive(Debug, Deserialize)]
pub(crate) struct InternalUpstreamTransport {
    #[serde(default)]
    pub(crate) passthrough_metadata: Vec<At<MetadataValueSource>>,
    pub(crate) transport_socket: At<TransportSocket>,
}

/// `envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport.MetadataValueSource`
#[derive(Debug, Deserialize)]
pub(crate) struct MetadataValueSource {
    pub(crate) kind: At<MetadataKind>,
    pub(crate) name: NonEmpty,
}

/// `envoy.type.metadata.v3.MetadataKind`
#[derive(Debug, Deserialize)]
pub(crate) struct MetadataKind {
    pub(crate) cluster: Option<MetadataKindCluster>,
    pub(crate) host: Option<MetadataKindHost>,
}

/// `envoy.type.metadata.v3.MetadataKind.Cluster`
#[derive(Debug, Deserialize)]
pub(crate) struct MetadataKindCluster {}

/// `envoy.type.metadata.v3.MetadataKind.Host`
#[derive(Debug, Deserialize)]
pub(crate) struct MetadataKindHost {}

/// `envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport`
#[derive(Debug, Deserialize)]
pub(crate) struct ProxyProtocolUpstreamTransport {
    pub(crate) config: Option<At<ProxyProtocolConfig>>,
    pub(crate) transport_socket: At<TransportSocket>,
}

/// `envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer`
#[derive(Debug, Deserialize)]
pub(crate) struct RawBuffer {}

/// `envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`
#[derive(Debug, Deserialize)]
pub(crate) struct DownstreamTlsContext {
    #[serde(default)]
    pub(crate) common_tls_context: CommonTlsContext,
    #[serde(default)]
    pub(crate) disable_stateful_session_resumption: bool,
    #[serde(default)]
    pub(crate) disable_stateless_session_resumption: bool,
    #[serde(default)]
    pub(crate) ocsp_staple_policy: OcspStaplePolicy,
    pub(crate) require_client_certificate: Option<bool>,
    pub(crate) session_ticket_keys: Option<At<TlsSessionTicketKeys>>,
    pub(crate) session_ticket_keys_sds_secret_config: Option<At<SdsSecretConfig>>,
}

/// `envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys`
#[derive(Debug, Deserialize)]
pub(crate) struct TlsSessionTicketKeys {
    #[serde(default)]
    pub(crate) keys: Vec<At<DataSource>>,
}

/// `DownstreamTlsContext.OcspStaplePolicy`
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub(crate) enum OcspStaplePolicy {
    #[default]
    #[serde(rename = "LENIENT_STAPLING")]
    LenientStapling,
    #[serde(rename = "STRICT_STAPLING")]
    StrictStapling,
    #[serde(rename = "MUST_STAPLE")]
    MustStaple,
}

/// `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`
#[derive(Debug, Deserialize)]
pub(crate) struct UpstreamTlsContext {
    #[serde(default)]
    pub(crate) auto_host_sni: bool,
    #[serde(default)]
    pub(crate) auto_sni_san_validation: bool,
    #[serde(default)]
    pub(crate) common_tls_context: CommonTlsContext,
    pub(crate) max_session_keys: Option<u32>,
    pub(crate) sni: Option<At<String>>,
}

/// `envoy.extensions.transport_sockets.tls.v3.CommonTlsContext`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct CommonTlsContext {
    #[serde(default)]
    pub(crate) alpn_protocols: Vec<At<String>>,
    pub(crate) key_log: Option<At<TlsKeyLog>>,
    #[serde(default)]
    pub(crate) tls_certificate_sds_secret_configs: Vec<At<SdsSecretConfig>>,
    #[serde(default)]
    pub(crate) tls_certificates: Vec<At<TlsCertificate>>,
    pub(crate) tls_params: Option<TlsParameters>,
    pub(crate) combined_validation_context: Option<At<CombinedCertificateValidationContext>>,
    pub(crate) validation_context: Option<At<CertificateValidationContext>>,
    pub(crate) validation_context_sds_secret_config: Option<At<SdsSecretConfig>>,
}

/// `envoy.extensions.transport_sockets.tls.v3.TlsKeyLog`
#[derive(Debug, Deserialize)]
pub(crate) struct TlsKeyLog {
    #[serde(default)]
    pub(crate) local_address_range: Vec<At<CidrRange>>,
    pub(crate) path: At<NonEmpty>,
    #[serde(default)]
    pub(crate) remote_address_range: Vec<At<CidrRange>>,
}

/// `CommonTlsContext.CombinedCertificateValidationContext`
#[derive(Debug, Deserialize)]
pub(crate) struct CombinedCertificateValidationContext {
    pub(crate) default_validation_context: At<CertificateValidationContext>,
    pub(crate) validation_context_sds_secret_config: At<SdsSecretConfig>,
}

/// `envoy.extensions.transport_sockets.tls.v3.TlsParameters`
#[derive(Debug, Deserialize)]
pub(crate) struct TlsParameters {
    #[serde(default)]
    pub(crate) cipher_suites: Vec<At<String>>,
    pub(crate) tls_maximum_protocol_version: Option<At<TlsProtocol>>,
    pub(crate) tls_minimum_protocol_version: Option<At<TlsProtocol>>,
}

/// `TlsParameters.TlsProtocol`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum TlsProtocol {
    #[serde(rename = "TLS_AUTO")]
    Auto,
    #[serde(rename = "TLSv1_2")]
    Tls12,
    #[serde(rename = "TLSv1_3")]
    Tls13,
}

/// `envoy.extensions.transport_sockets.tls.v3.TlsCertificate`
#[derive(Debug, Deserialize)]
pub(crate) struct TlsCertificate {
    pub(crate) certificate_chain: Option<At<DataSource>>,
    pub(crate) ocsp_staple: Option<At<DataSource>>,
    pub(crate) password: Option<At<DataSource>>,
    pub(crate) private_key: Option<At<DataSource>>,
    pub(crate) watched_directory: Option<WatchedDirectory>,
}

/// `envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`
#[derive(Debug, Deserialize)]
pub(crate) struct CertificateValidationContext {
    #[serde(default)]
    pub(crate) allow_expired_certificate: bool,
    pub(crate) crl: Option<At<DataSource>>,
    #[serde(default)]
    pub(crate) match_subject_alt_names: Vec<At<StringMatcher>>,
    #[serde(default)]
    pub(crate) match_typed_subject_alt_names: Vec<At<SubjectAltNameMatcher>>,
    pub(crate) max_verify_depth: Option<At<u32>>,
    pub(crate) only_verify_leaf_cert_crl: Option<bool>,
    pub(crate) system_root_certs: Option<At<SystemRootCerts>>,
    pub(crate) trust_chain_verification: Option<TrustChainVerification>,
    pub(crate) trusted_ca: Option<At<DataSource>>,
    #[serde(default)]
    pub(crate) verify_certificate_hash: Vec<At<String>>,
    #[serde(default)]
    pub(crate) verify_certificate_spki: Vec<At<String>>,
    pub(crate) watched_directory: Option<WatchedDirectory>,
}

/// `CertificateValidationContext.SystemRootCerts`
#[derive(Debug, Deserialize)]
pub(crate) struct SystemRootCerts {}

/// `CertificateValidationContext.TrustChainVerification`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum TrustChainVerification {
    #[serde(rename = "VERIFY_TRUST_CHAIN")]
    Verify,
    #[serde(rename = "ACCEPT_UNTRUSTED")]
    AcceptUntrusted,
}

/// `envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct SubjectAltNameMatcher {
    pub(crate) matcher: At<StringMatcher>,
    pub(crate) oid: Option<At<String>>,
    pub(crate) san_type: SanType,
}

/// `SubjectAltNameMatcher.SanType`
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(crate) enum SanType {
    #[serde(rename = "DNS")]
    Dns,
    #[serde(rename = "EMAIL")]
    Email,
    #[serde(rename = "IP_ADDRESS")]
    IpAddress,
    #[serde(rename = "OTHER_NAME")]
    OtherName,
    #[serde(rename = "URI")]
    Uri,
}
