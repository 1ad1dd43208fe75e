//! x
mod era;
pub mod header;
mod refusal;
pub mod server;
