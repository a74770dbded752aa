//! Signatures that scripts verify: RSA and ECDSA keys in DER (RFC 5280 4.1, SubjectPublicKeyInfo).

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

/// The key as a script knows it; one that cannot be read is empty, as in Envoy.
pub(super) fn imported(der: Vec<u8>) -> Vec<u8> {
    if key(&der).is_some() { der } else { Vec::new() }
}

/// What a key is for, and its bytes.
enum Key<'d> {
    Rsa(&'d [u8]),
    P256(&'d [u8]),
    P384(&'d [u8]),
}

/// The bit string within a SubjectPublicKeyInfo, by the algorithm before it.
fn key(der: &[u8]) -> Option<Key<'_>> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
    let (info, _) = element(der, 0x30)?;
    let (algorithm, rest) = element(info, 0x30)?;
    let (bits, _) = element(rest, 0x03)?;
    let bits = bits.strip_prefix(&[0])?;
    let (first, parameters) = element(algorithm, 0x06)?;
    if first == RSA {
        return Some(Key::Rsa(bits));
    }
    match element(parameters, 0x06)?.0 {
        P256 => Some(Key::P256(bits)),
        P384 => Some(Key::P384(bits)),
        _ => None,
    }
}

/// The content of an element with this tag, and what follows it (X.690 8.1).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first().filter(|(first, _)| **first == tag)?;
    let _tag = first;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), rest.get(2..)?),
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// Does the signature fit the data?
///
/// # Errors
/// Why not, in Envoy's words.
pub(super) fn verify(hash: &[u8], der: &[u8], signature: &[u8], data: &[u8]) -> Result<(), String> {
    let key = key(der).ok_or("invalid public key")?;
    let hash = String::from_utf8_lossy(hash).to_ascii_lowercase();
    let (algorithm, bytes): (&dyn VerificationAlgorithm, _) = match (&key, hash.as_str()) {
        (Key::Rsa(bytes), "sha1") => (&signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, bytes),
        (Key::Rsa(bytes), "sha256") => (&signature::RSA_PKCS1_2048_8192_SHA256, bytes),
        (Key::Rsa(bytes), "sha384") => (&signature::RSA_PKCS1_2048_8192_SHA384, bytes),
        (Key::Rsa(bytes), "sha512") => (&signature::RSA_PKCS1_2048_8192_SHA512, bytes),
        (Key::P256(bytes), "sha256") => (&signature::ECDSA_P256_SHA256_ASN1, bytes),
        (Key::P256(bytes), "sha384") => (&signature::ECDSA_P256_SHA384_ASN1, bytes),
        (Key::P384(bytes), "sha256") => (&signature::ECDSA_P384_SHA256_ASN1, bytes),
        (Key::P384(bytes), "sha384") => (&signature::ECDSA_P384_SHA384_ASN1, bytes),
        _ => return Err(format!("{hash} is not supported.")),
    };
    UnparsedPublicKey::new(algorithm, bytes)
        .verify(data, signature)
        .map_err(|_| "Failed to verify digest. Error code: 0".to_owned())
}
