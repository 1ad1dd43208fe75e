//! `requestState`: what a client keeps for a call that waits for its answers.
//!
//! Sealed, so that it says nothing and cannot be made up; bound to its caller; good for one
//! request, until some moment, once.

use mcp_jsonrpc::{Message, RpcError, transport::Caller};
use seal::{Keyring, Purpose};
use serde_json::{Map, Value, value::RawValue};

use super::wants::invalid;

/// The layout; another gets another number.
const VERSION: u8 = 1;
const LEN: usize = 1 + 16 + 8 + 8 + 8 + 32;

/// What is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The front that keeps the call.
    pub(super) instance: [u8; 16],
    /// The call.
    pub(super) parked: u64,
    /// Another one with every round.
    pub(super) nonce: u64,
    /// Until when it is good, in seconds since 1970.
    pub(super) until: u64,
    /// Of the request.
    pub(super) digest: [u8; 32],
}

// === impl State ===

impl State {
    /// As its client keeps it.
    pub(super) fn seal(
        &self,
        keyring: &Keyring,
        caller: &Caller,
    ) -> Result<String, seal::SealError> {
        let mut plain = Vec::with_capacity(LEN);
        plain.push(VERSION);
        plain.extend_from_slice(&self.instance);
        for number in [self.parked, self.nonce, self.until] {
            plain.extend_from_slice(&number.to_be_bytes());
        }
        plain.extend_from_slice(&self.digest);
        keyring.seal(Purpose::RequestState, &bound(caller), &plain)
    }

    /// What a client brings back, if it may.
    ///
    /// # Errors
    ///
    /// What it is answered instead.
    pub(super) fn open(
        text: &str,
        keyring: &Keyring,
        caller: &Caller,
        instance: &[u8; 16],
        digest: &[u8; 32],
    ) -> Result<Self, RpcError> {
        let plain = keyring.open(Purpose::RequestState, &bound(caller), text);
        let state = plain.and_then(|plain| Self::read(&plain)).ok_or_else(|| {
            invalid("this `requestState` was not given to this caller here, or has been altered; call again without it")
        })?;
        if state.instance != *instance {
            return Err(invalid(
                "what this `requestState` stands for is lost: the gateway was started again, or this is \
                 another one; nothing was carried out, call again without it",
            ));
        }
        if state.digest != *digest {
            return Err(invalid(
                "this `requestState` belongs to another request: a retry has the method and the \
                 parameters of the request that was answered with it",
            ));
        }
        if state.until <= keyring.clock().now() {
            return Err(expired());
        }
        Ok(state)
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let (version, rest) = plain.split_first()?;
        let (instance, rest) = rest.split_first_chunk()?;
        let (parked, rest) = rest.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (until, digest) = rest.split_first_chunk()?;
        Some(Self {
            instance: *instance,
            parked: u64::from_be_bytes(*parked),
            nonce: u64::from_be_bytes(*nonce),
            until: u64::from_be_bytes(*until),
            digest: digest.try_into().ok()?,
        })
        .filter(|_| *version == VERSION)
    }
}

/// What a client is told whose answers come too late, or again.
pub(super) fn expired() -> RpcError {
    invalid("this `requestState` was used already, or is too old; call again without it")
}

fn bound(caller: &Caller) -> [&[u8]; 1] {
    // Nobody's is not that of somebody whose name is empty.
    [caller.subject.as_deref().map_or(&b"\0anonymous"[..], str::as_bytes)]
}

/// The digest of what a retry has to have in common with its request: all but `_meta`, the answers
/// and the state, however it is spelled.
pub(super) fn digest(message: &Message) -> [u8; 32] {
    let method = message.method().unwrap_or_default();
    let params = message.body().unwrap_or("{}");
    let canonical = match serde_json::from_str::<Map<String, Value>>(params) {
        Ok(mut params) => {
            for own in ["_meta", "inputResponses", "requestState"] {
                params.remove(own);
            }
            Value::Object(params).to_string()
        }
        // Numbers that no reader here can hold: as written, then.
        Err(_) => as_written(params),
    };
    seal::digest(&[method.as_bytes(), canonical.as_bytes()])
}

fn as_written(params: &str) -> String {
    let members: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(params).unwrap_or_default();
    let mut out = String::new();
    for (name, value) in members {
        if !["_meta", "inputResponses", "requestState"].contains(&&*name) {
            out.push_str(&format!("{name:?}:{value},"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
