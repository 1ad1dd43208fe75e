//! Which session goes where.
//!
//! * [`route`] reads a path: which server, and by which door.
//! * [`server`] is a [`Transport`](mcp_jsonrpc::transport::Transport) over another: it keeps the
//!   sessions that clients have with one server, and the links behind that carry them.
//! * [`status`] is what a server's life looks like from outside.
//!
//! The router knows neither HTTP nor processes.  It sees transports on both sides.
//!
//! ```
//! use std::sync::Arc;
//! use mcp_jsonrpc::{Message, transport::{Caller, Exchange, Opening, Reply, Transport}};
//! use router::server::{Options, Server};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Behind: any transport.  Here a server in this process.
//! let behind = Arc::new(demo_server::transport());
//! let server = Server::new("demo", behind, Options::default());
//!
//! // In front: what a server half does for each client.
//! let opening = Opening { caller: Caller::anonymous(), version: None, at: "/demo/mcp".into() };
//! let session = server.open(opening).await?;
//! let initialize = Message::parse(
//!     r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18",
//!         "capabilities":{},"clientInfo":{"name":"doc","version":"0"}}}"#,
//! )?;
//! let Reply::Single(answer) = session.send(Exchange::new(initialize, Caller::anonymous())).await?
//! else { panic!("`initialize` is answered alone") };
//! assert!(answer.body().unwrap().contains("2025-06-18"));
//! # Ok(())
//! # }
//! ```

mod call;
mod counts;
#[cfg(test)]
mod double;
mod handshake;
pub mod keep;
mod life;
mod link;
mod load;
mod log;
mod places;
mod pool;
mod questions;
pub mod route;
pub mod server;
mod session;
mod sessions;
mod stateless;
pub mod status;
mod upstream;
