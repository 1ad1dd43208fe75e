//! The protocol revisions and the two eras they fall into.

use std::{fmt, str::FromStr};

/// A revision of the Model Context Protocol.  Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// 2024-11-05: stdio and HTTP+SSE.
    V2024_11_05,
    /// 2025-03-26: Streamable HTTP; the only one with JSON-RPC batches.
    V2025_03_26,
    /// 2025-06-18: the `MCP-Protocol-Version` header, elicitation, structured content.
    V2025_06_18,
    /// 2025-11-25: tasks, URL elicitation, priming events; the last with a handshake.
    V2025_11_25,
    /// 2026-07-28: stateless; no handshake and no session.
    V2026_07_28,
}

/// How a revision carries its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// Up to 2025-11-25: an `initialize` handshake opens a session; a lost stream cancels nothing.
    Legacy,
    /// From 2026-07-28: every request stands alone; a closed stream cancels its request.
    Modern,
}

/// A text that names no revision this crate knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a known protocol revision")]
pub struct UnknownVersion;

impl ProtocolVersion {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] = [
        Self::V2024_11_05,
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
        Self::V2026_07_28,
    ];
    /// Those with a handshake, oldest first.
    pub const LEGACY: [Self; 4] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25];
    /// The newest with a handshake: what is offered to, and answered where a peer asks for
    /// a revision unknown here.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;
    /// What a client means that names no revision over Streamable HTTP (2025-06-18, transports).
    pub const UNNAMED: Self = Self::V2025_03_26;

    /// The date that names it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era this revision belongs to.
    pub fn era(self) -> Era {
        if self < Self::V2026_07_28 { Era::Legacy } else { Era::Modern }
    }

    /// What a server that speaks every legacy revision answers to an `initialize` that asks for
    /// `requested`: the same, or the newest legacy one if it is none of those.
    pub fn negotiate(requested: &str) -> Self {
        match requested.parse::<Self>() {
            Ok(version) if version.era() == Era::Legacy => version,
            _ => Self::LATEST_LEGACY,
        }
    }
}

impl FromStr for ProtocolVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or(UnknownVersion)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_order() {
        assert!(ProtocolVersion::ALL.is_sorted());
        for version in ProtocolVersion::ALL {
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        assert_eq!("2025-11-26".parse::<ProtocolVersion>(), Err(UnknownVersion));
        assert_eq!(ProtocolVersion::V2025_11_25.era(), Era::Legacy);
        assert_eq!(ProtocolVersion::V2026_07_28.era(), Era::Modern);
    }

    #[test]
    fn nobody_is_answered_a_later_revision_than_asked() {
        for version in ProtocolVersion::LEGACY {
            assert_eq!(ProtocolVersion::negotiate(version.as_str()), version);
        }
        for unknown in ["2026-07-28", "1.0", ""] {
            assert_eq!(ProtocolVersion::negotiate(unknown), ProtocolVersion::V2025_11_25);
        }
    }
}
