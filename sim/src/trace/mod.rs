//! t
pub mod wire;
