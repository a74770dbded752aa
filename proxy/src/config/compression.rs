//! `envoy.filters.http.compressor` and `envoy.filters.http.decompressor`, typed: which bodies are compressed, and which are not
//! any more.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use http::StatusCode;

use super::fraction::Fraction;

/// Bodies are compressed.
#[derive(Clone, Debug)]
pub struct Compressor {
    /// How.
    pub method: Method,
    /// What its stats are called.
    pub stats: CompressorName,
    /// Those of requests; `None` is none.
    pub request: Option<Compressed>,
    /// Those of responses.
    pub response: Compressed,
    /// `uncompressible_response_codes`: not those with these statuses.
    pub except: BTreeSet<StatusCode>,
    /// What becomes of the `etag` of a response that could be compressed.
    pub etag: Etag,
    /// `status_header_enabled`
    pub status_header: StatusHeader,
    /// `remove_accept_encoding_header`
    pub accept_encoding: AcceptEncoding,
    /// `choose_first`
    pub preference: Preference,
}

/// What the stats of a compressor are called: `compressor.<library>.<coding>.`
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CompressorName {
    /// `compressor_library.name`
    pub library: String,
    /// What it does.
    pub coding: Coding,
    /// `response.` where the file has a `response_direction_config`.
    pub of_responses: &'static str,
}

/// A content coding (RFC 9110 8.4.1).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Coding {
    /// RFC 7932
    Brotli,
    /// RFC 1952
    Gzip,
    /// RFC 8878
    Zstd,
}

impl Coding {
    /// As messages name it.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// As stats name it.
    #[must_use]
    pub fn stat(self) -> &'static str {
        match self {
            Self::Brotli => "brotli",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// A coding, and how much work is put into it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// With this quality and as many bits of the window.
    Brotli {
        /// 0 to 11.
        quality: u32,
        /// 10 to 24.
        window_bits: u32,
    },
    /// With this level.
    Gzip {
        /// 1 to 9.
        level: u32,
    },
    /// With this level.
    Zstd {
        /// 1 to 22.
        level: u32,
        /// Whether the end says what the content should be.
        checksum: Checksum,
    },
}

/// `enable_checksum`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Checksum {
    /// There is none.
    Off,
    /// There is one.
    On,
}

impl Method {
    /// Its coding.
    #[must_use]
    pub fn coding(self) -> Coding {
        match self {
            Self::Brotli { .. } => Coding::Brotli,
            Self::Gzip { .. } => Coding::Gzip,
            Self::Zstd { .. } => Coding::Zstd,
        }
    }
}

/// Which bodies of one direction are compressed.
#[derive(Clone, Debug)]
pub struct Compressed {
    /// `enabled`: all or none.
    pub enabled: Fraction,
    /// `min_content_length`: those whose `content-length` is no less, and those without one.
    pub bytes_min: u64,
    /// `content_type`, in lower case: those of these types, and those without one.
    pub types: BTreeSet<String>,
}

/// What becomes of a strong `etag` (RFC 9110 8.8.3), which is for bytes that are not those the client gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Etag {
    /// `disable_on_etag_header`: a response with one, strong or weak, is not compressed.
    Prevents,
    /// It is removed.
    Removed,
    /// `weaken_etag_on_compress`: it becomes a weak one.
    Weakened,
}

/// What the upstream sees of the codings that the client accepts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AcceptEncoding {
    /// What the client says.
    Kept,
    /// Nothing.
    Removed,
}

/// Whether responses say what a compressor has done (`x-envoy-compression-status`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StatusHeader {
    /// They do not.
    Off,
    /// They do, as long as nothing but the response's own length, type, `etag` or status is against it.
    On,
}

/// Which compressor is taken of several that a client likes as much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Preference {
    /// This one before others.
    First,
    /// That which the client names first.
    None,
}

/// Bodies are decompressed.
#[derive(Clone, Debug)]
pub struct Decompressor {
    /// Those with this coding.
    pub coding: Coding,
    /// `max_inflate_ratio`: a body may become so many times as long.
    pub ratio_max: NonZeroU32,
    /// `decompressor_library.name`
    pub library: String,
    /// Those of requests.
    pub request: Decompressed,
    /// Those of responses.
    pub response: Decompressed,
    /// `advertise_accept_encoding`
    pub advertising: Advertising,
}

/// Which bodies of one direction are decompressed.
#[derive(Clone, Debug)]
pub struct Decompressed {
    /// `enabled`: all or none.
    pub enabled: Fraction,
    /// `ignore_no_transform_header`
    pub no_transform: NoTransform,
}

/// What `cache-control: no-transform` means (RFC 9111 5.2.2.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoTransform {
    /// Nothing.
    Ignored,
    /// The body stays as it is.
    Respected,
}

/// Whether the upstream learns that this coding is accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Advertising {
    /// It does, by `accept-encoding`.
    On,
    /// It sees what the client accepts.
    Off,
}
