//! What a name looks like: its characters, its length, and what is drawn from what it names.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};

use crate::names::Naming;

/// The least that names may be limited to: room for a drawn part, a separator and some of a name.
pub const LEN_MAX_LEAST: usize = 32;
pub(super) const SEPARATOR_LEN_MAX: usize = 8;

/// How long the drawn part is, where a name had to be changed.
const DRAWN_LEN: usize = 6;
/// And where all of its names were contested, one after the other.
const LAST_RESORTS: [usize; 3] = [6, 10, 16];

/// What a name is made of: 32 characters, so that five bits choose one.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|it| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-'))
}

/// Something's own name, changed if it has to be.
pub(super) fn bare(name: &str, naming: &Naming) -> String {
    if is_plain(name) && (1..=naming.len_max).contains(&name.len()) {
        return name.to_owned();
    }
    fit(None, &plain(name), &digest_text(&[name], DRAWN_LEN), naming)
}

/// Its name after its server's alias, changed if it has to be.
pub(super) fn prefixed(alias: &str, name: &str, naming: &Naming) -> String {
    let len = alias.len() + naming.separator.len() + name.len();
    let is_whole = !alias.is_empty() && !name.is_empty() && len <= naming.len_max;
    if is_whole && is_plain(alias) && is_plain(name) {
        return [alias, &naming.separator, name].concat();
    }
    fit(Some(&plain(alias)), &plain(name), &digest_text(&[alias, name], DRAWN_LEN), naming)
}

/// A name with a part drawn from what it names; none if there is no further level.
pub(super) fn drawn(
    level: usize,
    identity: [&str; 2],
    alias: Option<&str>,
    name: &str,
    naming: &Naming,
) -> Option<String> {
    let [server, original] = identity;
    let drawn = digest_text(&["identity", server, original], *LAST_RESORTS.get(level)?);
    Some(fit(alias.map(plain).as_deref(), &plain(name), &drawn, naming))
}

/// Puts a drawn part behind the prefix, or behind the name if it has none, and leaves out as much
/// as has to be: of the prefix the end, of the name the beginning, since names differ at their
/// ends.
fn fit(prefix: Option<&str>, name: &str, drawn: &str, naming: &Naming) -> String {
    let Some(prefix) = prefix else {
        let room = naming.len_max.saturating_sub(drawn.len() + 1);
        return [tail(name, room), "_", drawn].concat();
    };
    let room = naming.len_max.saturating_sub(drawn.len() + 1 + naming.separator.len());
    let left = room.saturating_sub(name.len()).max(room / 3);
    let prefix = prefix.get(..left.min(prefix.len())).unwrap_or_default();
    let name = tail(name, room - prefix.len());
    [prefix, "_", drawn, &naming.separator, name].concat()
}

fn tail(plain: &str, len: usize) -> &str {
    plain.get(plain.len().saturating_sub(len)..).unwrap_or_default()
}

/// Every character that is not allowed becomes one that is.
fn plain(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let plain = |it: char| if it.is_ascii_alphanumeric() || it == '-' { it } else { '_' };
    Cow::Owned(text.chars().map(plain).collect())
}

/// Characters drawn from texts: the same for the same texts, at every time and place.
pub(super) fn digest_text(parts: &[&str], len: usize) -> String {
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    let digest = digest(&SHA256, &text);
    let letter = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).copied().map(char::from);
    digest.as_ref().iter().filter_map(letter).take(len).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naming(len_max: usize) -> Naming {
        Naming::new(super::super::Prefix::Conflict, "__", len_max).unwrap()
    }

    #[test]
    fn a_name_that_is_fine_stays() {
        assert_eq!(bare("get-user_2", &naming(64)), "get-user_2");
        assert_eq!(prefixed("git", "log", &naming(64)), "git__log");
        assert_eq!(bare(&"x".repeat(64), &naming(64)), "x".repeat(64));
    }

    #[test]
    fn what_is_changed_is_told_apart() {
        // These never change: clients have them in their settings.
        assert_eq!(bare("user.get", &naming(64)), "user_get_azen3g");
        assert_eq!(prefixed("my.server", "get", &naming(64)), "my_server_xkokml__get");
        assert_ne!(bare("user get", &naming(64)), bare("user.get", &naming(64)));
        assert_ne!(prefixed("a", "b.c", &naming(64)), prefixed("a.b", "c", &naming(64)));
        assert_eq!(bare("", &naming(64)).len(), 7);
    }

    #[test]
    fn the_end_of_a_long_name_is_kept() {
        let long = format!("{}_delete_user", "very_long_namespace_".repeat(10));
        let name = bare(&long, &naming(64));
        assert_eq!(name.len(), 64);
        assert!(name.contains("_delete_user_"), "{name}");
        let name = prefixed("github-enterprise-of-the-other-company", &long, &naming(64));
        assert_eq!(name.len(), 64);
        assert!(
            name.starts_with("github-enterprise-_") && name.ends_with("_delete_user"),
            "{name}"
        );
        let name = prefixed(&"long-alias-".repeat(10), "delete_user", &naming(64));
        assert!(name.len() == 64 && name.ends_with("__delete_user"), "{name}");
        let last = drawn(2, ["s", "x"], Some(&"a".repeat(99)), &"b".repeat(99), &naming(32));
        assert_eq!(last.unwrap().len(), 32);
        assert_eq!(drawn(3, ["s", "x"], None, "b", &naming(64)), None);
    }
}
