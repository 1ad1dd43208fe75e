//! Who listens for changes (2026-07-28, `subscriptions/listen`).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use futures::{StreamExt, stream};
use mcp_jsonrpc::{
    Id, Message, RpcError,
    modern::{self, Listen},
    transport::{EventStream, Inbox},
};
use serde_json::{Map, Value, json};

use crate::{Options, resources, session::read};

/// The streams that listen.
#[derive(Default)]
pub(crate) struct Listens(Arc<Table>);

#[derive(Default)]
struct Table(Mutex<Open>);

#[derive(Default)]
struct Open {
    streams: HashMap<u64, Stream>,
    last: u64,
}

struct Stream {
    id: Id,
    tools: bool,
    prompts: bool,
    resources: bool,
    uris: HashSet<Box<str>>,
    inbox: Arc<Inbox>,
}

/// A stream's entry, until it is dropped.
struct Entry(Weak<Table>, u64);

impl Listens {
    /// Opens a stream: its first message says what it will announce.
    pub(crate) fn open(
        &self,
        options: &Options,
        id: &Id,
        message: &Message,
    ) -> Result<EventStream, RpcError> {
        let wanted = read::<Listen<'_>>(message)?.notifications;
        let uris = wanted.resource_subscriptions.unwrap_or_default();
        let uris: Vec<_> = uris.into_iter().filter(|uri| resources::exists(uri)).collect();
        if options.subscription_count_max < uris.len() {
            let what = format!("at most {} resources", options.subscription_count_max);
            return Err(RpcError::new(RpcError::INVALID_PARAMS, what));
        }
        let inbox = Inbox::new(options.inbox);
        let stream = Stream {
            id: id.clone(),
            tools: wanted.tools_list_changed == Some(true),
            prompts: wanted.prompts_list_changed == Some(true),
            resources: wanted.resources_list_changed == Some(true),
            uris: uris.iter().map(|uri| uri.as_ref().into()).collect(),
            inbox: Arc::clone(&inbox),
        };
        let mut honoured = Map::new();
        for (name, is_wanted) in [
            ("toolsListChanged", stream.tools),
            ("promptsListChanged", stream.prompts),
            ("resourcesListChanged", stream.resources),
        ] {
            if is_wanted {
                honoured.insert(name.to_owned(), json!(true));
            }
        }
        if !uris.is_empty() {
            honoured.insert("resourceSubscriptions".to_owned(), json!(uris));
        }
        stream.say(modern::ACKNOWLEDGED, json!({ "notifications": honoured }));
        let mut open = self.0.lock();
        if options.session_count_max <= open.streams.len() {
            return Err(RpcError::new(RpcError::INTERNAL, "as many listen as may"));
        }
        open.last += 1;
        let number = open.last;
        open.streams.insert(number, stream);
        drop(open);
        let entry = Entry(Arc::downgrade(&self.0), number);
        let events = stream::poll_fn(move |cx| {
            let _: &Entry = &entry;
            inbox.poll_next(cx)
        });
        Ok(events.boxed())
    }

    /// Tells whoever wants to hear of it.
    pub(crate) fn announce(&self, method: &str, params: &Value) {
        let open = self.0.lock();
        for stream in open.streams.values().filter(|stream| stream.wants(method, params)) {
            stream.say(method, params.clone());
        }
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    fn wants(&self, method: &str, params: &Value) -> bool {
        match method {
            "notifications/tools/list_changed" => self.tools,
            "notifications/prompts/list_changed" => self.prompts,
            "notifications/resources/list_changed" => self.resources,
            "notifications/resources/updated" => {
                params.get("uri").and_then(Value::as_str).is_some_and(|uri| self.uris.contains(uri))
            }
            _ => false,
        }
    }

    fn say(&self, method: &str, mut params: Value) {
        if let Some(params) = params.as_object_mut() {
            let meta = json!({ modern::SUBSCRIPTION_ID: self.id });
            params.insert("_meta".to_owned(), meta);
        }
        if let Ok(message) = Message::notification(method, &params) {
            // A listener that is too slow misses this one: its inbox counts it.
            drop(self.inbox.push(message.into()));
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(table) = self.0.upgrade() {
            table.lock().streams.remove(&self.1);
        }
    }
}
