//! Views of the few parameters and results a gateway reads.
//!
//! Each borrows from its message and skips what it does not name.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::{Id, Needle};

/// The name of a progress token, where a message may have one: to be looked for before it is read.
pub static PROGRESS_TOKEN: Needle = Needle::new("progressToken");

/// `tools/call`.
#[derive(Debug, Deserialize)]
pub struct CallTool<'a> {
    /// The tool, under the name the caller knows.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// The arguments, unread.
    #[serde(borrow, default)]
    pub arguments: Option<&'a RawValue>,
    /// What travels beside them.
    #[serde(borrow, default, deserialize_with = "or_null", rename = "_meta")]
    pub meta: Meta<'a>,
}

/// `initialize`, of the revisions that have it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialize<'a> {
    /// The revision the client would like to speak, as written.
    #[serde(borrow)]
    pub protocol_version: &'a RawValue,
    /// What the client can do.
    #[serde(borrow, default, deserialize_with = "or_null")]
    pub capabilities: ClientCapabilities<'a>,
    /// What the client calls itself; never to be relied on.
    #[serde(borrow, default, deserialize_with = "or_null")]
    pub client_info: Implementation<'a>,
}

impl Initialize<'_> {
    /// The revision asked for, as text; empty if it is no string.
    pub fn version(&self) -> Cow<'_, str> {
        serde_json::from_str(self.protocol_version.get()).unwrap_or_default()
    }
}

/// The answer to `initialize`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialized<'a> {
    /// The revision the server chose, as written.
    #[serde(borrow)]
    pub protocol_version: &'a RawValue,
    /// What the server can do, unread.
    #[serde(borrow, default)]
    pub capabilities: Option<&'a RawValue>,
    /// What the server calls itself; never to be relied on.
    #[serde(borrow, default, deserialize_with = "or_null")]
    pub server_info: Implementation<'a>,
}

impl Initialized<'_> {
    /// The revision chosen, as text; empty if it is no string.
    pub fn version(&self) -> Cow<'_, str> {
        serde_json::from_str(self.protocol_version.get()).unwrap_or_default()
    }
}

/// The capabilities by which a server may ask its client for something.
#[derive(Debug, Default, Deserialize)]
pub struct ClientCapabilities<'a> {
    /// `roots/list` is answered.
    #[serde(borrow, default)]
    pub roots: Option<&'a RawValue>,
    /// `sampling/createMessage` is answered.
    #[serde(borrow, default)]
    pub sampling: Option<&'a RawValue>,
    /// `elicitation/create` is answered (from 2025-06-18).
    #[serde(borrow, default)]
    pub elicitation: Option<&'a RawValue>,
    /// Tasks are understood (2025-11-25).
    #[serde(borrow, default)]
    pub tasks: Option<&'a RawValue>,
}

impl ClientCapabilities<'_> {
    /// Whether a server may ask this client anything but `ping`.
    pub fn can_be_asked(&self) -> bool {
        self.roots.is_some()
            || self.sampling.is_some()
            || self.elicitation.is_some()
            || self.tasks.is_some()
    }
}

/// `clientInfo` or `serverInfo`.
#[derive(Debug, Default, Deserialize)]
pub struct Implementation<'a> {
    /// Its name.
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    /// Its version.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
}

/// `notifications/cancelled`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancelled {
    /// The request nobody waits for any more.
    pub request_id: Id,
    /// Why, in words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// `notifications/progress`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress<'a> {
    /// Which request it is about, as written.
    #[serde(borrow)]
    pub progress_token: &'a RawValue,
}

/// A resource named by its address: `resources/read`, `subscribe`, `unsubscribe`, `updated`.
#[derive(Debug, Deserialize)]
pub struct Resource<'a> {
    /// The address.
    #[serde(borrow)]
    pub uri: Cow<'a, str>,
}

/// `params._meta`: where 2026-07-28 carries what used to be the session's.
#[derive(Debug, Default, Deserialize)]
pub struct Meta<'a> {
    /// The revision this one request speaks.
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    pub version: Option<Cow<'a, str>>,
    /// The `subscriptions/listen` request a notification belongs to.
    #[serde(default, rename = "io.modelcontextprotocol/subscriptionId")]
    pub subscription: Option<Id>,
    /// Under which the caller wants to hear of progress, as written.
    #[serde(borrow, default, rename = "progressToken")]
    pub progress: Option<&'a RawValue>,
}

/// Any parameters, for the sake of their `_meta`.
#[derive(Debug, Default, Deserialize)]
pub struct AnyParams<'a> {
    /// What travels beside the parameters proper.
    #[serde(borrow, default, deserialize_with = "or_null", rename = "_meta")]
    pub meta: Meta<'a>,
}

/// Reads null as if the member were missing: SDKs of some languages write it so.
fn or_null<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
