//! The HTTP filters that compress and decompress bodies, as written.

use serde::Deserialize;

use super::ext_authz::RuntimeFeatureFlag;
use crate::config::constraints::NonEmpty;
use crate::config::yaml::At;

/// `envoy.extensions.filters.http.compressor.v3.Compressor`
#[derive(Debug, Deserialize)]
pub(crate) struct Compressor {
    #[serde(default)]
    pub(crate) choose_first: bool,
    pub(crate) compressor_library: At<CompressorLibrary>,
    pub(crate) content_length: Option<u32>,
    #[serde(default)]
    pub(crate) content_type: Vec<String>,
    #[serde(default)]
    pub(crate) disable_on_etag_header: bool,
    #[serde(default)]
    pub(crate) remove_accept_encoding_header: bool,
    pub(crate) request_direction_config: Option<CompressorRequestDirectionConfig>,
    pub(crate) response_direction_config: Option<CompressorResponseDirectionConfig>,
    pub(crate) runtime_enabled: Option<RuntimeFeatureFlag>,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of a compressor
#[derive(Debug, Deserialize)]
pub(crate) struct CompressorLibrary {
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: CompressorConfig,
}

/// The compressors there are.
#[derive(Debug, Deserialize)]
pub(crate) enum CompressorConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.compression.brotli.compressor.v3.Brotli")]
    Brotli(BrotliCompressor),
    #[serde(rename = "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip")]
    Gzip(GzipCompressor),
    #[serde(rename = "type.googleapis.com/envoy.extensions.compression.zstd.compressor.v3.Zstd")]
    Zstd(ZstdCompressor),
}

/// `envoy.extensions.compression.brotli.compressor.v3.Brotli`
#[derive(Debug, Deserialize)]
pub(crate) struct BrotliCompressor {
    pub(crate) quality: Option<At<u32>>,
    pub(crate) window_bits: Option<At<u32>>,
}

/// `envoy.extensions.compression.gzip.compressor.v3.Gzip`
#[derive(Debug, Deserialize)]
pub(crate) struct GzipCompressor {
    pub(crate) compression_level: Option<CompressionLevel>,
}

/// `envoy.extensions.compression.gzip.compressor.v3.Gzip.CompressionLevel`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum CompressionLevel {
    #[serde(rename = "DEFAULT_COMPRESSION")]
    Default,
    #[serde(rename = "BEST_SPEED", alias = "COMPRESSION_LEVEL_1")]
    Level1,
    #[serde(rename = "COMPRESSION_LEVEL_2")]
    Level2,
    #[serde(rename = "COMPRESSION_LEVEL_3")]
    Level3,
    #[serde(rename = "COMPRESSION_LEVEL_4")]
    Level4,
    #[serde(rename = "COMPRESSION_LEVEL_5")]
    Level5,
    #[serde(rename = "COMPRESSION_LEVEL_6")]
    Level6,
    #[serde(rename = "COMPRESSION_LEVEL_7")]
    Level7,
    #[serde(rename = "COMPRESSION_LEVEL_8")]
    Level8,
    #[serde(rename = "COMPRESSION_LEVEL_9", alias = "BEST_COMPRESSION")]
    Level9,
}

/// `envoy.extensions.compression.zstd.compressor.v3.Zstd`
#[derive(Debug, Deserialize)]
pub(crate) struct ZstdCompressor {
    pub(crate) compression_level: Option<u32>,
    #[serde(default)]
    pub(crate) enable_checksum: bool,
}

/// `envoy.extensions.filters.http.compressor.v3.Compressor.CommonDirectionConfig`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct CompressorCommonDirectionConfig {
    #[serde(default)]
    pub(crate) content_type: Vec<String>,
    pub(crate) enabled: Option<RuntimeFeatureFlag>,
    pub(crate) min_content_length: Option<u32>,
}

/// `envoy.extensions.filters.http.compressor.v3.Compressor.RequestDirectionConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct CompressorRequestDirectionConfig {
    pub(crate) common_config: Option<CompressorCommonDirectionConfig>,
}

/// `envoy.extensions.filters.http.compressor.v3.Compressor.ResponseDirectionConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct CompressorResponseDirectionConfig {
    pub(crate) common_config: Option<CompressorCommonDirectionConfig>,
    #[serde(default)]
    pub(crate) disable_on_etag_header: bool,
    #[serde(default)]
    pub(crate) remove_accept_encoding_header: bool,
    #[serde(default)]
    pub(crate) status_header_enabled: bool,
    #[serde(default)]
    pub(crate) uncompressible_response_codes: Vec<At<u32>>,
    #[serde(default)]
    pub(crate) weaken_etag_on_compress: bool,
}

/// `envoy.extensions.filters.http.compressor.v3.CompressorPerRoute`
#[derive(Debug, Deserialize)]
pub(crate) struct CompressorPerRoute {
    pub(crate) disabled: Option<At<bool>>,
    pub(crate) overrides: Option<CompressorOverrides>,
}

/// `envoy.extensions.filters.http.compressor.v3.CompressorOverrides`
#[derive(Debug, Deserialize)]
pub(crate) struct CompressorOverrides {
    pub(crate) compressor_library: Option<At<CompressorLibrary>>,
    pub(crate) response_direction_config: Option<ResponseDirectionOverrides>,
}

/// `envoy.extensions.filters.http.compressor.v3.ResponseDirectionOverrides`
#[derive(Debug, Deserialize)]
pub(crate) struct ResponseDirectionOverrides {
    pub(crate) remove_accept_encoding_header: Option<bool>,
}

/// `envoy.extensions.filters.http.decompressor.v3.Decompressor`
#[derive(Debug, Deserialize)]
pub(crate) struct Decompressor {
    pub(crate) decompressor_library: At<DecompressorLibrary>,
    pub(crate) request_direction_config: Option<DecompressorRequestDirectionConfig>,
    pub(crate) response_direction_config: Option<DecompressorResponseDirectionConfig>,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of a decompressor
#[derive(Debug, Deserialize)]
pub(crate) struct DecompressorLibrary {
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: DecompressorConfig,
}

/// The decompressors there are.
#[derive(Debug, Deserialize)]
pub(crate) enum DecompressorConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.compression.brotli.decompressor.v3.Brotli")]
    Brotli(BrotliDecompressor),
    #[serde(rename = "type.googleapis.com/envoy.extensions.compression.gzip.decompressor.v3.Gzip")]
    Gzip(GzipDecompressor),
    #[serde(rename = "type.googleapis.com/envoy.extensions.compression.zstd.decompressor.v3.Zstd")]
    Zstd(ZstdDecompressor),
}

/// `envoy.extensions.compression.brotli.decompressor.v3.Brotli`
#[derive(Debug, Deserialize)]
pub(crate) struct BrotliDecompressor {}

/// `envoy.extensions.compression.gzip.decompressor.v3.Gzip`
#[derive(Debug, Deserialize)]
pub(crate) struct GzipDecompressor {
    pub(crate) max_inflate_ratio: Option<At<u32>>,
}

/// `envoy.extensions.compression.zstd.decompressor.v3.Zstd`
#[derive(Debug, Deserialize)]
pub(crate) struct ZstdDecompressor {}

/// `envoy.extensions.filters.http.decompressor.v3.Decompressor.CommonDirectionConfig`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct DecompressorCommonDirectionConfig {
    pub(crate) enabled: Option<RuntimeFeatureFlag>,
    #[serde(default)]
    pub(crate) ignore_no_transform_header: bool,
}

/// `envoy.extensions.filters.http.decompressor.v3.Decompressor.RequestDirectionConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct DecompressorRequestDirectionConfig {
    pub(crate) advertise_accept_encoding: Option<bool>,
    pub(crate) common_config: Option<DecompressorCommonDirectionConfig>,
}

/// `envoy.extensions.filters.http.decompressor.v3.Decompressor.ResponseDirectionConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct DecompressorResponseDirectionConfig {
    pub(crate) common_config: Option<DecompressorCommonDirectionConfig>,
}
