//! One key, and those derived from it.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM_SIV, LessSafeKey, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};

use crate::{Purpose, SealError};

/// The name of a key: public, so that a text says by which key it opens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; Self::LEN]);

/// A key, and from when on it seals.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    from: u64,
    secret: [u8; Self::LEN],
    derived: Arc<[LessSafeKey; 4]>,
}

// === impl KeyId ===

impl KeyId {
    /// Its length, in bytes.
    pub const LEN: usize = 4;
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

// === impl Key ===

impl Key {
    /// The length of its secret, in bytes.
    pub const LEN: usize = 32;

    /// A new key that seals from this moment on, in seconds since 1970.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new(from: u64) -> Result<Self, SealError> {
        let (mut id, mut secret) = ([0; KeyId::LEN], [0; Self::LEN]);
        getrandom::fill(&mut id).map_err(|_| SealError::NoRandomness)?;
        getrandom::fill(&mut secret).map_err(|_| SealError::NoRandomness)?;
        Self::from_parts(KeyId(id), from, secret)
    }

    /// A key that was made before.
    ///
    /// # Errors
    /// The cipher refuses it.
    pub fn from_parts(id: KeyId, from: u64, secret: [u8; Self::LEN]) -> Result<Self, SealError> {
        let [session, state, cursor, task] = Purpose::ALL.map(|purpose| derive(&secret, purpose));
        let derived = Arc::new([session?, state?, cursor?, task?]);
        Ok(Self { id, from, secret, derived })
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// From when on it seals, in seconds since 1970.
    pub fn from(&self) -> u64 {
        self.from
    }

    /// Itself: for the file it is kept in, and for nothing else.
    pub fn secret(&self) -> &[u8; Self::LEN] {
        &self.secret
    }

    pub(crate) fn of(&self, purpose: Purpose) -> &LessSafeKey {
        let [session, state, cursor, task] = &*self.derived;
        match purpose {
            Purpose::Session => session,
            Purpose::RequestState => state,
            Purpose::Cursor => cursor,
            Purpose::Task => task,
        }
    }
}

/// Shows nothing of it but its name.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// How long what is derived is.
struct Len;

impl KeyType for Len {
    fn len(&self) -> usize {
        Key::LEN
    }
}

fn derive(secret: &[u8; Key::LEN], purpose: Purpose) -> Result<LessSafeKey, SealError> {
    let mut derived = [0; Key::LEN];
    let info = [purpose.label()];
    let extracted = Salt::new(HKDF_SHA256, b"").extract(secret);
    extracted
        .expand(&info, Len)
        .and_then(|okm| okm.fill(&mut derived))
        .map_err(|_| SealError::Cipher)?;
    let key = UnboundKey::new(&AES_256_GCM_SIV, &derived).map_err(|_| SealError::Cipher)?;
    Ok(LessSafeKey::new(key))
}
