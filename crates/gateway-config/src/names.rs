//! Names of servers: what may be a route, and what is taken.

/// The longest name, in bytes.
pub const NAME_LEN_MAX: usize = 128;

/// First segments that the gateway keeps for its own routes.
pub const RESERVED: &[&str] = &[
    ".well-known",
    "_healthz",
    "_readyz",
    "api",
    "g",
    "healthz",
    "mcp",
    "message",
    "messages",
    "metrics",
    "oauth",
    "ping",
    "readyz",
    "servers",
    "sse",
    "status",
    "stream",
];

/// Last segments that would be confused with a server's own routes.
const DOORS: &[&str] = &["mcp", "message", "messages", "sse", "stream"];

/// Why a name cannot be a route, and one that can.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadName {
    pub(crate) what: String,
    pub(crate) suggestion: String,
}

/// Checks a group's name: it has a place of its own, so that nothing is taken.
pub(crate) fn check_group(name: &str) -> Result<(), BadName> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let what = "a group's name is 1 to 128 letters, digits, `-` and `_`".to_owned();
    Err(BadName { what, suggestion: sanitize(name).replace('.', "-") })
}

/// Checks a name. `slashes`: it may be a path, as TBXark's keys may.
pub(crate) fn check(name: &str, slashes: bool) -> Result<(), BadName> {
    let bad = |what: &str| Err(BadName { what: what.to_owned(), suggestion: sanitize(name) });
    if name.len() > NAME_LEN_MAX {
        return bad("a name has at most 128 characters");
    }
    if !slashes && name.contains('/') {
        return bad("a name is one part of a path: it has no `/`");
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    for segment in name.split('/') {
        if segment.is_empty() || segment.bytes().all(|byte| byte == b'.') {
            return bad("a name is not empty, and no part of it is `.` or `..`");
        }
        if !segment.bytes().all(plain) {
            return bad("a name is letters, digits, `-`, `_` and `.`");
        }
    }
    let first = name.split('/').next().unwrap_or_default();
    if RESERVED.contains(&first) {
        return bad(&format!("`/{first}` is a route of the gateway itself"));
    }
    match name.rsplit_once('/') {
        Some((_, last)) if DOORS.contains(&last) => {
            bad(&format!("`…/{last}` is a route of the server before it"))
        }
        _ => Ok(()),
    }
}

/// The nearest name that is allowed.
pub(crate) fn sanitize(name: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    let mut out = String::new();
    for char in name.chars().take(NAME_LEN_MAX) {
        match char {
            char if plain(char) => out.push(char),
            _ if out.ends_with('-') => {}
            _ => out.push('-'),
        }
    }
    let out = out.trim_matches(['-', '.']);
    if out.is_empty() {
        "server".to_owned()
    } else if RESERVED.contains(&out) {
        format!("{out}-server")
    } else {
        out.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn test(name: &str, slashes: bool, expect: &str) {
        let shown = match check(name, slashes) {
            Ok(()) => "ok".to_owned(),
            Err(bad) => format!("{} → {}", bad.what, bad.suggestion),
        };
        assert_eq!(shown, expect);
    }

    #[test]
    fn names() {
        test("fetch-2_x.y", false, "ok");
        test("fetch/s3cret", true, "ok");
        test("fetch/s3cret", false, "a name is one part of a path: it has no `/` → fetch-s3cret");
        test("My  Server!", false, "a name is letters, digits, `-`, `_` and `.` → My-Server");
        test("", false, "a name is not empty, and no part of it is `.` or `..` → server");
        test("a/../b", true, "a name is not empty, and no part of it is `.` or `..` → a-..-b");
        test("a//b", true, "a name is not empty, and no part of it is `.` or `..` → a-b");
        test("api", false, "`/api` is a route of the gateway itself → api-server");
        test("g/x", true, "`/g` is a route of the gateway itself → g-x");
        test("a/mcp", true, "`…/mcp` is a route of the server before it → a-mcp");
        test(&"x".repeat(128), false, "ok");
        let suggestion = "x".repeat(128);
        test(&"x".repeat(129), false, &format!("a name has at most 128 characters → {suggestion}"));
    }
}
