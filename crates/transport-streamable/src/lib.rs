//! Streamable HTTP, with sessions: 2025-03-26 to 2025-11-25.
//!
//! * [`server`] offers a [`Transport`](mcp_jsonrpc::transport::Transport) at one address.
//! * [`client`] is a `Transport` that reaches a server at one URL; [`client::Auto`] finds out
//!   whether there is Streamable HTTP or its predecessor.
//! * [`header`] names the fields both put beside the body.
//!
//! Listeners, `Origin` and `Host` checks, tokens, routes and logs are not here: a [`server::Server`]
//! answers one request, whoever received it.  The form of 2026-07-28, without sessions, is not
//! spoken yet; who asks for it is told so in words that its clients begin again from.
//!
//! # A server in front of another
//!
//! ```
//! use std::sync::Arc;
//!
//! use hyper::Request;
//! use mcp_jsonrpc::transport::Caller;
//! use transport_sse::{body::Outgoing, http::{HttpClient, HttpTarget}};
//! use transport_streamable::{client::{ClientOptions, Connect}, server::{Server, ServerOptions}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Behind: a server at a URL, and what it is sent with every request.
//! let headers = [("Authorization", "Bearer of-the-gateway")];
//! let target = HttpTarget::new("weather", "http://127.0.0.1:9/mcp", headers)?;
//! let behind = Connect::new(target, HttpClient::default(), ClientOptions::default());
//!
//! // In front: the same, at an address of ours.
//! let server = Server::new(Arc::new(behind), "/weather/mcp", ServerOptions::default());
//!
//! // In the service's own handler, for whatever comes to that address:
//! let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
//! let request = Request::post("/weather/mcp").body(Outgoing::whole(initialize))?;
//! let response = server.handle(request, Caller::anonymous()).await;
//! assert_eq!(response.status(), 503, "nothing runs at that port");
//! # Ok(())
//! # }
//! ```

pub mod client;
mod era;
pub mod header;
mod refusal;
pub mod server;
