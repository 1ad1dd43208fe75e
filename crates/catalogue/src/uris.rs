//! Addresses that say whose they are.
//!
//! An address that two servers have is shown as `mcp-gateway://SERVER/ADDRESS`, with the address
//! as it is, so that a template stays one; `ui://ADDRESS` as `ui://SERVER.mcp-gateway/ADDRESS`,
//! since hosts know it by its beginning.  In `SERVER` all but `a-z 0-9 - _` is percent-encoded.

mod template;

use std::{borrow::Cow, fmt::Write};

pub(crate) use template::Template;

const OURS: &str = "mcp-gateway://";
const UI: &str = "ui://";
const UI_OURS: &str = ".mcp-gateway";
/// What a wrapped id of a task begins with.
const TASK: &str = "mcp-gateway.";

/// An address that says it is this server's.
pub fn wrap(server: &str, uri: &str) -> String {
    let server = encode(server);
    match uri.strip_prefix(UI) {
        Some(rest) => [UI, &server, UI_OURS, "/", rest].concat(),
        None => [OURS, &server, "/", uri].concat(),
    }
}

/// The server and its own address, if an address says whose it is.
pub fn unwrap(uri: &str) -> Option<(String, Cow<'_, str>)> {
    if let Some(rest) = uri.strip_prefix(OURS) {
        let (server, uri) = rest.split_once('/')?;
        // What begins so would have been wrapped otherwise.
        return (!uri.starts_with(UI)).then_some((decode(server)?, uri.into()));
    }
    let (authority, rest) = uri.strip_prefix(UI)?.split_once('/')?;
    let server = decode(authority.strip_suffix(UI_OURS)?)?;
    Some((server, [UI, rest].concat().into()))
}

/// An id of a task that says it is this server's.
pub fn wrap_task(server: &str, id: &str) -> String {
    [TASK, &encode(server), ".", id].concat()
}

/// The server and its own id, if an id says whose it is.
pub fn unwrap_task(id: &str) -> Option<(String, &str)> {
    let (server, id) = id.strip_prefix(TASK)?.split_once('.')?;
    Some((decode(server)?, id))
}

/// Hosts that read an address may write letters of its authority small.
fn encode(server: &str) -> String {
    let mut out = String::with_capacity(server.len());
    for byte in server.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(byte)),
            // Writing to a text does not fail.
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
    }
    out
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let [high, low] =
                    [bytes.next()?, bytes.next()?].map(|it| char::from(it).to_digit(16));
                u8::try_from(high? * 16 + low?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_it_looks_like() {
        assert_eq!(wrap("fs", "file:///a?b#c"), "mcp-gateway://fs/file:///a?b#c");
        assert_eq!(wrap("fs", "file:///{+path}"), "mcp-gateway://fs/file:///{+path}");
        assert_eq!(wrap("My.S", "ui://board/x.html"), "ui://%4Dy%2E%53.mcp-gateway/board/x.html");
        assert_eq!(wrap_task("my.s", "1.2"), "mcp-gateway.my%2Es.1.2");
    }

    #[test]
    fn what_is_not_ours() {
        for uri in [
            "file:///a",
            "mcp-gateway:/fs/x",
            "mcp-gateway://fs",
            "mcp-gateway://%f/x",
            "mcp-gateway://%FF/x",
            "mcp-gateway://fs/ui://x",
            "ui://fs.mcp-gateway",
            "ui://board/x.mcp-gateway/y",
            "",
        ] {
            assert_eq!(unwrap(uri), None, "{uri}");
        }
        assert_eq!(unwrap_task("mcp-gateway.x"), None);
        assert_eq!(unwrap_task("7"), None);
    }

    proptest! {
        #[test]
        fn back_again(
            server in "\\PC{0,8}|[a-zA-Z.%/]{1,5}",
            uri in "\\PC{0,20}|(ui://)?[a-z./%{}?#]{0,12}|(mcp-gateway|ui)://[a-z.%/-]{0,20}",
        ) {
            let wrapped = wrap(&server, &uri);
            prop_assert_eq!(unwrap(&wrapped), Some((server.clone(), uri.clone().into())));
            // And what was wrapped twice.
            let twice = wrap(&server, &wrapped);
            prop_assert_eq!(unwrap(&twice), Some((server.clone(), wrapped.into())));
            let task = wrap_task(&server, &uri);
            prop_assert_eq!(unwrap_task(&task), Some((server, &*uri)));
        }
    }
}
