//! Requests that the codec refuses, and the responses they get.

use http::StatusCode;

use crate::codec::ExchangeError;
pub use crate::codec::violation::Refusal;

/// Why there is no request head.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeadError {
    /// The connection ended first.
    #[error("no request head: {0}")]
    Lost(#[source] ExchangeError),
    /// The response has [`Refusal::status`], and the connection closed.
    #[error("request refused: {0}")]
    Refused(Refusal),
}

impl Refusal {
    /// The status of the response.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::BodyDisallowed
            | Self::Codec
            | Self::ConnectionHeader
            | Self::InvalidAuthority
            | Self::InvalidCharacters
            | Self::InvalidScheme
            | Self::InvalidUrl
            | Self::LengthAndChunked
            | Self::Underscore => StatusCode::BAD_REQUEST,
            Self::HeadersTooLarge | Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::LowVersion => StatusCode::UPGRADE_REQUIRED,
            Self::TransferEncoding => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// The body of the response, plain text.
    #[must_use]
    pub fn body(self) -> &'static str {
        self.status().canonical_reason().unwrap_or_default()
    }
}
