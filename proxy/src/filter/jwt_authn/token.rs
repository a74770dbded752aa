//! One JSON Web Token (RFC 7519) in its compact form (RFC 7515 7.1), read but not believed.

use base64::Engine;
use serde_json::{Map, Value};

use crate::access_log::JwtFailure as Failure;
use crate::config::jwks::{BASE64_URL, Keys, Verification};

/// The algorithms that tokens may be signed with (RFC 7518 3.1, RFC 8037 3.1).
const ALGORITHMS: [&str; 13] = [
    "ES256", "ES384", "ES512", "EdDSA", "HS256", "HS384", "HS512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512",
];

/// What a token says.
pub(super) struct Token<'t> {
    /// Header and payload as they came, with the dot between them.
    signed: &'t str,
    pub(super) payload_text: &'t str,
    pub(super) header: Map<String, Value>,
    pub(super) payload: Map<String, Value>,
    signature: Vec<u8>,
    algorithm: String,
    key: Option<String>,
    pub(super) issuer: String,
    pub(super) subject: String,
    audiences: Vec<String>,
    not_before: u64,
    /// 0 is none.
    expires: u64,
}

impl<'t> Token<'t> {
    pub(super) fn parse(text: &'t str) -> Result<Self, Failure> {
        let mut parts = text.split('.');
        let (Some(header), Some(payload_text), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Form);
        };
        if [header, payload_text, signature].contains(&"") {
            return Err(Failure::Form);
        }
        let signed = text.get(..header.len() + 1 + payload_text.len()).unwrap_or_default();
        let header = object(header, Failure::HeaderBase64, Failure::HeaderJson)?;
        let algorithm = header.get("alg").and_then(Value::as_str).ok_or(Failure::AlgorithmMissing)?.to_owned();
        if !ALGORITHMS.contains(&algorithm.as_str()) {
            return Err(Failure::AlgorithmUnknown);
        }
        let key = text_of(&header, "kid", Failure::KidNotText)?;
        let payload = object(payload_text, Failure::PayloadBase64, Failure::PayloadJson)?;
        let issuer = text_of(&payload, "iss", Failure::IssNotText)?.unwrap_or_default();
        let subject = text_of(&payload, "sub", Failure::SubNotText)?.unwrap_or_default();
        number_of(&payload, "iat", Failure::IatNotInteger, Failure::IatNotPositive)?;
        let not_before = number_of(&payload, "nbf", Failure::NbfNotInteger, Failure::NbfNotPositive)?;
        let expires = number_of(&payload, "exp", Failure::ExpNotInteger, Failure::ExpNotPositive)?;
        text_of(&payload, "jti", Failure::JtiNotText)?;
        let audiences = audiences(&payload)?;
        let signature = BASE64_URL.decode(signature).map_err(|_| Failure::SignatureBase64)?;
        let key = key.filter(|key| !key.is_empty());
        Ok(Self {
            signed,
            payload_text,
            header,
            payload,
            signature,
            algorithm,
            key,
            issuer,
            subject,
            audiences,
            not_before,
            expires,
        })
    }

    /// Is it valid at this second since 1970, if clocks may differ by so many?
    pub(super) fn check_time(&self, now: u64, skew: u64) -> Result<(), Failure> {
        if now.saturating_add(skew) < self.not_before {
            return Err(Failure::NotYet);
        }
        if self.expires > 0 && now > self.expires.saturating_add(skew) {
            return Err(Failure::Expired);
        }
        Ok(())
    }

    /// When it ends, if it does: at this second since 1970.
    pub(super) fn expires(&self) -> Option<u64> {
        Some(self.expires).filter(|expires| *expires > 0)
    }

    /// Is it for one of these? None is everything. As in Envoy, a slash at the end and the scheme do not count.
    pub(super) fn is_for(&self, wanted: &[String]) -> bool {
        let plain = |text: &str| -> String {
            let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
            text.strip_suffix('/').unwrap_or(text).to_owned()
        };
        wanted.is_empty()
            || self.audiences.iter().any(|has| wanted.iter().any(|wanted| plain(has) == plain(wanted)))
            || (self.audiences.is_empty() && wanted.iter().any(String::is_empty))
    }

    /// Has one of the keys signed it?
    pub(super) fn check_signature(&self, keys: &Keys) -> Result<(), Failure> {
        match keys.verify(&self.algorithm, self.key.as_deref(), self.signed.as_bytes(), &self.signature) {
            Verification::Invalid => Err(Failure::Verification),
            Verification::NoKey => Err(Failure::NoKey),
            Verification::Valid => Ok(()),
        }
    }

    /// The claim at this path.
    pub(super) fn claim(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.payload.get(first)?, |value, key| value.get(key))
    }
}

fn object(text: &str, not_base64: Failure, not_json: Failure) -> Result<Map<String, Value>, Failure> {
    let bytes = BASE64_URL.decode(text).map_err(|_| not_base64)?;
    serde_json::from_slice(&bytes).map_err(|_| not_json)
}

fn text_of(of: &Map<String, Value>, name: &str, otherwise: Failure) -> Result<Option<String>, Failure> {
    match of.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(otherwise),
    }
}

/// A number of seconds; 0 if there is none. A part of a second does not count.
fn number_of(of: &Map<String, Value>, name: &str, otherwise: Failure, out_of_range: Failure) -> Result<u64, Failure> {
    match of.get(name) {
        None => Ok(0),
        Some(Value::Number(number)) => {
            if let Some(whole) = number.as_u64() {
                return Ok(whole);
            }
            let seconds = number.as_f64().filter(|seconds| *seconds >= 0.0).ok_or(out_of_range)?;
            std::time::Duration::try_from_secs_f64(seconds).map(|time| time.as_secs()).map_err(|_| out_of_range)
        }
        Some(_) => Err(otherwise),
    }
}

fn audiences(payload: &Map<String, Value>) -> Result<Vec<String>, Failure> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or(Failure::AudNotText);
    match payload.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(text).collect(),
        Some(value) => text(value).map(|text| vec![text]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: &str, payload: &str) -> Result<(), Failure> {
        let text = format!("{}.{}.AA", BASE64_URL.encode(header), BASE64_URL.encode(payload));
        Token::parse(&text).map(|_| ())
    }

    #[test]
    fn what_is_wrong_with_a_token_is_found_before_its_signature() {
        let fine = r#"{"alg":"RS256"}"#;
        for (header, payload, expected) in [
            ("{", "{}", Failure::HeaderJson),
            ("{}", "{}", Failure::AlgorithmMissing),
            (r#"{"alg":"none"}"#, "{}", Failure::AlgorithmUnknown),
            (r#"{"alg":"RS256","kid":1}"#, "{}", Failure::KidNotText),
            (fine, "[]", Failure::PayloadJson),
            (fine, r#"{"iss":1}"#, Failure::IssNotText),
            (fine, r#"{"exp":"1"}"#, Failure::ExpNotInteger),
            (fine, r#"{"exp":-1}"#, Failure::ExpNotPositive),
            (fine, r#"{"aud":[1]}"#, Failure::AudNotText),
        ] {
            assert_eq!(parse(header, payload), Err(expected), "{header} {payload}");
        }
        assert_eq!(parse(fine, "{}"), Ok(()));
        for (text, expected) in [("a.b", Failure::Form), ("a..c", Failure::Form), ("!.b.c", Failure::HeaderBase64)] {
            assert_eq!(Token::parse(text).map(|_| ()), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_token_is_valid_from_its_beginning_to_its_end_with_some_seconds_more() {
        let text =
            |payload: &str| format!("{}.{}.AA", BASE64_URL.encode(r#"{"alg":"ES256"}"#), BASE64_URL.encode(payload));
        let text = text(r#"{"nbf":100,"exp":200.5,"aud":"https://a.test/"}"#);
        let token = Token::parse(&text).unwrap();
        for (now, expected) in [(89, Err(Failure::NotYet)), (90, Ok(())), (210, Ok(())), (211, Err(Failure::Expired))] {
            assert_eq!(token.check_time(now, 10), expected, "{now}");
        }
        assert!(token.is_for(&[]) && token.is_for(&["http://a.test".to_owned()]) && !token.is_for(&["b".to_owned()]));
    }
}
