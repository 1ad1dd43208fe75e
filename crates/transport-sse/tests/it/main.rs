//! HTTP+SSE from outside: the server half by requests in memory, the client half against scripted
//! servers on loopback.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests are tests"
)]

mod client;
mod connections;
mod fake;
mod raw;
mod seeds;
mod server;
mod tls;
