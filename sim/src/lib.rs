//! finwait-sim
pub mod actor;
pub mod scenario;
pub mod trace;
