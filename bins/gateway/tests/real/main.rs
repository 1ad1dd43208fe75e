//! The gateway between real MCP clients and real MCP servers.
//!
//! `cargo xtask test` installs them from the pins in `fixtures/real`; a test that lacks a part says
//! so and is counted as skipped, or fails under `--strict`. Everything runs on loopback.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod client;
mod compat;
mod eras;
mod http;
mod matrix;
mod parts;
mod plain;
mod process;
mod rig;
mod scrape;
mod servers;
mod story0;
mod story1;
mod story2;
mod story3;
mod tasks;
