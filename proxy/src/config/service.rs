//! Services that filters call: where they are, and how long they may take.

use std::time::Duration;

use super::cluster::ClusterName;
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
