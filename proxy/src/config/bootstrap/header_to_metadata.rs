//! The filter that leaves headers as metadata, as written.

use serde::Deserialize;

use super::matchers::RegexMatchAndSubstitute;
use crate::config::constraints::{HeaderName, NonEmpty};
use crate::config::yaml::At;

/// `envoy.extensions.filters.http.header_to_metadata.v3.Config`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderToMetadata {
    #[serde(default)]
    pub(crate) request_rules: Vec<At<HeaderToMetadataRule>>,
    #[serde(default)]
    pub(crate) response_rules: Vec<At<HeaderToMetadataRule>>,
}

/// `envoy.extensions.filters.http.header_to_metadata.v3.Config.Rule`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderToMetadataRule {
    pub(crate) cookie: Option<String>,
    pub(crate) header: Option<At<HeaderName>>,
    pub(crate) on_header_missing: Option<At<MetadataKeyValue>>,
    pub(crate) on_header_present: Option<At<MetadataKeyValue>>,
    #[serde(default)]
    pub(crate) remove: bool,
}

/// `envoy.extensions.filters.http.header_to_metadata.v3.Config.KeyValuePair`
#[derive(Debug, Deserialize)]
pub(crate) struct MetadataKeyValue {
    pub(crate) encode: Option<ValueEncode>,
    pub(crate) key: NonEmpty,
    #[serde(default)]
    pub(crate) metadata_namespace: String,
    pub(crate) regex_value_rewrite: Option<RegexMatchAndSubstitute>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<ValueType>,
    #[serde(default)]
    pub(crate) value: String,
}

/// `envoy.extensions.filters.http.header_to_metadata.v3.Config.ValueEncode`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ValueEncode {
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "BASE64")]
    Base64,
}

/// `envoy.extensions.filters.http.header_to_metadata.v3.Config.ValueType`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ValueType {
    #[serde(rename = "STRING")]
    String,
    #[serde(rename = "NUMBER")]
    Number,
    #[serde(rename = "PROTOBUF_VALUE")]
    ProtobufValue,
}
