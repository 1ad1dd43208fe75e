//! What requests and results of 2026-07-28 carry that used to be a session's: names and views.
//!
//! Like all [views](crate::params), these borrow from their message and skip what they do not
//! name.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{Id, Message, Needle};

/// `params._meta`: the revision a request speaks.  Required.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The end of that name, to be looked for before a message is read: some write the slash with a
/// backslash before it.
pub static NAMES_VERSION: Needle = Needle::new("protocolVersion");
/// The name of what kind a result is, to be looked for before it is read.
pub static NAMES_RESULT_TYPE: Needle = Needle::new("resultType");
/// `params._meta`: what its client can do.  Required; `{}` is nothing.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// `params._meta`: what its client calls itself.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// `params._meta`: from which level on its log is wanted; none is, without.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// `_meta` of what a subscription yields: the id of its `subscriptions/listen`.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// `_meta` of a result: what its server calls itself.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// `capabilities.extensions`: the tasks extension.
pub const TASKS: &str = "io.modelcontextprotocol/tasks";

/// Which revisions there are, and what the server can do.
pub const DISCOVER: &str = "server/discover";
/// A stream of what changes.
pub const LISTEN: &str = "subscriptions/listen";
/// The first message of such a stream.
pub const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// What has become of a task, in full (tasks extension).
pub const TASK_CHANGED: &str = "notifications/tasks";

/// The methods that may be answered with questions (2026-07-28, MRTR).
pub const ASKING: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// Parameters of any request, for what it says about itself.
#[derive(Debug, Default, Deserialize)]
pub struct Params<'a> {
    /// What travels beside the parameters proper.
    #[serde(borrow, default, rename = "_meta")]
    pub meta: Option<RequestMeta<'a>>,
}

/// What a request says about itself, all of it as written.
#[derive(Debug, Default, Deserialize)]
pub struct RequestMeta<'a> {
    /// [`PROTOCOL_VERSION`].
    #[serde(borrow, default, rename = "io.modelcontextprotocol/protocolVersion")]
    pub version: Option<&'a RawValue>,
    /// [`CLIENT_CAPABILITIES`].
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientCapabilities")]
    pub capabilities: Option<&'a RawValue>,
    /// [`CLIENT_INFO`].
    #[serde(borrow, default, rename = "io.modelcontextprotocol/clientInfo")]
    pub client_info: Option<&'a RawValue>,
    /// [`LOG_LEVEL`].
    #[serde(borrow, default, rename = "io.modelcontextprotocol/logLevel")]
    pub log_level: Option<&'a RawValue>,
    /// Under which the caller wants to hear of progress.
    #[serde(borrow, default, rename = "progressToken")]
    pub progress: Option<&'a RawValue>,
}

/// Parameters by which a request is tried again with answers (MRTR).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry<'a> {
    /// Answers by the keys of their questions.
    #[serde(borrow, default)]
    pub input_responses: Option<&'a RawValue>,
    /// What the server gave with the questions.
    #[serde(borrow, default)]
    pub request_state: Option<&'a RawValue>,
}

/// A result, for what kind it is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome<'a> {
    /// `complete`, `input_required`, `task`; none in results of earlier revisions.
    #[serde(borrow, default)]
    pub result_type: Option<Cow<'a, str>>,
    /// Questions by their keys, where it is `input_required`.
    #[serde(borrow, default)]
    pub input_requests: Option<&'a RawValue>,
    /// What is to come back with the answers.
    #[serde(borrow, default)]
    pub request_state: Option<&'a RawValue>,
}

/// A task, as its server says how far it is (tasks extension).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task<'a> {
    /// What it is called.
    #[serde(borrow)]
    pub task_id: Cow<'a, str>,
    /// `working`, `input_required`, `completed`, `failed`, `cancelled`.
    #[serde(borrow)]
    pub status: Cow<'a, str>,
    /// The same in words.
    #[serde(borrow, default)]
    pub status_message: Option<Cow<'a, str>>,
    /// After how many milliseconds to ask again.
    #[serde(default)]
    pub poll_interval_ms: Option<f64>,
    /// Questions by their keys, where it is `input_required`.
    #[serde(borrow, default)]
    pub input_requests: Option<&'a RawValue>,
    /// The result of its request, where it is `completed`.
    #[serde(borrow, default)]
    pub result: Option<&'a RawValue>,
    /// The error that its request ended with, where it is `failed`.
    #[serde(borrow, default)]
    pub error: Option<&'a RawValue>,
}

/// The result of [`DISCOVER`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovered<'a> {
    /// The revisions served.
    #[serde(borrow)]
    pub supported_versions: Vec<Cow<'a, str>>,
    /// What the server can do.
    #[serde(borrow, default)]
    pub capabilities: Option<&'a RawValue>,
    /// What a model should know about it.
    #[serde(borrow, default)]
    pub instructions: Option<&'a RawValue>,
    /// For how many milliseconds this holds.
    #[serde(default)]
    pub ttl_ms: Option<f64>,
    /// `public` or `private`.
    #[serde(borrow, default)]
    pub cache_scope: Option<Cow<'a, str>>,
    /// What travels beside it.
    #[serde(borrow, default, rename = "_meta")]
    pub meta: Option<ResultMeta<'a>>,
}

/// `_meta` of a result or a notification.
#[derive(Debug, Default, Deserialize)]
pub struct ResultMeta<'a> {
    /// [`SERVER_INFO`].
    #[serde(borrow, default, rename = "io.modelcontextprotocol/serverInfo")]
    pub server_info: Option<&'a RawValue>,
    /// [`SUBSCRIPTION_ID`].
    #[serde(borrow, default, rename = "io.modelcontextprotocol/subscriptionId")]
    pub subscription: Option<&'a RawValue>,
}

/// Parameters of [`LISTEN`] and of [`ACKNOWLEDGED`].
#[derive(Debug, Default, Deserialize)]
pub struct Listen<'a> {
    /// What is, or will be, announced.
    #[serde(borrow, default)]
    pub notifications: Filter<'a>,
}

/// What a subscription is to announce.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter<'a> {
    /// `notifications/tools/list_changed`.
    #[serde(default)]
    pub tools_list_changed: Option<bool>,
    /// `notifications/prompts/list_changed`.
    #[serde(default)]
    pub prompts_list_changed: Option<bool>,
    /// `notifications/resources/list_changed`.
    #[serde(default)]
    pub resources_list_changed: Option<bool>,
    /// `notifications/resources/updated` of these.
    #[serde(borrow, default)]
    pub resource_subscriptions: Option<Vec<Cow<'a, str>>>,
    /// `notifications/tasks` of these (tasks extension).
    #[serde(borrow, default)]
    pub task_ids: Option<Vec<Cow<'a, str>>>,
}

/// Names a request by its id: in `subscriptionId` of what it yields.
#[derive(Debug, Deserialize)]
pub struct Subscription {
    /// The id of the `subscriptions/listen`.
    #[serde(rename = "io.modelcontextprotocol/subscriptionId")]
    pub id: Id,
}

/// The revision a message names in `params._meta`, where it names one as text.
///
/// Costs a search of the bytes where it does not.
pub fn version_of(message: &Message) -> Option<String> {
    if !message.has(&NAMES_VERSION) {
        return None;
    }
    let params: Params<'_> = message.read().ok()?;
    serde_json::from_str(params.meta?.version?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_says_about_itself_is_read_as_written() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{
            "io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken": 7,
            "io.modelcontextprotocol/clientCapabilities":{ "roots":{}},"com.example/x":[1e400]}}}"#;
        let message = Message::parse(text).unwrap();
        let params: Params<'_> = message.read().unwrap();
        let meta = params.meta.unwrap();
        assert_eq!(meta.capabilities.map(RawValue::get), Some(r#"{ "roots":{}}"#));
        assert_eq!(meta.progress.map(RawValue::get), Some("7"));
        assert!(meta.client_info.is_none() && meta.log_level.is_none());
        assert_eq!(version_of(&message).as_deref(), Some("2026-07-28"));
        let text = text.replace('/', "\\/");
        assert_eq!(version_of(&Message::parse(text).unwrap()).as_deref(), Some("2026-07-28"));
    }

    #[test]
    fn others_name_no_revision() {
        for params in [
            "{}",
            r#"{"_meta":{}}"#,
            r#"{"_meta":null}"#,
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":1}}"#,
        ] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
            assert_eq!(version_of(&Message::parse(text).unwrap()), None);
        }
        let bare = Message::parse(r#"{"jsonrpc":"2.0","id":1,"method":"m"}"#).unwrap();
        assert_eq!(version_of(&bare), None);
    }

    #[test]
    fn a_result_says_its_kind() {
        let text = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","requestState":"s\u0041",
            "inputRequests":{"a":{"method":"roots/list"}}}}"#;
        let message = Message::parse(text).unwrap();
        let outcome: Outcome<'_> = message.read().unwrap();
        assert_eq!(outcome.result_type.as_deref(), Some("input_required"));
        assert_eq!(outcome.request_state.map(RawValue::get), Some(r#""s\u0041""#));
        assert!(outcome.input_requests.is_some());
    }
}
