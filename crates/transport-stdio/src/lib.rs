//! MCP over the standard streams of a process.

mod child;
pub mod client;
mod exit;
mod limits;
mod line;
mod noise;
mod outbox;
pub mod pipe;
mod salvage;
pub mod supervise;
mod wire;

pub use exit::Exit;
pub use limits::{Limits, StderrMax, Timeouts};
