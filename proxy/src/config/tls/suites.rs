//! Cipher suites of TLS 1.2, by the names that OpenSSL gives them. Those of TLS 1.3 are not configured, as in Envoy.

use rustls::CipherSuite;
use rustls::crypto::CryptoProvider;

/// Which suites of TLS 1.2 are offered and taken.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum CipherSuites {
    /// All that there are.
    #[default]
    All,
    /// These.
    Listed(Vec<CipherSuite>),
}

impl CipherSuites {
    /// `provider` without the others.
    pub(super) fn within(&self, provider: &CryptoProvider) -> CryptoProvider {
        let mut provider = provider.clone();
        if let Self::Listed(listed) = self {
            provider.cipher_suites.retain(|suite| suite.tls13().is_some() || listed.contains(&suite.suite()));
        }
        provider
    }
}

const NAMES: &[(&str, CipherSuite)] = &[
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

/// The suite of this name; `None` if rustls has none: it has no suite without forward secrecy, and none with CBC.
#[must_use]
pub fn suite_by_name(name: &str) -> Option<CipherSuite> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, suite)| *suite)
}
