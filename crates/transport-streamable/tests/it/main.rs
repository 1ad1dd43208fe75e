//! Streamable HTTP from outside: the server half by requests in memory, the client half against
//! scripted servers on loopback, and both halves of both transports in a row.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests are tests"
)]

mod chain;
mod client;
#[path = "../../../transport-sse/tests/it/fake.rs"]
mod fake;
#[path = "../../../transport-sse/tests/it/raw.rs"]
mod raw;
mod server;
