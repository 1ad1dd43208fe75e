//! Cursors: where a page begins, sealed.

use mcp_jsonrpc::RpcError;
use seal::{Keyring, Purpose, SealError};

/// The longest key that is put into a cursor, in bytes; after a longer one only the same list goes
/// on.
const KEY_LEN_MAX: usize = 1 << 10;
const DIGEST_LEN: usize = 16;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The list this is a place on.
    pub(crate) digest: [u8; DIGEST_LEN],
    /// How many entries precede it.
    pub(crate) at: usize,
    /// The last of those: its server and its key.
    pub(crate) after: Option<(String, String)>,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CursorError {
    /// It is no cursor, or not for this caller and list.
    #[error("the cursor is not valid: list from the start")]
    Unknown,
    /// The list has changed, and the place cannot be found in it.
    #[error("the list has changed since: list from the start")]
    Stale,
    /// The next page could not be given a cursor.
    #[error("the next page could not be given a cursor: {0}")]
    Unsealed(#[from] SealError),
}

impl CursorError {
    /// As it is answered (2024-11-05, utilities: pagination).
    pub fn to_error(self) -> RpcError {
        let code = match self {
            Self::Unknown | Self::Stale => RpcError::INVALID_PARAMS,
            Self::Unsealed(_) => RpcError::INTERNAL,
        };
        RpcError::new(code, self.to_string())
    }
}

/// Where a page begins that is asked for by this cursor, or by none.
pub(super) fn open(
    cursor: Option<&str>,
    keyring: &Keyring,
    bound: [&[u8]; 2],
    resume: impl FnOnce(&Place) -> Option<usize>,
) -> Result<usize, CursorError> {
    let Some(cursor) = cursor else { return Ok(0) };
    let plain = keyring.open(Purpose::Cursor, &bound, cursor).ok_or(CursorError::Unknown)?;
    let place = Place::read(&plain).ok_or(CursorError::Unknown)?;
    resume(&place).ok_or(CursorError::Stale)
}

pub(super) fn seal(
    place: &Place,
    keyring: &Keyring,
    bound: [&[u8]; 2],
) -> Result<String, CursorError> {
    Ok(keyring.seal(Purpose::Cursor, &bound, &place.write())?)
}

impl Place {
    /// The digest, the number in 8 bytes, then server and key with a zero between.
    fn write(&self) -> Vec<u8> {
        let mut out = self.digest.to_vec();
        out.extend_from_slice(&(self.at as u64).to_be_bytes());
        let fits = |it: &&(String, String)| it.0.len() + it.1.len() <= KEY_LEN_MAX;
        if let Some((server, key)) = self.after.as_ref().filter(fits) {
            out.extend_from_slice(server.as_bytes());
            out.push(0);
            out.extend_from_slice(key.as_bytes());
        }
        out
    }

    fn read(plain: &[u8]) -> Option<Self> {
        let (digest, rest) = plain.split_first_chunk::<DIGEST_LEN>()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let at = usize::try_from(u64::from_be_bytes(*at)).ok()?;
        let after = match rest {
            [] => None,
            rest => {
                let (server, key) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
                Some((server.to_owned(), key.to_owned()))
            }
        };
        Some(Self { digest: *digest, at, after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let mut place = Place { digest: [7; 16], at: 300, after: None };
        assert_eq!(Place::read(&place.write()), Some(place.clone()));
        place.after = Some(("fs".to_owned(), "a\0b".to_owned()));
        assert_eq!(Place::read(&place.write()), Some(place.clone()));
        place.after = Some(("fs".to_owned(), "x".repeat(KEY_LEN_MAX)));
        assert_eq!(Place::read(&place.write()).unwrap().after, None, "too long to carry");
        for bad in [&[][..], &[1; 23], &[b'x'; 30]] {
            assert_eq!(Place::read(bad), None);
        }
    }
}
