//! See `tests/fuzz/targets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| finwait_fuzz::targets::http1_requests(input));
