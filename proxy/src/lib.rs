//! finwait: an HTTP proxy that reads Envoy v3 configuration.

pub mod access_log;
pub mod codec;
pub mod config;
pub mod net;
pub mod stats;
