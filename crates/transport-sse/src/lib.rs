//! The HTTP+SSE transport of 2024-11-05, and what it shares with its successor: the wire format
//! of event streams, bounded bodies, and the HTTP client.
//!
//! * [`server`] offers a [`Transport`](mcp_jsonrpc::transport::Transport) to SSE clients.
//! * [`client`] is a `Transport` that reaches an SSE server.
//! * [`wire`] reads and writes `text/event-stream`; [`stream`] is a body of events with
//!   keep-alive comments, [`events`] reads such a body.
//! * [`http`] reaches servers: pools, TLS, and errors that say what to do.
//! * [`body`], [`respond`] and [`note`] are the bodies, the responses, and what a log line should
//!   say of them.
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
//! use mcp_jsonrpc::{Message, RpcError, transport::{Caller, Reply, func::from_fn}};
//! use transport_sse::{body::Outgoing, server::{Server, ServerOptions}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Whatever answers exchanges: a function, a server behind, a whole gateway.
//! let transport = from_fn(async |exchange| {
//!     let Some(id) = exchange.message.id() else { return Ok(Reply::Accepted) };
//!     let error = RpcError::new(RpcError::METHOD_NOT_FOUND, "nothing here yet");
//!     Ok(Reply::Single(Message::error(Some(id), &error).expect("an error is always JSON")))
//! });
//! let server = Server::new(Arc::new(transport), ServerOptions::default());
//!
//! // In the service's own handler, for GET /tools/sse …
//! let request = Request::get("/tools/sse").body(Outgoing::empty())?;
//! let response = server.handle_stream(request, Caller::anonymous(), "/tools/message").await;
//! assert_eq!(response.headers()["content-type"], "text/event-stream");
//!
//! // … and for POST /tools/message?sessionId=…
//! let request = Request::post("/tools/message?sessionId=unknown").body(Outgoing::whole("{}"))?;
//! let response = server.handle_message(request, Caller::anonymous()).await;
//! assert_eq!(response.status(), 404);
//! # Ok(())
//! # }
//! ```

pub mod alarm;
pub mod base64;
pub mod body;
pub mod client;
pub mod events;
pub mod http;
pub mod note;
mod outbox;
mod refusal;
pub mod respond;
pub mod server;
pub mod stream;
pub mod wire;
pub mod woken;
