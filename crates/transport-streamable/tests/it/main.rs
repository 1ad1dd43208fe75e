//! Streamable HTTP from outside: the server half by requests in memory, the client half against
//! scripted servers on loopback, and both halves of both transports in a row.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "../../../transport-sse/tests/it/fake.rs"]
mod fake;
mod server;
