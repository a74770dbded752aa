//! Why a certificate with its key cannot be used.

/// Why there is no [`Certificate`](super::Certificate).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// The chain holds none.
    #[error("no certificate in PEM (BEGIN CERTIFICATE)")]
    NoCertificate,
    /// The first certificate of the chain is none.
    #[error("not a certificate of X.509, version 3")]
    NotX509,
    /// There is no key, or one of a kind that is not known.
    #[error("no private key in PEM: PKCS #8, PKCS #1 or SEC 1, RSA, ECDSA (P-256, P-384) or Ed25519")]
    NoKey,
    /// The key is encrypted in a way that is not known.
    #[error(
        "the private key is encrypted, but not by PBES2 of PKCS #8; write what `openssl pkcs8 -topk8 -v2 aes-256-cbc` makes of it"
    )]
    KeyEncryption,
    /// The key is encrypted, and there is no password.
    #[error("the private key is encrypted, and there is no password; write password beside private_key")]
    NoPassword,
    /// The key is encrypted with another password.
    #[error(
        "the password does not decrypt the private key; a line end at the end of the password's file is part of it"
    )]
    WrongPassword,
    /// The key is that of another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
}
