//! MCP over standard streams: child processes behind, a client's pipe in front.
//!
//! * [`client`]: a [`Transport`](mcp_jsonrpc::transport::Transport) that starts a server as a child
//!   process for each session, and sees to its end.
//! * [`supervise`]: the small process beside each child because of which nothing that it has
//!   started survives, not even when this process gets SIGKILL.
//! * [`server`]: offers any transport to the client at the other end of stdin and stdout.
//! * [`pipe`]: a session over any other pair of byte streams.
//!
//! Another service uses it like this.  The program is its own supervisor, if it calls
//! [`supervise::main`] first of all.
//!
//! ```standalone_crate
//! use std::{error::Error, process::ExitCode};
//! use mcp_jsonrpc::{Id, Message, transport::{Caller, Exchange, Reply, Session}};
//! use transport_stdio::{client::Spawn, supervise::{self, Supervisor}};
//!
//! fn main() -> Result<ExitCode, Box<dyn Error>> {
//!     if std::env::args_os().nth(1).is_some_and(|arg| arg == "__supervise") {
//!         return Ok(supervise::main());
//!     }
//!     let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
//!     runtime.block_on(run())?;
//!     Ok(ExitCode::SUCCESS)
//! }
//!
//! async fn run() -> Result<(), Box<dyn Error>> {
//!     // A server that answers one request, written in shell.
//!     let mut spawn = Spawn::new("pong", "sh");
//!     let script = r#"read line; echo '{"jsonrpc":"2.0","id":1,"result":"pong"}'; exec cat"#;
//!     spawn.args = ["-c", script].map(Into::into).to_vec();
//!     spawn.supervisor = Some(Supervisor::this_program("__supervise")?);
//!
//!     let server = spawn.start().await?;
//!     let ping = Message::request(&Id::from("my id"), "ping", &serde_json::json!({}))?;
//!     let Reply::Single(answer) = server.send(Exchange::new(ping, Caller::anonymous())).await? else {
//!         return Err("an answer was expected, and nothing before it".into());
//!     };
//!     assert_eq!(answer.as_bytes(), r#"{"jsonrpc":"2.0","id":"my id","result":"pong"}"#);
//!
//!     // Waits until nothing of the child runs any more.
//!     server.close().await;
//!     Ok(())
//! }
//! ```
//!
//! # What a line may be
//!
//! One message a line, or an array of them (2025-03-26); MCP, transports, stdio.  A byte order mark,
//! blank lines, CRLF and lines that are no messages are tolerated and logged, within reason.  A line
//! longer than allowed is skipped; if it was an answer, its asker is told.
//!
//! # Who waits for whom
//!
//! Nobody waits for anybody else's slowness.  Answers always have a place; what comes unasked, and
//! finds no room with a listener that is slow, is dropped.  A child that does not read is felt by
//! those who talk to it, after [`Limits::write_timeout`].
//!
//! This crate is for unix systems.

mod child;
pub mod client;
mod exit;
mod limits;
mod line;
mod noise;
mod outbox;
pub mod pipe;
pub mod server;
pub mod supervise;
mod wire;

pub use exit::Exit;
pub use limits::{Limits, StderrMax, Timeouts};
