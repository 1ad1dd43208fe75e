//! JSON-RPC messages as MCP speaks them, and the trait by which they travel.
//!
//! A gateway forwards far more than it reads.  A [`Message`] therefore keeps the bytes it came
//! in and knows only its envelope: whether it asks, tells or answers, under which [`Id`], for
//! which method.  Everything deeper is read when somebody asks for it, and written back only by
//! [`Message::with_id`] and its like, which splice.
//!
//! ```
//! use mcp_jsonrpc::{Kind, Message};
//!
//! let message = Message::parse(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#)?;
//! assert_eq!(message.kind(), Kind::Request);
//! assert_eq!(message.method(), Some("tools/list"));
//! # Ok::<(), mcp_jsonrpc::ParseError>(())
//! ```
//!
//! [`transport`] holds the one trait every transport implements.

pub mod batch;
mod error;
mod head;
mod id;
mod limits;
mod message;
pub mod modern;
mod needle;
pub mod object;
pub mod params;
pub mod quick;
mod salvage;
mod skim;
pub mod transport;
mod version;

pub use error::{ParseError, RpcError};
pub use id::Id;
pub use limits::Limits;
pub use message::{Frame, Kind, Message};
pub use needle::Needle;
pub use salvage::Salvaged;
pub use version::{Era, ProtocolVersion, UnknownVersion};
