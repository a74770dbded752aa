//! Why a token did not let a request through: Envoy's words, which are the body of the response and, with `_` for blanks, in
//! its details.

use crate::texts::{Pieces, Text, text_enum};

text_enum! {
    /// Why a token did not let a request through.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum JwtFailure {
        /// `aud` names none of the audiences.
        Audience = "Audiences_in_Jwt_are_not_allowed",
        /// `alg` is missing.
        AlgorithmMissing = "Jwt_header_[alg]_field_is_required_and_must_be_a_string",
        /// `alg` is none that is known.
        AlgorithmUnknown = "Jwt_header_[alg]_is_not_supported",
        /// `aud` is of another kind.
        AudNotText = "Jwt_payload_[aud]_field_is_not_a_string_or_string_list",
        /// Its time is over.
        Expired = "Jwt_is_expired",
        /// `exp` is of another kind.
        ExpNotInteger = "Jwt_payload_[exp]_field_is_not_an_integer",
        /// `exp` is negative, or too large.
        ExpNotPositive = "Jwt_payload_[exp]_field_is_not_a_positive_64_bit_integer",
        /// The keys could not be fetched.
        FetchFailed = "Jwks_remote_fetch_is_failed",
        /// It has not three parts.
        Form = "Jwt_is_not_in_the_form_of_Header.Payload.Signature_with_two_dots_and_3_sections",
        /// The header is not encoded as it should be.
        HeaderBase64 = "Jwt_header_is_an_invalid_Base64url_encoded",
        /// The header is no JSON object.
        HeaderJson = "Jwt_header_is_an_invalid_JSON",
        /// `iat` is of another kind.
        IatNotInteger = "Jwt_payload_[iat]_field_is_not_an_integer",
        /// `iat` is negative, or too large.
        IatNotPositive = "Jwt_payload_[iat]_field_is_not_a_positive_64_bit_integer",
        /// Nothing is known of its issuer.
        Issuer = "Jwt_issuer_is_not_configured",
        /// `iss` is of another kind.
        IssNotText = "Jwt_payload_[iss]_field_is_not_a_string",
        /// `jti` is of another kind.
        JtiNotText = "Jwt_payload_[jti]_field_is_not_a_string",
        /// `kid` is of another kind.
        KidNotText = "Jwt_header_[kid]_field_is_not_a_string",
        /// There is none.
        Missing = "Jwt_is_missing",
        /// `nbf` is of another kind.
        NbfNotInteger = "Jwt_payload_[nbf]_field_is_not_an_integer",
        /// `nbf` is negative, or too large.
        NbfNotPositive = "Jwt_payload_[nbf]_field_is_not_a_positive_64_bit_integer",
        /// None of the keys is for it.
        NoKey = "Jwks_doesn't_have_key_to_match_kid_or_alg_from_Jwt",
        /// Its time has not come.
        NotYet = "Jwt_not_yet_valid",
        /// The payload is not encoded as it should be.
        PayloadBase64 = "Jwt_payload_is_an_invalid_Base64url_encoded",
        /// The payload is no JSON object.
        PayloadJson = "Jwt_payload_is_an_invalid_JSON",
        /// The signature is not encoded as it should be.
        SignatureBase64 = "Jwt_signature_is_an_invalid_Base64url_encoded",
        /// `sub` is of another kind.
        SubNotText = "Jwt_payload_[sub]_field_is_not_a_string",
        /// None of the keys has signed it.
        Verification = "Jwt_verification_fails",
    }
}

impl JwtFailure {
    /// Its number in Envoy, for metadata.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Missing => 1,
            Self::NotYet => 2,
            Self::Expired => 3,
            Self::Form => 4,
            Self::HeaderBase64 => 5,
            Self::HeaderJson => 6,
            Self::AlgorithmMissing => 7,
            Self::AlgorithmUnknown => 8,
            Self::KidNotText => 9,
            Self::PayloadBase64 => 10,
            Self::PayloadJson => 11,
            Self::IssNotText => 12,
            Self::SubNotText => 13,
            Self::IatNotInteger => 14,
            Self::IatNotPositive => 15,
            Self::NbfNotInteger => 16,
            Self::NbfNotPositive => 17,
            Self::ExpNotInteger => 18,
            Self::ExpNotPositive => 19,
            Self::JtiNotText => 20,
            Self::AudNotText => 21,
            Self::SignatureBase64 => 22,
            Self::Issuer => 24,
            Self::Audience => 25,
            Self::Verification => 26,
            Self::NoKey => 32,
            Self::FetchFailed => 40,
        }
    }

    /// In words, for the client.
    #[must_use]
    pub fn words(self) -> String {
        self.to_string().replace('_', " ")
    }
}

/// A request was refused for its token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JwtDenied(pub JwtFailure);

const DENIED: &str = "jwt_authn_access_denied{";

impl Text for JwtDenied {
    fn pieces(&self) -> Pieces<'_> {
        let [text, ..] = self.0.pieces();
        [DENIED, text, "}", ""]
    }

    fn read(text: &str) -> Option<Self> {
        JwtFailure::read(text.strip_prefix(DENIED)?.strip_suffix('}')?).map(Self)
    }

    #[cfg(test)]
    fn examples() -> Vec<Self> {
        JwtFailure::examples().into_iter().map(Self).collect()
    }
}
