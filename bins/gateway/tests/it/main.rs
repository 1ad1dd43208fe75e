//! The gateway as its clients and its operators meet it: the program, a file, a port.
//!
//! Everything runs on loopback, and nothing but `sh` is needed.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

mod aggregate;
mod asked;
mod audit;
mod bounds;
mod cli;
mod client;
mod doors;
mod era;
mod exact;
mod http;
mod leaks;
mod life;
mod metrics;
mod mischief;
mod process;
mod refusals;
mod reload;
mod restart;
mod resume;
mod revisions;
mod rig;
mod routes;
mod scripts;
mod streams;
mod survive;
mod wires;
