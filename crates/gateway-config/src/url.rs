//! URLs of servers and of ourselves: checked once, and never shown with what is secret in them.

use std::fmt;

use http::Uri;

use crate::secret::{MASK, Secret, Text};

/// An absolute `http:` or `https:` URL without user information and fragment.
///
/// `Debug` and `Display` hide the query's values, what came from variables, and path segments that
/// look like keys. Two are equal if their real values are.
#[derive(Clone)]
pub struct Url {
    uri: Uri,
    shown: String,
}

// === impl Url ===

impl Url {
    /// Reads one. What stood before an `@` comes back as the value of an `Authorization` header.
    ///
    /// # Errors
    /// Says in words what is wrong, and nothing of the text.
    pub(crate) fn read(text: &Text) -> Result<(Self, Option<Secret>), String> {
        let value = text.expose().trim();
        let Some((scheme, rest)) = value.split_once("://") else {
            return Err("want a URL that begins with http:// or https://".to_owned());
        };
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") {
            return Err("want http:// or https://".to_owned());
        }
        if rest.contains('#') {
            return Err("a fragment (`#…`) means nothing here".to_owned());
        }
        let (authority, path) = split_authority(rest);
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        if authority.is_empty() || authority.starts_with(':') {
            return Err("the host is missing".to_owned());
        }
        let uri: Uri = format!("{scheme}://{authority}{path}")
            .parse()
            .map_err(|error: http::uri::InvalidUri| format!("not a URL: {error}"))?;
        let bare = authority.rsplit(']').next().unwrap_or(authority);
        if bare.contains(':') && uri.port_u16().is_none() {
            return Err("the port is not a number from 0 to 65535".to_owned());
        }
        let basic = user.map(basic).transpose()?;
        Ok((Self { uri, shown: mask(text.shown()) }, basic))
    }

    /// The URL, as HTTP clients take it.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Its path, `/` at least.
    pub fn path(&self) -> &str {
        self.uri.path()
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl PartialEq for Url {
    fn eq(&self, other: &Self) -> bool {
        self.uri == other.uri
    }
}

impl Eq for Url {}

/// Hides what is secret in a URL of any scheme: the password, the query's values, segments that
/// look like keys. A text without `://` comes back as it is.
pub(crate) fn mask(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, path) = split_authority(rest);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    let segments: Vec<&str> =
        path.split('/').map(|segment| if is_key(segment) { MASK } else { segment }).collect();
    let mut shown = format!("{scheme}://{authority}{}", segments.join("/"));
    for (at, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if at == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) => shown.extend([name, "=", MASK]),
            None => shown.push_str(MASK),
        }
    }
    shown
}

/// Long, and of letters and digits: no word, but a key.
fn is_key(segment: &str) -> bool {
    // A reference to a variable hides its value already.
    !segment.contains("${")
        && segment.len() >= 20
        && segment.bytes().any(|byte| byte.is_ascii_digit())
        && segment.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn split_authority(rest: &str) -> (&str, &str) {
    // A password may hold anything but these, if it is written as it should be.
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest.split_at_checked(end).unwrap_or((rest, ""))
}

/// `user:password`, percent-decoded, as RFC 7617 sends it.
fn basic(user: &str) -> Result<Secret, String> {
    let mut bytes = Vec::with_capacity(user.len());
    let mut rest = user.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.extend(u8::try_from(high * 16 + low).ok()),
            _ => return Err("a `%` before the `@` is not followed by two hex digits".to_owned()),
        }
    }
    if !bytes.contains(&b':') {
        bytes.push(b':');
    }
    Ok(Secret::new(format!("Basic {}", base64(&bytes))))
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0_u8; 3];
        three.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let [a, b, c] = three;
        let all = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
        for at in 0..4_usize {
            let letter = usize::try_from(all >> (18 - 6 * at) & 63).ok();
            let letter = letter.and_then(|index| LETTERS.get(index)).copied().unwrap_or(b'=');
            out.push(if at > chunk.len() { '=' } else { char::from(letter) });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let shown = match Url::read(&Text::new(text)) {
            Ok((url, user)) => {
                let user = user.map(|user| format!(" ({})", user.expose())).unwrap_or_default();
                format!("{} | {url}{user}", url.uri())
            }
            Err(what) => what,
        };
        assert_eq!(shown, expect);
    }

    #[test]
    fn good() {
        check("http://h:1/sse", "http://h:1/sse | http://h:1/sse");
        check("HTTPS://[::1]:8/a?k=v&w", "https://[::1]:8/a?k=v&w | HTTPS://[::1]:8/a?k=***&***");
        check("http://u:p%40@h/", "http://h/ | http://***@h/ (Basic dTpwQA==)");
        check("http://user@h", "http://h/ | http://***@h (Basic dXNlcjo=)");
        check(
            "https://h/s/a1b2c3d4e5f6a7b8c9d0/mcp",
            "https://h/s/a1b2c3d4e5f6a7b8c9d0/mcp | https://h/s/***/mcp",
        );
    }

    #[test]
    fn bad() {
        check(":9090", "want a URL that begins with http:// or https://");
        check("ws://h/", "want http:// or https://");
        check("http://", "the host is missing");
        check("http://:80/", "the host is missing");
        check("http://h:99999/", "the port is not a number from 0 to 65535");
        check("http://h:x/", "the port is not a number from 0 to 65535");
        check("http://h/a b", "not a URL: invalid uri character");
        check("http://h/#a", "a fragment (`#…`) means nothing here");
        check("http://u%zz@h/", "a `%` before the `@` is not followed by two hex digits");
    }

    #[test]
    fn base64_of_rfc_4648() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, coded) in cases {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn other_schemes_are_masked_too() {
        assert_eq!(
            mask("postgresql://u:p@db:5432/x?sslmode=off"),
            "postgresql://***@db:5432/x?sslmode=***"
        );
        assert_eq!(mask("/tmp/a b"), "/tmp/a b");
    }
}
