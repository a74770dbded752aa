//! What the user wrote, turned into what the program means.
//!
//! Pure: no clock, no socket, no other module of this crate. Past this folder nothing is checked twice and
//! no default is chosen twice.

pub mod cluster;
pub mod listener;
pub mod log_format;
pub mod route;

use std::net::SocketAddr;

pub use cluster::Cluster;
pub use listener::Listener;

/// A whole configuration, as meant.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the admin interface listens, if anywhere.
    pub admin: Option<SocketAddr>,
    /// The listeners, in the order of the file.
    pub listeners: Vec<Listener>,
    /// The clusters, in the order of the file; names are unique.
    pub clusters: Vec<Cluster>,
    /// The file as JSON, for `/config_dump`.
    pub dump: serde_json::Value,
}
