//! What must hold of every input.
//!
//! Each module has a `check` that panics where it does not.  The targets under `fuzz_targets` call
//! it with whatever a fuzzer thinks of; tests of the crates concerned call it with the seeds.

pub mod config;
pub mod interleaving;
pub mod message;
pub mod sse_decoder;
pub mod stdio_line;
