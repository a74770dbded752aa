//! JSON Web Key Sets (RFC 7517): the public keys that tokens are signed with, and how a signature is verified (RFC 7518 3).
//!
//! The kind of a key decides which algorithms it verifies, never the token alone: a token cannot have a public key taken for a
//! secret.

use std::fmt;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::{hmac, signature};
use serde_json::Value;

/// Keys of one set; more are left out, since a token without `kid` is tried with each.
const KEYS_MAX: usize = 64;

/// As tokens and keys are encoded, with or without padding.
pub const BASE64_URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys of a set that can be used.
#[derive(Clone, Default)]
pub struct Keys(Vec<Key>);

#[derive(Clone)]
struct Key {
    kid: Option<String>,
    alg: Option<String>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Ed25519(Vec<u8>),
    /// The point, uncompressed.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    Secret(Vec<u8>),
}

/// What the keys say of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verification {
    /// None of the keys is for it.
    NoKey,
    /// One of the keys has signed it.
    Valid,
    /// None of those that are for it has.
    Invalid,
}

impl fmt::Debug for Keys {
    /// Secrets stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// The keys in `text` that can be used.
    ///
    /// # Errors
    /// There are none.
    pub fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let set: Value = serde_json::from_slice(text).map_err(|_| "Jwks is an invalid JSON")?;
        let keys = set.get("keys").ok_or("Jwks does not have [keys] field")?;
        let keys = keys.as_array().ok_or("[keys] in Jwks is not an array")?;
        let keys: Vec<Key> = keys.iter().filter_map(Key::parse).take(KEYS_MAX).collect();
        if keys.is_empty() { Err("Jwks doesn't have any valid public key") } else { Ok(Self(keys)) }
    }

    /// Has one of the keys made the signature, by this algorithm? `kid` is what the token says of the key.
    #[must_use]
    pub fn verify(&self, alg: &str, kid: Option<&str>, signed: &[u8], signature: &[u8]) -> Verification {
        let is_named = |key: &&Key| kid.zip(key.kid.as_deref()).is_none_or(|(wanted, has)| wanted == has);
        let is_for = |key: &&Key| key.alg.as_deref().is_none_or(|has| has == alg);
        let mut keys = self.0.iter().filter(is_named).filter(is_for).peekable();
        if keys.peek().is_none() {
            return Verification::NoKey;
        }
        match keys.any(|key| key.material.has_signed(alg, signed, signature)) {
            true => Verification::Valid,
            false => Verification::Invalid,
        }
    }
}

impl Key {
    fn parse(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str();
        let bytes = |name: &str| BASE64_URL.decode(text(name)?).ok().filter(|bytes| !bytes.is_empty());
        let alg = text("alg").filter(|alg| !alg.is_empty());
        let begins = |start: &[&str]| alg.is_none_or(|alg| start.iter().any(|start| alg.starts_with(start)));
        let material = match text("kty")? {
            "RSA" if begins(&["RS", "PS"]) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
            "EC" if begins(&["ES"]) => {
                let point = |size: usize| {
                    let part = |name: &str| padded(bytes(name)?, size);
                    Some([vec![4], part("x")?, part("y")?].concat())
                };
                match (alg, text("crv").filter(|crv| !crv.is_empty())) {
                    (None | Some("ES256"), None | Some("P-256")) => Material::P256(point(32)?),
                    (None | Some("ES384"), Some("P-384")) | (Some("ES384"), None) => Material::P384(point(48)?),
                    _ => return None,
                }
            }
            "OKP" if text("crv") == Some("Ed25519") && begins(&["EdDSA"]) => Material::Ed25519(bytes("x")?),
            "oct" if begins(&["HS"]) => Material::Secret(bytes("k")?),
            _ => return None,
        };
        let kid = text("kid").filter(|kid| !kid.is_empty());
        Some(Self { kid: kid.map(str::to_owned), alg: alg.map(str::to_owned), material })
    }
}

/// A number of this many bytes (RFC 7518 6.2.1.2).
fn padded(bytes: Vec<u8>, size: usize) -> Option<Vec<u8>> {
    Some([vec![0; size.checked_sub(bytes.len())?], bytes].concat())
}

impl Material {
    fn has_signed(&self, alg: &str, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { n, e } => {
                let parameters = match alg {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                signature::RsaPublicKeyComponents { n, e }.verify(parameters, signed, signature).is_ok()
            }
            Self::P256(point) if alg == "ES256" => {
                signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(signed, signature)
                    .is_ok()
            }
            Self::P384(point) if alg == "ES384" => {
                signature::UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                    .verify(signed, signature)
                    .is_ok()
            }
            Self::Ed25519(point) if alg == "EdDSA" => {
                signature::UnparsedPublicKey::new(&signature::ED25519, point).verify(signed, signature).is_ok()
            }
            Self::Secret(secret) => {
                let algorithm = match alg {
                    "HS256" => hmac::HMAC_SHA256,
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => return false,
                };
                hmac::verify(&hmac::Key::new(algorithm, secret), signed, signature).is_ok()
            }
            Self::Ed25519(_) | Self::P256(_) | Self::P384(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7515 A.1, and what must not pass for it.
    #[test]
    fn a_signature_is_verified_by_the_key_that_is_for_it_alone() {
        let secret = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let signed = b"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                       eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = BASE64_URL.decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk").unwrap();
        let verify = |extra: &str, alg: &str, kid| {
            let keys =
                Keys::parse(format!(r#"{{"keys":[{{"kty":"oct","k":"{secret}"{extra}}}]}}"#).as_bytes()).unwrap();
            keys.verify(alg, kid, signed, &signature)
        };
        assert_eq!(verify("", "HS256", None), Verification::Valid);
        assert_eq!(verify(r#","kid":"a""#, "HS256", Some("a")), Verification::Valid);
        assert_eq!(verify(r#","kid":"a""#, "HS256", Some("b")), Verification::NoKey);
        assert_eq!(verify(r#","alg":"HS512""#, "HS256", None), Verification::NoKey);
        assert_eq!(verify("", "HS384", None), Verification::Invalid);
        assert_eq!(verify("", "RS256", None), Verification::Invalid);
    }

    #[test]
    fn a_set_without_a_key_that_can_be_used_is_none() {
        for (text, expected) in [
            ("{", "Jwks is an invalid JSON"),
            ("{}", "Jwks does not have [keys] field"),
            (r#"{"keys":1}"#, "[keys] in Jwks is not an array"),
            (
                r#"{"keys":[{"kty":"oct","k":""},{"kty":"RSA","alg":"HS256","n":"AQAB","e":"AQAB"},1]}"#,
                "Jwks doesn't have any valid public key",
            ),
        ] {
            assert_eq!(Keys::parse(text.as_bytes()).map(|_| ()), Err(expected), "{text}");
        }
    }
}
