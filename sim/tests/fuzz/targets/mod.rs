//! One function per reader of text or bytes: it reads `input` and asserts what must hold of the result. The fuzzer calls
//! these functions with inputs of its own (see `sim/fuzz`), the test beside them with the inputs that are committed.

mod hpack;
#[expect(dead_code, reason = "the proxy's targets use all of it")]
#[path = "../../../../proxy/tests/fuzz/targets/peer.rs"]
mod peer;
mod scenario;
mod trace;

pub use hpack::hpack;
pub use scenario::scenario_yaml;
pub use trace::trace_messages;
