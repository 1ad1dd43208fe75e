//! An event stream, however it is cut.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway_fuzz::sse_decoder::check(input));
