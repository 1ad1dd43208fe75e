//! Of which era a client is: what it says first decides, and it is kept to that.
//!
//! A `server/discover` decides nothing: clients ask it to find out, and some begin with
//! `initialize` even where it was answered.

use std::sync::OnceLock;

use mcp_jsonrpc::{
    Era, Frame, Id, Kind, Message, ParseError, ProtocolVersion, RpcError,
    modern::{self, RequestMeta},
};
use serde::Serialize;
use serde_json::value::RawValue;

/// The revision that needs no handshake.
pub(super) const VERSION: ProtocolVersion = ProtocolVersion::V2026_07_28;

/// The era of a client, once it is told.
#[derive(Debug, Default)]
pub(super) struct Pin(OnceLock<Era>);

// === impl Pin ===

impl Pin {
    /// Of which era a message is to be taken, from this client.
    pub(super) fn era_of(&self, frame: &Frame) -> Era {
        if let Some(era) = self.0.get() {
            return *era;
        }
        let Frame::One(message) = frame else { return self.keep(Era::Legacy) };
        let method = message.method().unwrap_or_default();
        let is_modern = names_modern(message);
        match message.kind() {
            Kind::Request if method == "initialize" => self.keep(Era::Legacy),
            Kind::Request if is_modern => Era::Modern,
            Kind::Request if method == modern::DISCOVER => Era::Legacy,
            Kind::Request => self.keep(Era::Legacy),
            // Of a probe, for there is nothing else that it could take back.
            Kind::Notification if is_modern || method == "notifications/cancelled" => Era::Modern,
            Kind::Notification | Kind::Response | Kind::Error => Era::Legacy,
        }
    }

    /// Keeps a client to an era, unless it is kept to another.
    pub(super) fn keep(&self, era: Era) -> Era {
        *self.0.get_or_init(|| era)
    }
}

/// Whether a message names a revision as 2026-07-28 does, and none with a handshake.
fn names_modern(message: &Message) -> bool {
    let Some(version) = modern::version_of(message) else { return false };
    version.parse::<ProtocolVersion>().map_or(true, |version| version.era() == Era::Modern)
}

/// What is wrong with a request of 2026-07-28, if anything is: each is checked, for each says all
/// about itself.
pub(super) fn check(request: &Message) -> Result<(), RpcError> {
    if request.method() == Some("initialize") {
        let asked = request.read::<mcp_jsonrpc::params::Initialize<'_>>();
        let asked = asked.map(|asked| asked.version().into_owned()).unwrap_or_default();
        let words = "this connection began in 2026-07-28, which has no `initialize`; begin with it \
                     on a new one";
        return Err(unsupported(&asked, &[VERSION], words.to_owned()));
    }
    let params: modern::Params<'_> = match request.body() {
        Some(_) => request.read().map_err(|error| invalid(format!("`params`: {error}")))?,
        None => modern::Params::default(),
    };
    let RequestMeta { version, capabilities, .. } = params.meta.unwrap_or_default();
    let version = version.and_then(text_of).ok_or_else(|| {
        invalid(format!("`params._meta` has to say `{}`, a text", modern::PROTOCOL_VERSION))
    })?;
    if version != VERSION.as_str() {
        let mut spoken = ProtocolVersion::ALL;
        spoken.reverse();
        let words = format!("protocol revision `{version}` is not spoken here");
        return Err(unsupported(&version, &spoken, words));
    }
    if !capabilities.is_some_and(|it| it.get().starts_with('{')) {
        let words = format!(
            "`params._meta` has to say `{}`, an object, which may be empty",
            modern::CLIENT_CAPABILITIES
        );
        return Err(invalid(words));
    }
    Ok(())
}

/// What a request of 2026-07-28 is answered where nobody behind understands it.
pub(super) fn unserved(method: &str) -> RpcError {
    let words = "begin with `initialize`";
    if method == modern::DISCOVER {
        // Every client that probes goes on from this with `initialize`.
        return RpcError::new(RpcError::METHOD_NOT_FOUND, format!("no discovery here; {words}"));
    }
    let words = format!("protocol revision `{VERSION}` is not spoken here; {words}");
    unsupported(VERSION.as_str(), &ProtocolVersion::LEGACY, words)
}

/// The end of a subscription that ends well.
pub(super) fn end_of(listen: &Id) -> Result<Message, ParseError> {
    let meta = serde_json::json!({ modern::SUBSCRIPTION_ID: listen });
    Message::response(listen, &serde_json::json!({ "resultType": "complete", "_meta": meta }))
}

fn unsupported(requested: &str, spoken: &[ProtocolVersion], words: String) -> RpcError {
    #[derive(Serialize)]
    struct Data<'a> {
        supported: Vec<&'static str>,
        requested: &'a str,
    }
    let supported = spoken.iter().map(|version| version.as_str()).collect();
    RpcError::new(RpcError::UNSUPPORTED_VERSION, words).with_data(&Data { supported, requested })
}

fn invalid(words: String) -> RpcError {
    RpcError::new(RpcError::INVALID_PARAMS, words)
}

fn text_of(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}
