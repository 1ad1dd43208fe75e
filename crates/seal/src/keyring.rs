//! The keys there are: the newest seals, all of them open.

use std::{
    cmp::Reverse,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};

use crate::{Clock, Key, KeyId, Purpose, SealError, text};

/// What a text begins with.  Another layout gets another number.
const VERSION: u8 = 1;
/// The version, the key's name, the nonce.
const HEAD_LEN: usize = 1 + KeyId::LEN + NONCE_LEN;
const TAG_LEN: usize = 16;

/// The longest text that is looked at; a longer one is none of ours.
pub const OPENED_LEN_MAX: usize = 64 << 10;

/// The keys there are.  Clones are the same keyring.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    /// The newest first.
    keys: RwLock<Arc<[Key]>>,
    clock: Clock,
}

// === impl Keyring ===

impl Keyring {
    /// A keyring of these keys.
    ///
    /// # Errors
    /// There are none.
    pub fn new(keys: Vec<Key>, clock: Clock) -> Result<Self, SealError> {
        let keys = RwLock::new(sorted(keys)?);
        Ok(Self(Arc::new(Inner { keys, clock })))
    }

    /// A keyring of one new key, which ends with this process.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn fresh(clock: Clock) -> Result<Self, SealError> {
        Self::new(vec![Key::new(clock.now())?], clock)
    }

    /// Puts these keys in the place of those it has.
    ///
    /// # Errors
    /// There are none; it keeps what it has.
    pub fn replace(&self, keys: Vec<Key>) -> Result<(), SealError> {
        let keys = sorted(keys)?;
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// The clock that says which key seals.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The keys, the newest first.
    pub fn keys(&self) -> Arc<[Key]> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Seals a text for a purpose; `bound` is what has to be named again for it to open.
    ///
    /// # Errors
    /// The system gives no random numbers, or the cipher refuses.
    pub fn seal(
        &self,
        purpose: Purpose,
        bound: &[&[u8]],
        plain: &[u8],
    ) -> Result<String, SealError> {
        let keys = self.keys();
        let now = self.0.clock.now();
        // A key that is to seal later is for those who open alone: they may hear of it first.
        let key = keys.iter().find(|key| key.from() <= now).or_else(|| keys.last());
        let key = key.ok_or(SealError::NoKey)?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let mut sealed = Vec::with_capacity(HEAD_LEN + plain.len() + TAG_LEN);
        sealed.extend_from_slice(plain);
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(associated(key.id(), bound));
        let cipher = key.of(purpose);
        let tag = cipher.seal_in_place_separate_tag(nonce_used, aad, &mut sealed);
        let tag = tag.map_err(|_| SealError::Cipher)?;
        sealed.extend_from_slice(tag.as_ref());
        sealed.splice(..0, [&[VERSION][..], &key.id().0, &nonce].concat());
        Ok(text::encode(&sealed))
    }

    /// What a text held, if it was sealed by one of these keys, for this purpose, and bound to
    /// these.  Whatever else is wrong with it is nobody's business.
    pub fn open(&self, purpose: Purpose, bound: &[&[u8]], text: &str) -> Option<Vec<u8>> {
        if OPENED_LEN_MAX < text.len() {
            return None;
        }
        let sealed = text::decode(text)?;
        let (head, body) = sealed.split_at_checked(HEAD_LEN)?;
        let (version, head) = head.split_first()?;
        let (id, nonce) = head.split_first_chunk::<{ KeyId::LEN }>()?;
        if *version != VERSION {
            return None;
        }
        let keys = self.keys();
        let key = keys.iter().find(|key| key.id().0 == *id)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let aad = Aad::from(associated(key.id(), bound));
        let len = key.of(purpose).open_in_place(nonce, aad, &mut body).ok()?.len();
        body.truncate(len);
        Some(body)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyring").field(&self.keys()).finish()
    }
}

fn sorted(mut keys: Vec<Key>) -> Result<Arc<[Key]>, SealError> {
    if keys.is_empty() {
        return Err(SealError::NoKey);
    }
    keys.sort_by_key(|key| (Reverse(key.from()), key.id()));
    Ok(keys.into())
}

/// What a text is bound to, each with its length: no two lists of them are the same bytes.
fn associated(id: KeyId, bound: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&id.0);
    for it in bound {
        bytes.extend_from_slice(&it.len().to_be_bytes());
        bytes.extend_from_slice(it);
    }
    bytes
}

#[cfg(test)]
mod tests;
