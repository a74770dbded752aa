//! PROXY headers, as written: those that come, and those that are sent.

use serde::Deserialize;

use super::format_string::SubstitutionFormatString;
use crate::config::constraints::NonEmpty;
use crate::config::yaml::At;

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol`
#[derive(Debug, Deserialize)]
pub(crate) struct ProxyProtocol {
    pub(crate) allow_requests_without_proxy_protocol: Option<bool>,
    #[serde(default)]
    pub(crate) disallowed_versions: Vec<ProxyProtocolVersion>,
    pub(crate) pass_through_tlvs: Option<At<PassThroughTlvs>>,
    #[serde(default)]
    pub(crate) rules: Vec<At<Rule>>,
    pub(crate) stat_prefix: Option<String>,
    pub(crate) tlv_location: Option<TlvLocation>,
}

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.TlvLocation`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum TlvLocation {
    #[serde(rename = "DYNAMIC_METADATA")]
    DynamicMetadata,
    #[serde(rename = "FILTER_STATE")]
    FilterState,
}

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule`
#[derive(Debug, Deserialize)]
pub(crate) struct Rule {
    pub(crate) on_tlv_present: Option<KeyValuePair>,
    #[serde(default)]
    pub(crate) tlv_type: u32,
}

/// `envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair`
#[derive(Debug, Deserialize)]
pub(crate) struct KeyValuePair {
    pub(crate) key: NonEmpty,
    #[serde(default)]
    pub(crate) metadata_namespace: String,
}

/// `envoy.config.core.v3.ProxyProtocolConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct ProxyProtocolConfig {
    #[serde(default)]
    pub(crate) added_tlvs: Vec<At<TlvEntry>>,
    pub(crate) pass_through_tlvs: Option<At<PassThroughTlvs>>,
    pub(crate) version: Option<ProxyProtocolVersion>,
}

/// `envoy.config.core.v3.TlvEntry`
#[derive(Debug, Deserialize)]
pub(crate) struct TlvEntry {
    pub(crate) format_string: Option<At<SubstitutionFormatString>>,
    #[serde(rename = "type", default)]
    pub(crate) kind: u32,
    /// Base64.
    #[serde(default)]
    pub(crate) value: String,
}

/// `envoy.config.core.v3.ProxyProtocolPassThroughTLVs`
#[derive(Debug, Deserialize)]
pub(crate) struct PassThroughTlvs {
    pub(crate) match_type: Option<PassTlvsMatchType>,
    #[serde(default)]
    pub(crate) tlv_type: Vec<At<u32>>,
}

/// `envoy.config.core.v3.ProxyProtocolPassThroughTLVs.PassTLVsMatchType`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum PassTlvsMatchType {
    #[serde(rename = "INCLUDE")]
    Include,
    #[serde(rename = "INCLUDE_ALL")]
    IncludeAll,
}

/// `envoy.config.core.v3.ProxyProtocolConfig.Version`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ProxyProtocolVersion {
    #[serde(rename = "V1")]
    V1,
    #[serde(rename = "V2")]
    V2,
}
