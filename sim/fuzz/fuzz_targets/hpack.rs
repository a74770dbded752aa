//! See `tests/fuzz/targets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| finwait_sim_fuzz::targets::hpack(input));
