//! Streamable HTTP, with sessions (2025-03-26 to 2025-11-25) and without (2026-07-28).
//!
//! * [`server`] offers a [`Transport`](mcp_jsonrpc::transport::Transport) at one address.
//! * [`client`] is a `Transport` that reaches a server at one URL; [`client::Auto`] finds out
//!   whether there is Streamable HTTP or its predecessor.
//! * [`header`] names the fields both put beside the body, and [`mirror`] those which repeat what
//!   2026-07-28 has in it.
//!
//! Listeners, `Origin` and `Host` checks, tokens, routes and logs are not here: a [`server::Server`]
//! answers one request, whoever received it.
//!
//! # An MCP server inside another service
//!
//! ```
//! use std::sync::Arc;
//!
//! use hyper::Request;
//! use mcp_jsonrpc::{Message, transport::{Caller, Reply, func::from_fn}};
//! use transport_sse::body::{self, Outgoing};
//! use transport_streamable::server::{Server, ServerOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Whatever answers exchanges: a function, a server behind, a whole gateway.
//! let transport = from_fn(async |exchange| {
//!     let Some(id) = exchange.message.id() else { return Ok(Reply::Accepted) };
//!     let result = serde_json::json!({ "tools": [] });
//!     Ok(Reply::Single(Message::response(id, &result).expect("JSON is JSON")))
//! });
//! let options = ServerOptions { stateless: true, ..ServerOptions::default() };
//! let server = Server::new(Arc::new(transport), "/tools/mcp", options);
//!
//! // In the service's own handler, for whatever comes to that address:
//! let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
//! let request = Request::post("/tools/mcp").body(Outgoing::whole(list))?;
//! let response = server.handle(request, Caller::anonymous()).await;
//! assert_eq!(response.status(), 200);
//! # let wait = std::time::Duration::from_secs(1);
//! # let answer = body::read(response.into_body(), 1000, wait).await?;
//! # assert_eq!(answer, r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#);
//! # Ok(())
//! # }
//! ```

pub mod client;
mod era;
pub mod header;
pub mod mirror;
mod refusal;
pub mod server;
