//! finwait-sim: a deterministic network simulator that runs finwait in virtual time.
//!
//! The way of a scenario through this crate:
//!
//! 1. [`scenario`] reads the YAML a person wrote, and the Envoy configuration files it names.
//! 2. [`run`] builds a [`world`] of it: hosts with a [`kernel`] each, links, [`actor`]s, and the proxy itself,
//!    unmodified. It gives the script's orders, one after the other, and lets virtual time run.
//! 3. [`trace`] has every segment and every log line of the run. [`check`] compares it with what the author expected,
//!    and with what must hold in every run. [`explain`] finds out why requests failed, and [`report`] shows all of it to
//!    a person; [`suite`] does so for a file of many runs.
//!
//! [`explore`] plays one scenario with many seeds, and makes the failures it finds small.
//!
//! A run is a function of the scenario and its seed: [`chance`] is the only source of chance, and nothing here or in the
//! proxy reads the real clock.
//!
//! # Order
//!
//! A module names only modules that stand after it here:
//!
//! `main`, `command`, `suite`, `explore`, `draft`, `check`, `report`, `explain`, `run`, `actor`, `proxy`, `world`, `tls`,
//! `kernel`, `left_out`, `scenario`, `course`, `trace`, `chance`, `clock`, `columns`, `words`, `segment`, `fnv`.

pub mod actor;
pub mod chance;
pub mod check;
pub mod clock;
mod columns;
pub mod course;
pub mod draft;
pub mod explain;
pub mod explore;
mod fnv;
pub mod kernel;
pub mod left_out;
mod proxy;
pub mod report;
pub mod run;
pub mod scenario;
pub mod segment;
pub mod suite;
mod tls;
pub mod trace;
mod words;
pub mod world;
