//! Servers made of a few lines of shell.

use serde_json::{Value, json};

/// Reads the id of the request in `$line`, or goes on with the next; greets; then it is the
/// script's turn, with `$id` and `$line`.
const READ: &str = r#"
while IFS= read -r line; do
    case $line in *'"method":'*) ;; *) continue ;; esac
    case $line in *'"id":'*) ;; *) continue ;; esac
    id=${line#*\"id\":}; id=${id%%[,\}]*}
    case $line in *'"method":"initialize"'*)
        printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"script","version":"1"}}}\n' "$id"
        continue
    esac
"#;

/// A server that greets and then does this for each request: `$id` is its id, `$line` all of it.
pub(crate) fn greets_and(does: &str) -> Value {
    script("", does)
}

/// The same, with something to do before it reads anything.
pub(crate) fn script(first: &str, does: &str) -> Value {
    // In a configuration `$` begins a reference.
    let script = format!("{first}\n{READ}\n{does}\ndone").replace('$', "$$");
    json!({ "command": "sh", "args": ["-c", script] })
}

/// Says `pid PID` of itself with each answer.
pub(crate) fn says_pid() -> Value {
    greets_and(r#"printf '{"jsonrpc":"2.0","id":%s,"result":{"pid":%s}}\n' "$id" "$$""#)
}

/// Answers each request with its own parameters, which have to be its last member.
pub(crate) fn mirrors() -> Value {
    greets_and(
        r#"printf '{"jsonrpc":"2.0", "odd":1e400,"id":%s,"result":%s\n' "$id" "${line#*\"params\":}""#,
    )
}
