//! finwait-sim: a deterministic network simulator that runs finwait in virtual time.

pub mod chance;
pub mod kernel;
pub mod trace;
pub mod world;
