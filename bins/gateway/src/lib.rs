//! One door to any number of MCP servers.
//!
//! A request's way through the rooms, and its answer's way back:
//!
//! 1. [`listen`] accepts a connection, [`connection`] reads requests off it.
//! 2. [`door`] checks where it comes from, finds the route, asks `auth` who calls, hands it to a
//!    server half, and writes one line of log when the answer comes back.
//! 3. The server half, `transport_*::server`, makes an exchange of it.
//! 4. `router` finds the session, and the link that carries it.
//! 5. The client half, `transport_*::client`, says it to the server and returns what comes back.
//!
//! Each calls the next and returns what it was returned.  [`assemble`] puts the rooms together
//! as a configuration wants them; [`run`] is what the command line does with the house.

mod access_log;
mod answer;
pub mod assemble;
pub mod cli;
pub mod connection;
pub mod door;
mod framing;
mod given;
mod head;
pub mod home;
pub mod house;
pub mod joint;
mod lent;
pub mod listen;
pub mod log;
mod metrics;
mod origin;
pub mod reload;
pub mod run;
pub mod state;
mod watched;
