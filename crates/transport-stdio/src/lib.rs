//! MCP over the standard streams of a process.

mod limits;
mod line;
mod noise;
mod outbox;
pub mod pipe;
mod salvage;
mod wire;

pub use limits::{Limits, StderrMax, Timeouts};
