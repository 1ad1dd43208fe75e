//! Sealed text: what the gateway hands out and takes back, unread and unaltered.
//!
//! A session id, the state of a request, a cursor: whoever gets one keeps it for the gateway, so
//! that the gateway need not.  It is encrypted and authenticated (AES-256-GCM-SIV), for one
//! purpose, and bound to whatever its maker names: a text that was made for one caller or one
//! server opens for no other, exactly as if it had been made up.
//!
//! ```
//! use seal::{Clock, Keyring, Purpose};
//!
//! # fn main() -> Result<(), seal::SealError> {
//! let keyring = Keyring::fresh(Clock::system())?;
//! let text = keyring.seal(Purpose::Session, &[b"ann"], b"hello")?;
//! assert_eq!(keyring.open(Purpose::Session, &[b"ann"], &text).unwrap(), b"hello");
//! assert_eq!(keyring.open(Purpose::Session, &[b"bob"], &text), None);
//! # Ok(())
//! # }
//! ```
//!
//! The text is base64url of: a version, the id of a key, a random nonce, the ciphertext, its tag.
//! Nothing here reads a file: see the crate `store` for where keys are kept.

mod clock;
mod digest;
mod key;
mod keyring;
mod text;

pub use clock::Clock;
pub use digest::digest;
pub use key::{Key, KeyId};
pub use keyring::{Keyring, OPENED_LEN_MAX};

/// What a text is sealed for.  Keys are derived for each, so one never opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// The id of a session (2025-03-26, transports: session management).
    Session,
    /// `requestState` of a request that was answered with a question (2026-07-28).
    RequestState,
    /// A `cursor` of a list (2024-11-05, utilities: pagination).
    Cursor,
    /// The id of a task (2026-07-28, tasks extension).
    Task,
}

impl Purpose {
    pub(crate) const ALL: [Self; 4] = [Self::Session, Self::RequestState, Self::Cursor, Self::Task];

    /// What its keys are derived by.  Never to be changed: what was sealed would not open again.
    pub(crate) fn label(self) -> &'static [u8] {
        match self {
            Self::Session => b"mcp-gateway session",
            Self::RequestState => b"mcp-gateway request-state",
            Self::Cursor => b"mcp-gateway cursor",
            Self::Task => b"mcp-gateway task",
        }
    }
}

/// Why something could not be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The system gives no random numbers.
    #[error("the system has no randomness")]
    NoRandomness,
    /// The cipher refused a key, or a text that is too long.
    #[error("the cipher refused it")]
    Cipher,
    /// There is no key to seal with.
    #[error("there is no key")]
    NoKey,
}
