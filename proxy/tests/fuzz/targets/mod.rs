//! One function per parser of bytes or text that come from outside: it parses `input` and asserts what must hold of the
//! result. The fuzzer calls these functions with inputs of its own (see `proxy/fuzz`), the test beside them with the
//! inputs that are committed.
//!
//! They use the public interface of the library alone, so that the library needs no interface for tests.

mod config;
mod cuts;
mod header_values;
mod http1;
mod http1_chunks;
mod http1_responses;
mod http2;
mod http2_client;
mod http2_server;
mod log_format;
mod peer;

pub use config::config_yaml;
pub use header_values::header_values;
pub use http1::http1_requests;
pub use http1_chunks::http1_chunks;
pub use http1_responses::http1_responses;
pub use http2_client::http2_client;
pub use http2_server::http2_server;
pub use log_format::log_format;
