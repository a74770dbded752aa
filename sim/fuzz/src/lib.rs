//! The targets, which stand among the tests so that `cargo test` runs them on stable Rust.

#[path = "../../tests/fuzz/targets/mod.rs"]
pub mod targets;
