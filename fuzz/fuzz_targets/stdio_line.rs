//! What a process writes to its stdout.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway_fuzz::stdio_line::check(input));
