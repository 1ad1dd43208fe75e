//! Many servers as one: a [`Transport`](mcp_jsonrpc::transport::Transport) over many.
//!
//! An [`Aggregate`] has [`Member`]s, each a way to one server.  A client's session with it is a
//! session with each of them, as far as the client has anything to do with it: what servers list
//! is gathered once for all sessions of one scope (one caller, one revision, one set of client
//! capabilities), requests go to the one server they are for, and what servers say comes back
//! under names, addresses and ids that lead to where they came from.
//!
//! What names mean is [`catalogue`]'s; here is what waits: sessions, lists that have to be asked
//! for, servers that are slow, gone, or back.
//!
//! It speaks the revisions with a handshake, and is meant to stand behind the router, which keeps
//! clients' sessions, their ids and their streams.

mod answers;
mod fill;
mod link;
mod member;
mod options;
mod pending;
mod questions;
mod scope;
mod server;
mod session;
mod shaped;
mod shown;

pub use member::{Member, Rights};
pub use options::{About, Options, Stale};
pub use server::{Aggregate, Status};
pub use shaped::Shaped;
pub use shown::{Missing, Shown};
