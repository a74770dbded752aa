//! Services that filters call: where they are, and how long they may take.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::cluster::ClusterName;
use super::mutation::Edits;
use super::retry::RetryPolicy;

/// A service that is reached through a cluster.
#[derive(Clone, Debug)]
pub struct Service {
    /// The configuration may lack it: then the service does not respond.
    pub cluster: ClusterName,
    /// From the end of a request to the end of its response; `None` is no limit.
    pub timeout: Option<Duration>,
    /// When a call is made again.
    pub retry: Option<RetryPolicy>,
}

/// `envoy.config.core.v3.GrpcService`: a service that is called over gRPC
#[derive(Clone, Debug)]
pub struct GrpcService {
    /// Where it is, and how long it may take.
    pub to: Arc<Service>,
    /// `authority`, else the cluster's name.
    pub authority: HeaderValue,
    /// `initial_metadata`
    pub edits: Edits,
    /// `max_receive_message_length`
    pub bytes_max: usize,
}
