//! Clusters of a type that is an extension, as they are written.

use serde::Deserialize;

use super::forward_proxy::ForwardProxyCluster;
use crate::config::yaml::At;

/// `envoy.config.cluster.v3.Cluster.CustomClusterType`
#[derive(Debug, Deserialize)]
pub(crate) struct CustomClusterType {
    #[expect(dead_code, reason = "the type tells; having read it is the check")]
    pub(crate) name: String,
    pub(crate) typed_config: TypedCluster,
}

/// The types that there are.
#[derive(Debug, Deserialize)]
pub(crate) enum TypedCluster {
    #[serde(rename = "type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig")]
    Aggregate(At<AggregateClusterConfig>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig")]
    Forward(Box<At<ForwardProxyCluster>>),
}

/// `envoy.extensions.clusters.aggregate.v3.ClusterConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct AggregateClusterConfig {
    #[serde(default)]
    pub(crate) clusters: Vec<At<String>>,
}
