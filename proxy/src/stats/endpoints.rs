//! Numbers of single endpoints, for `/clusters`.
//!
//! They are not in the registry: a cluster may have hundreds of endpoints, and they come and go with DNS.

use super::{Counter, Gauge, Health};

/// What is counted of one endpoint, by all workers together.
#[derive(Debug, Default)]
pub struct EndpointStats {
    /// Connections open or connecting.
    pub cx_active: Gauge,
    /// A connect failed.
    pub cx_connect_fail: Counter,
    /// A connect began.
    pub cx_total: Counter,
    /// Requests on a connection.
    pub rq_active: Gauge,
    /// A response of 5xx, or none.
    pub rq_error: Counter,
    /// Requests waiting for a connection.
    pub rq_pending_active: Gauge,
    /// A response below 500.
    pub rq_success: Counter,
    /// A request took too long.
    pub rq_timeout: Counter,
    /// A request was put on a connection.
    pub rq_total: Counter,
    /// Whether it may be chosen.
    pub health: Health,
}
