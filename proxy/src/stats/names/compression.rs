//! Bodies into codings and back: by the filters `envoy.filters.http.compressor` and `envoy.filters.http.decompressor`.

use super::one_segment;
use crate::config::compression::{Coding, CompressorName};
use crate::stats::{Counter, Registry};

/// Lengths of bodies, before and after.
#[derive(Clone, Debug)]
pub struct RecodedBytes {
    /// In the coding.
    pub compressed: Counter,
    /// Plain.
    pub uncompressed: Counter,
}

/// The bodies of one direction.
#[derive(Clone, Debug)]
pub struct RecodingStats {
    /// A body was recoded.
    pub recoded: Counter,
    /// A body was left as it is.
    pub untouched: Counter,
    /// A body was too short to be compressed.
    pub content_length_too_small: Option<Counter>,
    /// Of those that were recoded.
    pub bytes: RecodedBytes,
}

impl RecodingStats {
    fn new(registry: &Registry, prefix: &str, recoded: &str) -> Self {
        Self {
            recoded: Counter::named(registry, prefix, recoded),
            untouched: Counter::named(registry, prefix, &format!("not_{recoded}")),
            content_length_too_small: None,
            bytes: RecodedBytes {
                compressed: Counter::named(registry, prefix, "total_compressed_bytes"),
                uncompressed: Counter::named(registry, prefix, "total_uncompressed_bytes"),
            },
        }
    }

    fn of_compressor(registry: &Registry, prefix: &str) -> Self {
        let too_small = Counter::named(registry, prefix, "content_length_too_small");
        Self { content_length_too_small: Some(too_small), ..Self::new(registry, prefix, "compressed") }
    }
}

/// `http.<stat_prefix>.compressor.<library>.<coding>.`
#[derive(Clone, Debug)]
pub struct CompressorStats {
    /// The client got this coding, which it names.
    pub header_compressor_used: Counter,
    /// The client got the coding of another compressor of the chain.
    pub header_compressor_overshadowed: Counter,
    /// The client likes no coding most.
    pub header_identity: Counter,
    /// The client names no coding that there is.
    pub header_not_valid: Counter,
    /// The client takes any coding.
    pub header_wildcard: Counter,
    /// The client does not say what it accepts.
    pub no_accept_header: Counter,
    /// A response has an `etag`, which prevents that it is compressed.
    pub not_compressed_etag: Counter,
    /// `request.`
    pub request: RecodingStats,
    /// `response.`, or nothing.
    pub response: RecodingStats,
}

impl CompressorStats {
    /// The scope of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str, name: &CompressorName) -> Self {
        let (library, coding) = (one_segment(&name.library), name.coding.stat());
        let prefix = format!("http.{}.compressor.{library}.{coding}", one_segment(stat_prefix));
        let named = |last| Counter::named(registry, &prefix, last);
        let of_responses = format!("{prefix}{}", name.of_responses);
        Self {
            header_compressor_used: named("header_compressor_used"),
            header_compressor_overshadowed: named("header_compressor_overshadowed"),
            header_identity: named("header_identity"),
            header_not_valid: named("header_not_valid"),
            header_wildcard: named("header_wildcard"),
            no_accept_header: named("no_accept_header"),
            not_compressed_etag: named("not_compressed_etag"),
            request: RecodingStats::of_compressor(registry, &format!("{prefix}.request")),
            response: RecodingStats::of_compressor(registry, &of_responses),
        }
    }
}

/// `http.<stat_prefix>.decompressor.<library>.<coding>.`
#[derive(Clone, Debug)]
pub struct DecompressorStats {
    /// A body was not of the coding, or became too long.
    pub broken: Counter,
    /// `request.`
    pub request: RecodingStats,
    /// `response.`
    pub response: RecodingStats,
}

impl DecompressorStats {
    /// The scope of a connection manager.
    #[must_use]
    pub fn new(registry: &Registry, stat_prefix: &str, library: &str, coding: Coding) -> Self {
        let prefix =
            format!("http.{}.decompressor.{}.{}", one_segment(stat_prefix), one_segment(library), coding.stat());
        let of_library = format!("{prefix}.decompressor_library");
        // One error is told from another by the library that Envoy uses; dashboards expect the names.
        let (broken, others): (_, &[&str]) = match coding {
            Coding::Brotli => ("brotli_error", &["brotli_output_overflow", "brotli_redundant_input"]),
            Coding::Gzip => (
                "zlib_data_error",
                &["zlib_buf_error", "zlib_errno", "zlib_mem_error", "zlib_stream_error", "zlib_version_error"],
            ),
            Coding::Zstd => {
                ("zstd_generic_error", &["zstd_checksum_wrong_error", "zstd_dictionary_error", "zstd_memory_error"])
            }
        };
        others.iter().for_each(|name| drop(Counter::named(registry, &of_library, name)));
        Self {
            broken: Counter::named(registry, &of_library, broken),
            request: RecodingStats::new(registry, &format!("{prefix}.request"), "decompressed"),
            response: RecodingStats::new(registry, &format!("{prefix}.response"), "decompressed"),
        }
    }
}
