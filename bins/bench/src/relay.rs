//! Bare relays: what forwarding costs at least on this stack, with no gateway in it.

mod child;
mod front;
mod wires;

use std::{net::SocketAddr, str::FromStr};

pub(crate) use {front::serve as serve_child, wires::serve as serve_wires};

/// The kinds of relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP to HTTP: bodies stream through both ways, unread; connections behind from a pool.
    HyperStream,
    /// As that, but each connection in front has one behind of its own: less than a gateway can
    /// do, whose sessions are not bound to connections.
    HyperPair,
    /// As [`Kind::HyperStream`], but collects each message, and reads its id and method.
    HyperCollect,
    /// Streamable or HTTP+SSE in front, one child for all behind, ids re-numbered.
    StdioShared,
}

impl Kind {
    /// The text which [`FromStr`] reads.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::HyperStream => "hyper-stream",
            Self::HyperPair => "hyper-pair",
            Self::HyperCollect => "hyper-collect",
            Self::StdioShared => "stdio-shared",
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::HyperStream, Self::HyperPair, Self::HyperCollect, Self::StdioShared]
            .into_iter()
            .find(|it| it.text() == text)
            .ok_or(())
    }
}

/// How a relay between HTTP servers reaches the one behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Host and port.
    pub(crate) addr: SocketAddr,
    /// Read messages as far as id and method?
    pub(crate) collect: bool,
    /// Connections from a pool shared by all, or one behind for each in front?
    pub(crate) pool: bool,
    /// What to take off the front of paths, where it is: then the relay has a gateway's routes.
    pub(crate) strip: String,
}
