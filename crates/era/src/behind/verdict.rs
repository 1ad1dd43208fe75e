//! What an answer to `server/discover` says about a server's era, and what says nothing
//! (2026-07-28, versioning and transports: backward compatibility).

use mcp_jsonrpc::{
    Kind, Message, ProtocolVersion, RpcError,
    modern::Discovered,
    params::Initialized,
    transport::{ErrorKind, TransportError},
};
use serde::Deserialize;
use tokio::time::error::Elapsed;

use super::greeting::Shown;

/// What is known now.
#[derive(Debug)]
pub(super) enum Judged {
    /// It needs no handshake, and this is what it says about itself.
    Modern(Message),
    /// It has a handshake.
    Legacy,
    /// Nothing: this went wrong.
    Unknown(TransportError),
}

/// Judges what a server said, or did not say in time.
pub(super) fn judge(
    said: Result<Result<Message, TransportError>, Elapsed>,
    is_child: bool,
    has_ended: bool,
) -> Judged {
    let what = "it did not answer `server/discover` in time";
    match said {
        // One that waits for `initialize` may say nothing, or end, when it hears something else.
        Err(_) if is_child => Judged::Legacy,
        Err(_) => Judged::Unknown(TransportError::new(ErrorKind::Timeout, what)),
        Ok(Err(_)) if is_child && has_ended => Judged::Legacy,
        Ok(Err(error)) => of_error(error),
        Ok(Ok(answer)) if answer.kind() == Kind::Response => of_result(answer),
        Ok(Ok(answer)) => of_refusal(&answer),
    }
}

/// Whether a server that needs no handshake says that it has one as well.
pub(super) fn has_handshake(discovered: &Message) -> bool {
    let said: Option<Discovered<'_>> = discovered.read().ok();
    said.is_some_and(|said| said.supported_versions.iter().any(|it| is_known(it)))
}

/// What a server's answer to a handshake shows that it has not spoken of, or its silence.
pub(super) fn of_greeting(
    said: Result<Result<Message, TransportError>, Elapsed>,
    has_ended: bool,
) -> Shown {
    match said {
        Err(_) => Shown::TakesNone("it did not answer `initialize` in time"),
        Ok(Ok(answer)) if is_handshake(&answer) => Shown::Takes,
        Ok(Ok(_)) => Shown::TakesNone("it refused `initialize`"),
        Ok(Err(_)) if has_ended => Shown::TakesNone("it ended at `initialize`"),
        Ok(Err(error)) => match of_error(error) {
            Judged::Unknown(error) => Shown::Nothing(error),
            _ => Shown::TakesNone("it refused `initialize`"),
        },
    }
}

fn is_handshake(answer: &Message) -> bool {
    let said: Option<Initialized<'_>> = answer.read().ok();
    answer.kind() == Kind::Response && said.is_some_and(|said| is_known(&said.version()))
}

fn is_known(version: &str) -> bool {
    ProtocolVersion::LEGACY.iter().any(|known| known.as_str() == version)
}

fn of_result(answer: Message) -> Judged {
    let Ok(said) = answer.read::<Discovered<'_>>() else { return Judged::Legacy };
    let version = ProtocolVersion::V2026_07_28.as_str();
    match said.supported_versions.iter().any(|it| it == version) {
        true => Judged::Modern(answer.detached()),
        false => {
            let all: Vec<&str> = said.supported_versions.iter().map(AsRef::as_ref).collect();
            of_versions(&all)
        }
    }
}

/// A server that names revisions, of which ours without a handshake is none.
fn of_versions(supported: &[&str]) -> Judged {
    if supported.iter().any(|it| is_known(it)) {
        return Judged::Legacy;
    }
    let named = supported.iter().take(8).map(|it| it.chars().take(32).collect::<String>());
    let named = named.collect::<Vec<_>>().join(", ");
    let what = format!("it speaks revisions that the gateway does not: {named}");
    Judged::Unknown(TransportError::new(ErrorKind::Protocol, what))
}

fn of_refusal(answer: &Message) -> Judged {
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        supported: Vec<String>,
    }
    let Ok(error) = answer.read::<RpcError>() else { return Judged::Legacy };
    match error.code {
        RpcError::UNSUPPORTED_VERSION => {
            let data = error.data.and_then(|it| serde_json::from_str::<Data>(it.get()).ok());
            let supported = data.map(|data| data.supported).unwrap_or_default();
            of_versions(&supported.iter().map(String::as_str).collect::<Vec<_>>())
        }
        // Of this era, and the gateway has asked wrongly: to fall back would hide it.
        RpcError::HEADER_MISMATCH | RpcError::MISSING_CLIENT_CAPABILITY => {
            let words: String = error.message.chars().take(200).collect();
            let what = format!("it did not take the gateway's `server/discover`: {words}");
            Judged::Unknown(TransportError::new(ErrorKind::Protocol, what))
        }
        _ => Judged::Legacy,
    }
}

fn of_error(error: TransportError) -> Judged {
    match error.kind() {
        ErrorKind::Unsupported | ErrorKind::NoSession | ErrorKind::Protocol => Judged::Legacy,
        ErrorKind::Status(400 | 404 | 405 | 406 | 409 | 410 | 415 | 422 | 501) => Judged::Legacy,
        // It may be of either: whoever it is has to be asked again.
        _ => Judged::Unknown(error),
    }
}

#[cfg(test)]
mod tests {
    use mcp_jsonrpc::Id;
    use serde_json::json;

    use super::*;

    fn judged(said: Judged) -> &'static str {
        match said {
            Judged::Modern(_) => "modern",
            Judged::Legacy => "legacy",
            Judged::Unknown(_) => "unknown",
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_evidence_of_a_child_alone() {
        let silence =
            async || tokio::time::timeout(std::time::Duration::ZERO, std::future::pending()).await;
        assert_eq!(judged(judge(silence().await, true, false)), "legacy");
        assert_eq!(judged(judge(silence().await, false, false)), "unknown");
        let closed = || Ok(Err(TransportError::new(ErrorKind::Closed, "it ended")));
        assert_eq!(judged(judge(closed(), true, true)), "legacy");
        assert_eq!(judged(judge(closed(), false, false)), "unknown");
    }

    #[test]
    fn what_is_evidence_and_what_is_not() {
        let modern =
            |versions: &[&str]| json!({ "supportedVersions": versions, "capabilities": {} });
        for (result, expect) in [
            (modern(&["2026-07-28"]), "modern"),
            (modern(&["2099-01-01", "2026-07-28", "2025-11-25"]), "modern"),
            (modern(&["2025-11-25"]), "legacy"),
            (modern(&["2099-01-01"]), "unknown"),
            (json!({}), "legacy"),
            (json!("ok"), "legacy"),
        ] {
            let answer = Message::response(&Id::from(1), &result).unwrap();
            assert_eq!(judged(judge(Ok(Ok(answer)), false, false)), expect, "{result}");
        }
        for (code, data, expect) in [
            (-32601, json!(null), "legacy"),
            (-32600, json!(null), "legacy"),
            (-32000, json!(null), "legacy"),
            (-32022, json!({ "supported": ["2025-06-18"], "requested": "2026-07-28" }), "legacy"),
            (-32022, json!({ "supported": ["2099-01-01"], "requested": "2026-07-28" }), "unknown"),
            (-32020, json!(null), "unknown"),
            (-32021, json!(null), "unknown"),
        ] {
            let error = RpcError::new(code, "no").with_data(&data);
            let answer = Message::error(Some(&Id::from(1)), &error).unwrap();
            assert_eq!(judged(judge(Ok(Ok(answer)), false, false)), expect, "{code} {data}");
        }
        for (kind, expect) in [
            (ErrorKind::Status(400), "legacy"),
            (ErrorKind::Status(404), "legacy"),
            (ErrorKind::Status(405), "legacy"),
            (ErrorKind::Status(403), "unknown"),
            (ErrorKind::Status(408), "unknown"),
            (ErrorKind::Status(429), "unknown"),
            (ErrorKind::Status(500), "unknown"),
            (ErrorKind::Status(502), "unknown"),
            (ErrorKind::Unauthorized(None), "unknown"),
            (ErrorKind::Timeout, "unknown"),
            (ErrorKind::Unavailable { retry_after: None }, "unknown"),
        ] {
            let error = TransportError::new(kind.clone(), "no");
            assert_eq!(judged(judge(Ok(Err(error)), false, false)), expect, "{kind:?}");
        }
    }
}
