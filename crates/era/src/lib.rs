//! Peers with a handshake and peers without, made to look like each other.
//!
//! Revisions up to 2025-11-25 begin with `initialize` and keep state in a session; 2026-07-28 does
//! neither ([`mcp_jsonrpc::modern`]).  What is different in a single message is the business of
//! [`translate`]; what takes memory, time and more than one message is done here, by two
//! transports around a transport:
//!
//! ```text
//! server half ──▶ front ──▶ router ──▶ behind ──▶ client half
//! ```
//!
//! [`behind`] stands before a server of either era, finds out which it is, and gives those who
//! open a session with a handshake one, whatever the server speaks.  [`front`] stands before the
//! router, and gives requests that know no session what they need of one.
//!
//! Peers of one era meet without either: the way between them is as short as without this crate.

pub mod behind;
pub mod front;
