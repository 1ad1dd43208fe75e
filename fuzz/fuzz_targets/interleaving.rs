//! What clients, servers and time do to sessions, in any order.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| gateway_fuzz::interleaving::check(input));
