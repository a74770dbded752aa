//! The filters that compress and decompress bodies.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

use http::StatusCode;

use super::fraction::flag;
use crate::config::bootstrap::compression::{
    CompressionLevel, Compressor as WrittenCompressor, CompressorCommonDirectionConfig, CompressorConfig,
    CompressorLibrary, CompressorPerRoute, Decompressor as WrittenDecompressor, DecompressorCommonDirectionConfig,
    DecompressorConfig,
};
use crate::config::bootstrap::ext_authz::RuntimeFeatureFlag;
use crate::config::compression::{
    AcceptEncoding, Advertising, Checksum, Coding, Compressed, Compressor, CompressorName, Decompressed, Decompressor,
    Etag, Method, NoTransform, Preference, StatusHeader,
};
use crate::config::error::Place;
use crate::config::fraction::{Fraction, MILLION};
use crate::config::problem::Problem;
use crate::config::yaml::{At, Notes};

/// `min_content_length`
const BYTES_MIN: u32 = 30;
/// Envoy's `max_inflate_ratio`, which brotli and zstd have without a field.
const RATIO_MAX: NonZeroU32 = NonZeroU32::new(100).expect("100 is not 0");
const BROTLI_QUALITY: u32 = 3;
const BROTLI_WINDOW_BITS: u32 = 18;
/// What zlib's DEFAULT_COMPRESSION stands for.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: u32 = 3;
/// The library takes a higher level for this one.
const ZSTD_LEVEL_MAX: u32 = 22;

/// Types whose bodies are compressed where the file names none.
const TYPES: [&str; 20] = [
    "text/html",
    "text/plain",
    "text/css",
    "application/javascript",
    "application/x-javascript",
    "text/javascript",
    "text/x-javascript",
    "text/ecmascript",
    "text/js",
    "text/jscript",
    "text/x-js",
    "application/ecmascript",
    "application/x-json",
    "application/xml",
    "application/json",
    "image/svg+xml",
    "text/xml",
    "application/xhtml+xml",
    "application/grpc-web",
    "application/grpc-web+proto",
];

/// What a level says of a compressor.
pub(super) enum OfRoute {
    /// Responses are not compressed.
    Disabled,
    Overrides {
        /// Responses are compressed, and the upstream sees this of the codings that the client accepts.
        response: Option<Option<AcceptEncoding>>,
        method: Option<Method>,
    },
}

pub(super) fn compressor(written: &WrittenCompressor, notes: &Notes) -> Result<Compressor, Problem> {
    let library = &written.compressor_library;
    let method = method(library)?;
    let old = CompressorCommonDirectionConfig {
        content_type: written.content_type.clone(),
        enabled: None,
        min_content_length: written.content_length,
    };
    let none = CompressorCommonDirectionConfig::default();
    let new = written.response_direction_config.as_ref();
    let common = new.map_or(&old, |new| new.common_config.as_ref().unwrap_or(&none));
    let mut response = compressed(common, notes);
    // The fields beside response_direction_config count where there is none.
    if new.is_none() {
        response.enabled = flag(written.runtime_enabled.as_ref(), MILLION, notes);
    }
    let prevents = new.map_or(written.disable_on_etag_header, |new| new.disable_on_etag_header);
    let is_removed = new.map_or(written.remove_accept_encoding_header, |new| new.remove_accept_encoding_header);
    let except = new.into_iter().flat_map(|new| &new.uncompressible_response_codes).map(status);
    Ok(Compressor {
        method,
        stats: CompressorName {
            library: library.value.name.to_string(),
            coding: method.coding(),
            of_responses: if new.is_some() { ".response" } else { "" },
        },
        request: written.request_direction_config.as_ref().map(|request| {
            let common = request.common_config.as_ref().unwrap_or(&none);
            compressed(common, notes)
        }),
        response,
        except: except.collect::<Result<_, _>>()?,
        etag: match (new.is_some_and(|new| new.weaken_etag_on_compress), prevents) {
            (true, _) => Etag::Weakened,
            (false, true) => Etag::Prevents,
            (false, false) => Etag::Removed,
        },
        status_header: match new.is_some_and(|new| new.status_header_enabled) {
            true => StatusHeader::On,
            false => StatusHeader::Off,
        },
        accept_encoding: accept_encoding(is_removed),
        preference: if written.choose_first { Preference::First } else { Preference::None },
    })
}

fn accept_encoding(is_removed: bool) -> AcceptEncoding {
    if is_removed { AcceptEncoding::Removed } else { AcceptEncoding::Kept }
}

fn status(written: &At<u32>) -> Result<StatusCode, Problem> {
    let known = u16::try_from(written.value).ok().filter(|status| (200..600).contains(status));
    known.and_then(|status| StatusCode::from_u16(status).ok()).ok_or_else(|| written.invalid("must be from 200 to 599"))
}

fn compressed(written: &CompressorCommonDirectionConfig, notes: &Notes) -> Compressed {
    let bytes_min = written.min_content_length.filter(|length| *length > 0).unwrap_or(BYTES_MIN);
    let types: BTreeSet<String> = match written.content_type.as_slice() {
        [] => TYPES.map(str::to_owned).into(),
        written => written.iter().map(|written| written.to_ascii_lowercase()).collect(),
    };
    Compressed { enabled: flag(written.enabled.as_ref(), MILLION, notes), bytes_min: bytes_min.into(), types }
}

fn method(written: &At<CompressorLibrary>) -> Result<Method, Problem> {
    Ok(match &written.value.typed_config {
        CompressorConfig::Brotli(brotli) => Method::Brotli {
            quality: within(brotli.quality.as_ref(), 0, 11)?.unwrap_or(BROTLI_QUALITY),
            window_bits: within(brotli.window_bits.as_ref(), 10, 24)?.unwrap_or(BROTLI_WINDOW_BITS),
        },
        CompressorConfig::Gzip(gzip) => Method::Gzip { level: gzip.compression_level.map_or(GZIP_LEVEL, level) },
        CompressorConfig::Zstd(zstd) => Method::Zstd {
            level: zstd.compression_level.filter(|level| *level > 0).unwrap_or(ZSTD_LEVEL).min(ZSTD_LEVEL_MAX),
            checksum: if zstd.enable_checksum { Checksum::On } else { Checksum::Off },
        },
    })
}

fn level(written: CompressionLevel) -> u32 {
    match written {
        CompressionLevel::Default => GZIP_LEVEL,
        CompressionLevel::Level1 => 1,
        CompressionLevel::Level2 => 2,
        CompressionLevel::Level3 => 3,
        CompressionLevel::Level4 => 4,
        CompressionLevel::Level5 => 5,
        CompressionLevel::Level6 => 6,
        CompressionLevel::Level7 => 7,
        CompressionLevel::Level8 => 8,
        CompressionLevel::Level9 => 9,
    }
}

fn within(written: Option<&At<u32>>, least: u32, most: u32) -> Result<Option<u32>, Problem> {
    let Some(written) = written else { return Ok(None) };
    if !(least..=most).contains(&written.value) {
        return Err(written.invalid(format!("must be from {least} to {most}")));
    }
    Ok(Some(written.value))
}

pub(super) fn of_route(written: &CompressorPerRoute, place: &Place) -> Result<OfRoute, Problem> {
    match (&written.disabled, &written.overrides) {
        (Some(disabled), None) if disabled.value => Ok(OfRoute::Disabled),
        (Some(disabled), None) => Err(disabled.invalid("must be true; leave it out where the filter is on")),
        (None, Some(overrides)) => Ok(OfRoute::Overrides {
            response: overrides
                .response_direction_config
                .as_ref()
                .map(|response| response.remove_accept_encoding_header.map(accept_encoding)),
            method: overrides.compressor_library.as_ref().map(method).transpose()?,
        }),
        (None, None) | (Some(_), Some(_)) => {
            Err(Problem::invalid(place, "takes exactly one of disabled and overrides"))
        }
    }
}

/// The filter where a route, or something above it, says this of it.
pub(super) fn below(own: &Arc<Compressor>, of_route: Option<&OfRoute>) -> Arc<Compressor> {
    let all_or_none = |millionths| Fraction { millionths, key: None };
    let Some(of_route) = of_route else { return Arc::clone(own) };
    let mut compressor = Compressor::clone(own);
    match of_route {
        OfRoute::Disabled => compressor.response.enabled = all_or_none(0),
        OfRoute::Overrides { response, method } => {
            if let Some(accept_encoding) = response {
                compressor.response.enabled = all_or_none(MILLION);
                compressor.accept_encoding = accept_encoding.unwrap_or(own.accept_encoding);
            }
            compressor.method = method.unwrap_or(own.method);
        }
    }
    Arc::new(compressor)
}

pub(super) fn decompressor(written: &WrittenDecompressor, notes: &Notes) -> Result<Decompressor, Problem> {
    let (coding, ratio_max) = match &written.decompressor_library.value.typed_config {
        DecompressorConfig::Brotli(_) => (Coding::Brotli, None),
        DecompressorConfig::Gzip(gzip) => (Coding::Gzip, gzip.max_inflate_ratio.as_ref()),
        DecompressorConfig::Zstd(_) => (Coding::Zstd, None),
    };
    let ratio_max = ratio_max.map(|at| {
        let ratio = NonZeroU32::new(at.value).filter(|ratio| ratio.get() <= 1032);
        ratio.ok_or_else(|| at.invalid("must be from 1 to 1032"))
    });
    let (request, response) = (&written.request_direction_config, &written.response_direction_config);
    let advertises = request.as_ref().and_then(|request| request.advertise_accept_encoding).unwrap_or(true);
    Ok(Decompressor {
        coding,
        ratio_max: ratio_max.transpose()?.unwrap_or(RATIO_MAX),
        library: written.decompressor_library.value.name.to_string(),
        request: decompressed(request.as_ref().and_then(|request| request.common_config.as_ref()), notes),
        response: decompressed(response.as_ref().and_then(|response| response.common_config.as_ref()), notes),
        advertising: if advertises { Advertising::On } else { Advertising::Off },
    })
}

fn decompressed(written: Option<&DecompressorCommonDirectionConfig>, notes: &Notes) -> Decompressed {
    let enabled: Option<&RuntimeFeatureFlag> = written.and_then(|written| written.enabled.as_ref());
    let ignores = written.is_some_and(|written| written.ignore_no_transform_header);
    Decompressed {
        enabled: flag(enabled, MILLION, notes),
        no_transform: if ignores { NoTransform::Ignored } else { NoTransform::Respected },
    }
}
