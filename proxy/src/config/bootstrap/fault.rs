//! The HTTP filter `envoy.filters.http.fault`, as written.

use serde::Deserialize;

use super::FractionalPercent;
use super::matchers::HeaderMatcher;
use crate::config::constraints::Positive;
use crate::config::yaml::{At, Tree};

/// `envoy.extensions.filters.http.fault.v3.HTTPFault`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpFault {
    pub(crate) abort: Option<At<FaultAbort>>,
    pub(crate) abort_grpc_status_runtime: Option<String>,
    pub(crate) abort_http_status_runtime: Option<String>,
    pub(crate) abort_percent_runtime: Option<String>,
    pub(crate) delay: Option<At<FaultDelay>>,
    pub(crate) delay_duration_runtime: Option<String>,
    pub(crate) delay_percent_runtime: Option<String>,
    #[serde(default)]
    pub(crate) disable_downstream_cluster_stats: bool,
    #[serde(default)]
    pub(crate) downstream_nodes: Vec<String>,
    pub(crate) filter_metadata: Option<At<Tree>>,
    #[serde(default)]
    pub(crate) headers: Vec<At<HeaderMatcher>>,
    pub(crate) max_active_faults: Option<u32>,
    pub(crate) max_active_faults_runtime: Option<String>,
    pub(crate) response_rate_limit: Option<At<FaultRateLimit>>,
    pub(crate) response_rate_limit_percent_runtime: Option<String>,
    pub(crate) upstream_cluster: Option<String>,
}

/// `envoy.extensions.filters.common.fault.v3.FaultDelay`
#[derive(Debug, Deserialize)]
pub(crate) struct FaultDelay {
    pub(crate) fixed_delay: Option<Positive>,
    pub(crate) header_delay: Option<HeaderDelay>,
    pub(crate) percentage: Option<FractionalPercent>,
}

/// `envoy.extensions.filters.common.fault.v3.FaultDelay.HeaderDelay`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderDelay {}

/// `envoy.extensions.filters.http.fault.v3.FaultAbort`
#[derive(Debug, Deserialize)]
pub(crate) struct FaultAbort {
    pub(crate) grpc_status: Option<u32>,
    pub(crate) header_abort: Option<HeaderAbort>,
    pub(crate) http_status: Option<At<u32>>,
    pub(crate) percentage: Option<FractionalPercent>,
}

/// `envoy.extensions.filters.http.fault.v3.FaultAbort.HeaderAbort`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderAbort {}

/// `envoy.extensions.filters.common.fault.v3.FaultRateLimit`
#[derive(Debug, Deserialize)]
pub(crate) struct FaultRateLimit {
    pub(crate) fixed_limit: Option<FixedLimit>,
    pub(crate) header_limit: Option<HeaderLimit>,
    pub(crate) percentage: Option<FractionalPercent>,
}

/// `envoy.extensions.filters.common.fault.v3.FaultRateLimit.FixedLimit`
#[derive(Debug, Deserialize)]
pub(crate) struct FixedLimit {
    pub(crate) limit_kbps: At<u64>,
}

/// `envoy.extensions.filters.common.fault.v3.FaultRateLimit.HeaderLimit`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderLimit {}
