//! The TCP proxy, as written.

use serde::Deserialize;

use super::Percent;
use super::access_log::AccessLog;
use super::filter::HeaderValueOption;
use super::metadata::Metadata;
use super::policies::HashedFilterState;
use super::proxy_protocol::TlvEntry;
use crate::config::constraints::{LongerThan, NonEmpty};
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// The longest duration that is too short where a millisecond is the shortest: nanoseconds.
pub(super) const BELOW_A_MILLISECOND: u64 = 999_999;

/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`
#[derive(Debug, Deserialize)]
pub(crate) struct TcpProxy {
    #[serde(default)]
    pub(crate) access_log: Vec<AccessLog>,
    pub(crate) access_log_flush_interval: Option<At<LongerThan<BELOW_A_MILLISECOND>>>,
    pub(crate) access_log_options: Option<TcpAccessLogOptions>,
    pub(crate) cluster: Option<At<String>>,
    pub(crate) flush_access_log_on_connected: Option<At<bool>>,
    #[serde(default)]
    pub(crate) hash_policy: Vec<At<TcpHashPolicy>>,
    pub(crate) idle_timeout: Option<Seconds>,
    pub(crate) max_connect_attempts: Option<At<u32>>,
    pub(crate) max_downstream_connection_duration: Option<LongerThan<BELOW_A_MILLISECOND>>,
    pub(crate) max_downstream_connection_duration_jitter_percentage: Option<Percent>,
    pub(crate) metadata_match: Option<At<Metadata>>,
    pub(crate) proxy_protocol_tlv_merge_policy: Option<TlvMergePolicy>,
    #[serde(default)]
    pub(crate) proxy_protocol_tlvs: Vec<At<TlvEntry>>,
    pub(crate) stat_prefix: NonEmpty,
    pub(crate) tunneling_config: Option<At<TunnelingConfig>>,
    pub(crate) weighted_clusters: Option<At<TcpWeightedCluster>>,
}

/// `envoy.extensions.filters.network.tcp_proxy.v3.ProxyProtocolTlvMergePolicy`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum TlvMergePolicy {
    #[serde(rename = "ADD_IF_ABSENT")]
    AddIfAbsent,
    #[serde(rename = "APPEND_IF_EXISTS_OR_ADD")]
    AppendIfExistsOrAdd,
    #[serde(rename = "OVERWRITE_BY_TYPE_IF_EXISTS_OR_ADD")]
    OverwriteByTypeIfExistsOrAdd,
}

/// `envoy.type.v3.HashPolicy`
#[derive(Debug, Deserialize)]
pub(crate) struct TcpHashPolicy {
    pub(crate) filter_state: Option<HashedFilterState>,
    pub(crate) source_ip: Option<HashedSourceIp>,
}

/// `envoy.type.v3.HashPolicy.SourceIp`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct HashedSourceIp {}

/// `TcpProxy.TunnelingConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct TunnelingConfig {
    #[serde(default)]
    pub(crate) headers_to_add: Vec<At<HeaderValueOption>>,
    pub(crate) hostname: At<NonEmpty>,
    pub(crate) post_path: Option<At<String>>,
    #[serde(default)]
    pub(crate) propagate_response_headers: bool,
    #[serde(default)]
    pub(crate) propagate_response_trailers: bool,
    #[serde(default)]
    pub(crate) use_post: bool,
}

/// `TcpProxy.TcpAccessLogOptions`
#[derive(Debug, Deserialize)]
pub(crate) struct TcpAccessLogOptions {
    pub(crate) access_log_flush_interval: Option<LongerThan<BELOW_A_MILLISECOND>>,
    #[serde(default)]
    pub(crate) flush_access_log_on_connected: bool,
    #[serde(default)]
    pub(crate) flush_access_log_on_start: bool,
}

/// `TcpProxy.WeightedCluster`
#[derive(Debug, Deserialize)]
pub(crate) struct TcpWeightedCluster {
    #[serde(default)]
    pub(crate) clusters: Vec<At<TcpClusterWeight>>,
}

/// `TcpProxy.WeightedCluster.ClusterWeight`
#[derive(Debug, Deserialize)]
pub(crate) struct TcpClusterWeight {
    pub(crate) name: At<NonEmpty>,
    pub(crate) weight: At<u32>,
}
