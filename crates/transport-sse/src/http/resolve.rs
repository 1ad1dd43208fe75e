//! Where an endpoint event sends us, if we go there.

use hyper::{Uri, http::uri::Authority};
use mcp_jsonrpc::transport::{ErrorKind, SessionId, TransportError};

use super::HttpTarget;

/// Resolves what an endpoint event said against where its stream was opened: an absolute address,
/// an absolute path, a relative one, or a query alone (RFC 3986 §5.2).
///
/// # Errors
///
/// [`ErrorKind::Protocol`] for another origin, which would be sent our credentials; for
/// credentials in the address; and for what is no address.
pub fn resolve(target: &HttpTarget, said: &str) -> Result<Uri, TransportError> {
    let base = target.url();
    let refused = |what: String, hint: &str| {
        let error = TransportError::new(ErrorKind::Protocol, what).of(target.name());
        if hint.is_empty() { error } else { error.hint(hint) }
    };
    let unreadable = || refused("its endpoint event holds no address".to_owned(), "");

    let said = said.trim().split('#').next().unwrap_or_default();
    let absolute = absolute(base, said).ok_or_else(unreadable)?;
    let uri: Uri = absolute.parse().map_err(|_| unreadable())?;
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return Err(refused("its endpoint event holds credentials".to_owned(), ""));
    }
    if origin(&uri) != origin(base) {
        let hint = "check the public URL or proxy headers that this server is configured with";
        return Err(refused(
            format!("its endpoint event names another origin, {}, than {}", show(&uri), show(base)),
            hint,
        ));
    }
    Ok(uri)
}

/// The text of an absolute address.
fn absolute(base: &Uri, said: &str) -> Option<String> {
    if said.is_empty() {
        return None;
    }
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    if said.starts_with("//") {
        return Some(format!("{scheme}:{said}"));
    }
    let before_path = said.find(['/', '?']).unwrap_or(said.len());
    if said.get(..before_path)?.contains(':') {
        return said.contains("://").then(|| said.to_owned());
    }
    let (path, query) = match said.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (said, None),
    };
    let path = match path {
        "" => base.path().to_owned(),
        path if path.starts_with('/') => without_dots(path),
        path => {
            let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            without_dots(&format!("{folder}/{path}"))
        }
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{scheme}://{authority}{path}{query}"))
}

/// Takes `.` and `..` out of an absolute path (RFC 3986 §5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Scheme, host and port: what has to be the same.
fn origin(uri: &Uri) -> (Option<&str>, Option<String>, Option<u16>) {
    let default = match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    };
    let host = uri.host().map(str::to_ascii_lowercase);
    (uri.scheme_str(), host, uri.port_u16().or(default))
}

fn show(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", Authority::as_str);
    format!("{}://{authority}", uri.scheme_str().unwrap_or_default())
}

/// The session that the query of an address names, under either of its usual names.
pub fn session_id(query: &str) -> Option<SessionId> {
    let mut ids = query.split('&').filter_map(|pair| {
        pair.strip_prefix("sessionId=").or_else(|| pair.strip_prefix("session_id="))
    });
    ids.next().and_then(SessionId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, said: &str, expect: &str) {
        let none: [(&str, &str); 0] = [];
        let target = HttpTarget::new("pg", base, none).unwrap();
        let found = match resolve(&target, said) {
            Ok(uri) => uri.to_string(),
            Err(error) => error.said().to_string(),
        };
        assert!(found.contains(expect) && !expect.is_empty(), "{base} + {said}: {found}");
    }

    #[test]
    fn every_form_of_the_same_origin() {
        let base = "http://h:81/a/sse?k=1";
        for (said, expect) in [
            ("/messages?sessionId=1", "http://h:81/messages?sessionId=1"),
            ("messages/?session_id=1", "http://h:81/a/messages/?session_id=1"),
            ("./m", "http://h:81/a/m"),
            ("../m?x=/../y", "http://h:81/m?x=/../y"),
            ("/a/../../m", "http://h:81/m"),
            ("?sessionId=1", "http://h:81/a/sse?sessionId=1"),
            ("http://H:81/m", "/m"),
            (" //h:81/m ", "http://h:81/m"),
            ("/m#part", "http://h:81/m"),
        ] {
            check(base, said, expect);
        }
        check("https://h/sse", "https://h:443/m", "/m");
    }

    #[test]
    fn another_origin_is_refused() {
        let base = "http://h:81/sse";
        for said in
            ["http://h/m", "https://h:81/m", "//evil/m", "http://evil:81/m", "http://h:81.evil/m"]
        {
            check(base, said, "another origin");
        }
        check(base, "http://u:p@h:81/m", "credentials");
        for said in ["", "   ", "javascript:alert(1)", "http://", "/a b\u{0}"] {
            check(base, said, "holds no address");
        }
    }

    #[test]
    fn sessions_in_queries() {
        let id = |query| session_id(query).map(|id| id.as_str().to_owned());
        assert_eq!(id("a=b&sessionId=x1"), Some("x1".into()));
        assert_eq!(id("session_id=x1&a"), Some("x1".into()));
        assert_eq!(id("sessionid=x1"), None);
        assert_eq!(id("sessionId="), None);
    }
}
