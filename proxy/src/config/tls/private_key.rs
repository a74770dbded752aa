//! Private keys in PEM, with a password or without.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::certificate_error::CertificateError;

/// How a key begins and ends that PKCS #8 has encrypted (RFC 7468 11).
const ENCRYPTED: (&str, &str) = ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----");
/// What a key has among its first lines that OpenSSL's older formats have encrypted (RFC 1421 4.6.1.1).
const OLDER: &str = "Proc-Type: 4,ENCRYPTED";

/// The first key of `pem`. A password that it does not need is of no effect, as in Envoy.
pub(super) fn read(pem: &[u8], password: Option<&[u8]>) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let text = String::from_utf8_lossy(pem);
    if text.contains(OLDER) {
        return Err(CertificateError::KeyEncryption);
    }
    let Some((_, encrypted)) = text.split_once(ENCRYPTED.0) else {
        return PrivateKeyDer::from_pem_slice(pem).map_err(|_| CertificateError::NoKey);
    };
    let password = password.filter(|it| !it.is_empty()).ok_or(CertificateError::NoPassword)?;
    let (coded, _) = encrypted.split_once(ENCRYPTED.1).ok_or(CertificateError::NoKey)?;
    let coded: String = coded.split_ascii_whitespace().collect();
    let der = STANDARD.decode(coded).map_err(|_| CertificateError::NoKey)?;
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(&*der).map_err(|_| CertificateError::KeyEncryption)?;
    // The library has one error for all: of an algorithm that it does not know, and of a wrong password.
    if encrypted.encryption_algorithm.pbes2().is_none() {
        return Err(CertificateError::KeyEncryption);
    }
    let key = encrypted.decrypt(password).map_err(|_| CertificateError::WrongPassword)?;
    Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decrypted_with_their_password() {
        let plain = include_bytes!("../../../tests/tls/server.key");
        let expected = read(plain, None).unwrap();
        assert_eq!(read(plain, Some(b"of no effect")).unwrap(), expected);
        for encrypted in [
            &include_bytes!("../../../tests/tls/server-aes.key")[..],
            include_bytes!("../../../tests/tls/server-3des.key"),
            include_bytes!("../../../tests/tls/server-scrypt.key"),
        ] {
            assert_eq!(read(encrypted, Some(b"secret")).unwrap(), expected);
            assert_eq!(read(encrypted, Some(b"secret\n")), Err(CertificateError::WrongPassword));
            assert_eq!(read(encrypted, Some(b"")), Err(CertificateError::NoPassword));
            assert_eq!(read(encrypted, None), Err(CertificateError::NoPassword));
        }
        for older in [
            &include_bytes!("../../../tests/tls/server-pbes1.key")[..],
            include_bytes!("../../../tests/tls/server-older.key"),
        ] {
            assert_eq!(read(older, Some(b"secret")), Err(CertificateError::KeyEncryption));
        }
        let cut = format!("{}\nMIHs", ENCRYPTED.0);
        assert_eq!(read(cut.as_bytes(), Some(b"secret")), Err(CertificateError::NoKey));
        let empty = format!("{}\n{}", ENCRYPTED.0, ENCRYPTED.1);
        assert_eq!(read(empty.as_bytes(), Some(b"secret")), Err(CertificateError::KeyEncryption));
    }
}
