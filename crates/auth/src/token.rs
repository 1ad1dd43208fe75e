//! Tokens: whom they stand for.  The secrets themselves are not kept.

use std::{fmt, sync::Arc};

use aws_lc_rs::{constant_time, digest};
use mcp_jsonrpc::transport::Caller;

/// The SHA-256 of a token.
///
/// Tokens are random, unlike passwords, so that one fast hash is enough to make a stolen memory
/// image or configuration useless.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

/// A token and whom it stands for.
#[derive(Clone, Debug)]
pub struct Token {
    hash: TokenHash,
    name: Arc<str>,
    caller: Caller,
}

// === impl TokenHash ===

impl TokenHash {
    /// The hash of a secret.
    pub fn of(secret: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, secret.as_bytes()).as_ref());
        Self(hash)
    }

    /// A hash somebody computed before.
    pub fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// Compares in constant time.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// Shows nothing of it.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(***)")
    }
}

// === impl Token ===

impl Token {
    /// A token that stands for `name`.
    pub fn new(name: &str, secret: &str) -> Self {
        Self::hashed(name, TokenHash::of(secret))
    }

    /// A token of which only the hash is known.
    pub fn hashed(name: &str, hash: TokenHash) -> Self {
        let name = Arc::from(name);
        Self { hash, caller: Caller::named(Arc::clone(&name)), name }
    }

    /// Whom it stands for.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn hash(&self) -> &TokenHash {
        &self.hash
    }
}
