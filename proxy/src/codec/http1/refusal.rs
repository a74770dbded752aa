//! Requests that the codec refuses: one table of what the client and the access log are told.

use http::StatusCode;

use crate::codec::Broken;

/// Why there is no request head.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadError {
    /// The connection ended first.
    #[error("no request head: {0}")]
    Broken(#[source] Broken),
    /// What came is to be answered with [`Refusal::status`], and the connection closed.
    #[error("request refused: {}", .0.details())]
    Refused(Refusal),
}

/// A request that is not forwarded because its bytes are wrong or ambiguous.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// CONNECT with a content-length.
    BodyDisallowed,
    /// Not HTTP, or framed in a way that has two readings.
    Codec,
    /// `connection` names headers that are not the client's to remove.
    ConnectionHeader,
    /// The head has more bytes than the limit.
    HeadersTooLarge,
    /// `host` is not a host, or there are several.
    InvalidAuthority,
    /// A control character.
    InvalidCharacters,
    /// An absolute URI that is neither http nor https.
    InvalidScheme,
    /// A request target that is not a URL.
    InvalidUrl,
    /// Content-length together with transfer-encoding.
    LengthAndChunked,
    /// An HTTP version below 1.1, or one that does not exist.
    LowVersion,
    /// The head has more fields than the limit.
    TooManyHeaders,
    /// A transfer coding other than one `chunked`.
    TransferEncoding,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// Envoy's response code details.
    #[must_use]
    pub fn details(self) -> &'static str {
        self.row().1
    }

    /// Envoy's connection termination details; a low version is not a codec error and has none.
    #[must_use]
    pub fn connection_details(self) -> Option<&'static str> {
        self.row().2
    }

    /// The body of the answer, plain text.
    #[must_use]
    pub fn body(self) -> &'static str {
        self.status().canonical_reason().unwrap_or_default()
    }

    fn row(self) -> (StatusCode, &'static str, Option<&'static str>) {
        use StatusCode as S;
        match self {
            Self::BodyDisallowed => (
                S::BAD_REQUEST,
                "http1.body_disallowed",
                Some("codec_error:http/1.1_protocol_error:_unsupported_content_length"),
            ),
            Self::Codec => {
                (S::BAD_REQUEST, "http1.codec_error", Some("codec_error:http/1.1_protocol_error:_malformed_message"))
            }
            Self::ConnectionHeader => (
                S::BAD_REQUEST,
                "http1.connection_header_rejected",
                Some("codec_error:Invalid_nominated_headers_in_Connection."),
            ),
            Self::HeadersTooLarge => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "http1.headers_too_large",
                Some("codec_error:http/1.1_protocol_error:_headers_size_exceeds_limit"),
            ),
            Self::InvalidAuthority => (
                S::BAD_REQUEST,
                "http.invalid_authority",
                Some("codec_error:http/1.1_protocol_error:_request_headers_failed_spec_compliance_checks"),
            ),
            Self::InvalidCharacters => (
                S::BAD_REQUEST,
                "http1.invalid_characters",
                Some("codec_error:http/1.1_protocol_error:_header_value_contains_invalid_chars"),
            ),
            Self::InvalidScheme => (
                S::BAD_REQUEST,
                "http1.invalid_scheme",
                Some("codec_error:http/1.1_protocol_error:_invalid_scheme_in_request_line"),
            ),
            Self::InvalidUrl => (
                S::BAD_REQUEST,
                "http1.invalid_url",
                Some("codec_error:http/1.1_protocol_error:_invalid_url_in_request_line"),
            ),
            Self::LengthAndChunked => (
                S::BAD_REQUEST,
                "http1.content_length_and_chunked_not_allowed",
                Some("codec_error:http/1.1_protocol_error:_both_'Content-Length'_and_'Transfer-Encoding'_are_set."),
            ),
            Self::LowVersion => (S::UPGRADE_REQUIRED, "low_version", None),
            Self::TooManyHeaders => (
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "http1.too_many_headers",
                Some("codec_error:http/1.1_protocol_error:_headers_count_exceeds_limit"),
            ),
            Self::TransferEncoding => (
                S::NOT_IMPLEMENTED,
                "http1.invalid_transfer_encoding",
                Some("codec_error:http/1.1_protocol_error:_unsupported_transfer_encoding"),
            ),
        }
    }
}
