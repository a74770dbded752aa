//! Services that are called over gRPC, as written.

use serde::Deserialize;

use super::HeaderValue;
use super::policies::CoreRetryPolicy;
use crate::config::constraints::{HeaderText, NonEmpty};
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `envoy.config.core.v3.GrpcService`
#[derive(Debug, Deserialize)]
pub(crate) struct CoreGrpcService {
    pub(crate) envoy_grpc: Option<At<EnvoyGrpc>>,
    #[serde(default)]
    pub(crate) initial_metadata: Vec<At<HeaderValue>>,
    pub(crate) retry_policy: Option<At<CoreRetryPolicy>>,
    pub(crate) timeout: Option<Seconds>,
}

/// `envoy.config.core.v3.GrpcService.EnvoyGrpc`
#[derive(Debug, Deserialize)]
pub(crate) struct EnvoyGrpc {
    pub(crate) authority: Option<At<HeaderText>>,
    pub(crate) cluster_name: At<NonEmpty>,
    pub(crate) max_receive_message_length: Option<u32>,
}
