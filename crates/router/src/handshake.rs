//! The `initialize` handshake, on both sides (2024-11-05 to 2025-11-25, lifecycle).

use std::sync::Arc;

use mcp_jsonrpc::{
    Era, Id, Message, ParseError, ProtocolVersion, RpcError,
    modern::Discovered,
    params::{Implementation, Initialize, Initialized},
    transport::{ErrorKind, TransportError},
};
use serde::Deserialize;
use serde_json::json;
use translate::Bridge;

/// What a client said in its `initialize`, kept for as long as its session: whatever link carries
/// the session later is opened with the same words.
#[derive(Clone, Debug)]
pub(crate) struct Hello {
    /// The client's own message.
    pub(crate) message: Message,
    /// The revision of the session in front: what the client asked for, and from the answer on
    /// what it was told.
    pub(crate) version: ProtocolVersion,
    /// Whether a server may ask this client for anything.
    pub(crate) can_be_asked: bool,
}

impl Hello {
    pub(crate) fn read(message: Message) -> Result<Self, TransportError> {
        let (version, can_be_asked) = match message.read::<Initialize<'_>>() {
            Ok(said) => {
                let version = ProtocolVersion::negotiate(&said.version());
                (version, said.capabilities.can_be_asked())
            }
            Err(error) => {
                let what = "`initialize` needs `protocolVersion`, `capabilities`, `clientInfo`";
                let kind = ErrorKind::Invalid(RpcError::INVALID_PARAMS);
                return Err(TransportError::new(kind, what).hint(error.to_string()));
            }
        };
        Ok(Self { message: message.detached(), version, can_be_asked })
    }

    /// What a link of this session's own is opened with: the client's message, in the revision
    /// `offered`, declaring nothing that the client's revision does not have.
    pub(crate) fn forwarded(&self, offered: ProtocolVersion) -> Result<Message, ParseError> {
        let said: Initialize<'_> = self.message.read()?;
        if said.version() == offered.as_str() {
            return Ok(self.message.clone());
        }
        if let Some(bridge) = Bridge::between(self.version, offered) {
            return bridge.greeting(&self.message);
        }
        self.message.with_part(said.protocol_version, &offered.as_str())
    }
}

/// What a link that several sessions share is opened with: no capabilities, so that no question
/// of one session's call can reach another's client; only roots, where the gateway itself has
/// some to answer with.
pub(crate) fn own(version: ProtocolVersion, roots: bool) -> Result<Message, ParseError> {
    let capabilities = if roots { json!({ "roots": {} }) } else { json!({}) };
    let params = json!({
        "protocolVersion": version.as_str(),
        "capabilities": capabilities,
        "clientInfo": { "name": "mcp-gateway", "version": env!("CARGO_PKG_VERSION") },
    });
    Message::request(&Id::from(0), "initialize", &params)
}

/// That a link may be used.
pub(crate) fn initialized() -> Result<Message, ParseError> {
    Message::parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
}

/// The revision a server chose.
pub(crate) fn chosen(answer: &Message) -> Result<ProtocolVersion, TransportError> {
    let broken = |what: String| TransportError::new(ErrorKind::Protocol, what);
    let said: Initialized<'_> = answer
        .read()
        .map_err(|error| broken(format!("its answer to `initialize` is malformed: {error}")))?;
    said.version().parse().map_err(|_| {
        let version = said.version().chars().take(32).collect::<String>();
        broken(format!("it chose protocol revision `{version}`, which is none the gateway speaks"))
    })
}

/// The revision of a link, by the first answer on it: that of the exchange where it has one
/// without a handshake.
pub(crate) fn agreed(
    asked: Option<ProtocolVersion>,
    answer: &Message,
) -> Result<ProtocolVersion, TransportError> {
    let Some(version) = asked.filter(|version| version.era() == Era::Modern) else {
        return chosen(answer);
    };
    let broken = |what: String| TransportError::new(ErrorKind::Protocol, what);
    let said: Discovered<'_> = answer.read().map_err(|error| {
        broken(format!("its answer to `server/discover` is malformed: {error}"))
    })?;
    if said.supported_versions.iter().any(|it| it == version.as_str()) {
        return Ok(version);
    }
    Err(TransportError::new(ErrorKind::Unsupported, "it speaks revisions with a handshake alone"))
}

/// What a server calls itself in its first answer, in either era.
pub(crate) fn server_info(answer: &Message) -> Option<Arc<str>> {
    let named = |it: Implementation<'_>| Arc::from(format!("{} {}", it.name, it.version).trim());
    if let Ok(said) = answer.read::<Discovered<'_>>() {
        let info = said.meta.and_then(|meta| meta.server_info);
        let info = info.and_then(|info| serde_json::from_str(info.get()).ok());
        return Some(named(info.unwrap_or_default()));
    }
    answer.read::<Initialized<'_>>().ok().map(|said| named(said.server_info))
}

/// The notifications by which a server said it would announce that its lists changed.
pub(crate) fn announced(answer: &Message) -> Vec<&'static str> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Lists {
        tools: List,
        prompts: List,
        resources: List,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct List {
        list_changed: bool,
    }
    let said: Option<Initialized<'_>> = answer.read().ok();
    let said = said.and_then(|said| serde_json::from_str::<Lists>(said.capabilities?.get()).ok());
    let lists = said.unwrap_or_default();
    let all = [
        (lists.tools, "notifications/tools/list_changed"),
        (lists.prompts, "notifications/prompts/list_changed"),
        (lists.resources, "notifications/resources/list_changed"),
    ];
    all.into_iter().filter(|(list, _)| list.list_changed).map(|(_, method)| method).collect()
}

/// A server's answer as one client hears it: under the id of its request, never in a later
/// revision than it asked for, since there are clients that hang up on that, and with the
/// capabilities which that has.
pub(crate) fn answer(
    answer: &Message,
    to: &Hello,
    behind: ProtocolVersion,
) -> Result<Message, ParseError> {
    let id = to.message.id().cloned().ok_or(ParseError::Envelope("`initialize` without an id"))?;
    let answer = answer.with_id(id);
    match Bridge::between(to.version, behind) {
        Some(bridge) => Ok(bridge.answer("initialize", &answer)),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: &str) -> Hello {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":"a","method":"initialize","params":{{"capabilities":{{"roots":{{}}}}, "protocolVersion":"{version}","clientInfo":{{"name":"c","version":"1"}},"x":1}}}}"#
        );
        Hello::read(Message::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn a_clients_words_are_passed_on_as_they_are() {
        let hello = hello("2025-03-26");
        assert!(hello.can_be_asked);
        assert_eq!(hello.forwarded(hello.version).unwrap().as_bytes(), hello.message.as_bytes());
        let newer = self::hello("2026-07-28");
        let newer = newer.forwarded(newer.version).unwrap();
        assert!(newer.body().unwrap().contains(r#""protocolVersion":"2025-11-25","clientInfo""#));
    }

    #[test]
    fn nobody_hears_of_a_later_revision() {
        let said =
            r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","x":[1e400]}}"#;
        let said = Message::parse(said).unwrap();
        let heard = |version| {
            let hello = hello(version);
            let heard = answer(&said, &hello, chosen(&said).unwrap()).unwrap();
            String::from_utf8(heard.as_bytes().to_vec()).unwrap()
        };
        assert_eq!(
            heard("2024-11-05"),
            r#"{"jsonrpc":"2.0","id":"a","result":{"protocolVersion":"2024-11-05","x":[1e400]}}"#
        );
        assert_eq!(
            heard("2025-11-25"),
            r#"{"jsonrpc":"2.0","id":"a","result":{"protocolVersion":"2025-11-25","x":[1e400]}}"#
        );
    }

    #[test]
    fn what_a_server_announces() {
        let said = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":
            {"tools":{"listChanged":true},"prompts":{},"resources":{"listChanged":true,"subscribe":true},"logging":{}}}}"#;
        let said = Message::parse(said).unwrap();
        assert_eq!(
            announced(&said),
            ["notifications/tools/list_changed", "notifications/resources/list_changed"]
        );
    }

    #[test]
    fn what_is_no_answer() {
        for (said, expect) in [
            (r#"{"protocolVersion":"1999-01-01"}"#, "chose protocol revision `1999-01-01`"),
            (r#"{}"#, "malformed"),
        ] {
            let said = format!(r#"{{"jsonrpc":"2.0","id":0,"result":{said}}}"#);
            let error = chosen(&Message::parse(said).unwrap()).unwrap_err();
            assert!(error.to_string().contains(expect), "{error}");
        }
    }
}
