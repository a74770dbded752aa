//! Secrets, as written.

use serde::Deserialize;

use super::tls::{CertificateValidationContext, TlsCertificate, TlsSessionTicketKeys};
use crate::config::yaml::At;

/// `envoy.extensions.transport_sockets.tls.v3.Secret`
#[derive(Debug, Deserialize)]
pub(crate) struct Secret {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) session_ticket_keys: Option<At<TlsSessionTicketKeys>>,
    pub(crate) tls_certificate: Option<At<TlsCertificate>>,
    pub(crate) validation_context: Option<At<CertificateValidationContext>>,
}

/// `envoy.service.discovery.v3.DiscoveryResponse`, as a file of secrets has it
#[derive(Debug, Deserialize)]
pub(crate) struct DiscoveryResponse {
    #[serde(default)]
    pub(crate) resources: Vec<At<SecretResource>>,
    #[serde(default)]
    pub(crate) version_info: String,
}

/// The resources that such a file may hold.
#[derive(Debug, Deserialize)]
pub(crate) enum SecretResource {
    #[serde(rename = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret")]
    Secret(Box<Secret>),
}
