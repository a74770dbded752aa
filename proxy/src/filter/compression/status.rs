//! What responses say of a compressor: `x-envoy-compression-status`.

use http::header::ETAG;
use http::{HeaderName, HeaderValue};

use super::{is_long, takes};
use crate::codec::{Headers, ResponseHead};
use crate::config::compression::{Coding, Compressor, Etag};
use crate::stats::{CompressorStats, Counter};

const NAME: HeaderName = HeaderName::from_static("x-envoy-compression-status");

/// Why a response is not compressed, in the order in which it is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Hindrance {
    /// Its `content-length` is too small.
    Length,
    /// It is of another type.
    Type,
    /// It has an `etag`.
    Etag,
    /// It has a status that is left out.
    Status,
}

impl Hindrance {
    /// What is against it, in the response itself.
    pub(super) fn of(
        options: &Compressor,
        response: &ResponseHead,
        media_type: Option<&str>,
        stats: &CompressorStats,
    ) -> Option<Self> {
        if !is_long(&options.response, &response.headers, &stats.response) {
            return Some(Self::Length);
        }
        if !takes(&options.response, media_type) {
            return Some(Self::Type);
        }
        if options.etag == Etag::Prevents && response.headers.contains(&ETAG) {
            return Some(Self::Etag);
        }
        options.except.contains(&response.status).then_some(Self::Status)
    }

    /// The response tells of it.
    pub(super) fn count(self, stats: &CompressorStats) {
        match self {
            Self::Etag => stats.not_compressed_etag.inc(),
            Self::Length => stats.response.content_length_too_small.iter().for_each(Counter::inc),
            Self::Status | Self::Type => {}
        }
    }

    /// As the header names it.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Length => "ContentLengthTooSmall",
            Self::Type => "ContentTypeNotAllowed",
            Self::Etag => "EtagNotAllowed",
            Self::Status => "StatusCodeNotAllowed",
        }
    }
}

/// Adds the header.
pub(super) fn tell(coding: Coding, status: &str, headers: &mut Headers) {
    if let Ok(value) = HeaderValue::from_str(&format!("{};{status}", coding.token())) {
        headers.append(NAME, value);
    }
}

/// Adds it to a response that is compressed, and had this `content-length`.
pub(super) fn tell_compressed(coding: Coding, length: Option<&HeaderValue>, headers: &mut Headers) {
    let length = length.and_then(|length| length.to_str().ok()).unwrap_or_default();
    tell(coding, &format!("Compressed;OriginalLength={length}"), headers);
}
