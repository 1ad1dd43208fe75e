//! What a session remembers.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{StreamExt, stream};
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion,
    params::ClientCapabilities,
    transport::{EventStream, Inbox},
};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{Options, Place};

/// How grave a log message may be, from the least (RFC 5424).
pub(crate) const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// One session, as its calls see it.
pub(crate) struct Inner {
    pub(crate) place: Place,
    world: Arc<World>,
    state: Mutex<State>,
}

/// What a session remembers.
pub(crate) struct State {
    /// What was agreed on; none before `initialize`.
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) can: Can,
    /// The least level that is logged, as a place in [`LEVELS`].
    pub(crate) level: usize,
    pub(crate) subscribed: HashSet<Box<str>>,
    /// The calls that run, each by the id it was made under.
    pub(crate) running: HashMap<Id, Arc<Inbox>>,
    /// Questions to the client that wait for an answer.
    pub(crate) questions: HashMap<i64, oneshot::Sender<Message>>,
    pub(crate) question_last: i64,
    pub(crate) listener: Arc<Inbox>,
    /// What came before anybody listened is kept for the first who does.
    listener_claimed: bool,
    pub(crate) over: bool,
}

/// What calls change: of one session, or of all that know none.
#[derive(Default)]
pub(crate) struct World(Mutex<Changes>);

/// What calls have changed.
#[derive(Default)]
pub(crate) struct Changes {
    /// How often each resource was touched.
    pub(crate) touched: HashMap<&'static str, u64>,
    pub(crate) extra: Extra,
}

/// What the client said it can be asked for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Can {
    pub(crate) roots: bool,
    pub(crate) sampling: bool,
    pub(crate) elicitation: bool,
}

/// Which of the entries that come and go are there.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extra {
    pub(crate) tool: bool,
    pub(crate) prompt: bool,
    pub(crate) resource: bool,
}

// === impl Inner ===

impl Inner {
    pub(crate) fn new(place: Place, world: Arc<World>) -> Self {
        let state = State {
            version: None,
            can: Can::default(),
            level: 0,
            subscribed: HashSet::new(),
            running: HashMap::new(),
            questions: HashMap::new(),
            question_last: 0,
            listener: Inbox::new(place.0.options.inbox),
            listener_claimed: false,
            over: false,
        };
        Self { place, world, state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, Changes> {
        self.world.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.place.0.options
    }

    /// Says something that no request has caused.
    pub(crate) fn announce(&self, method: &str, params: &Value) {
        let (listener, version) = {
            let state = self.state();
            (Arc::clone(&state.listener), state.version)
        };
        if version == Some(ProtocolVersion::V2026_07_28) {
            return self.place.0.modern.listens.announce(method, params);
        }
        if let Ok(message) = Message::notification(method, params) {
            // A listener that is too slow misses this one: its inbox counts it.
            drop(listener.push(message.into()));
        }
    }

    /// Gives what no request has caused to whoever takes this, and no longer to the last one.
    pub(crate) fn listen(&self) -> EventStream {
        let mut state = self.state();
        if state.listener_claimed {
            let inbox = Inbox::new(self.options().inbox);
            std::mem::replace(&mut state.listener, inbox).finish(Ok(None));
        }
        state.listener_claimed = true;
        let inbox = Arc::clone(&state.listener);
        if state.over {
            inbox.finish(Ok(None));
        }
        drop(state);
        stream::poll_fn(move |cx| inbox.poll_next(cx)).boxed()
    }

    /// Takes a resource's subscribers the news.
    pub(crate) fn touch(&self, uri: &'static str) -> u64 {
        let touched = {
            let mut world = self.world();
            let touched = world.touched.entry(uri).or_default();
            *touched += 1;
            *touched
        };
        let state = self.state();
        // Streams that listen know what they were opened for.
        let is_modern = state.version == Some(ProtocolVersion::V2026_07_28);
        let heard = is_modern || state.subscribed.contains(uri);
        drop(state);
        if heard {
            self.announce("notifications/resources/updated", &json!({ "uri": uri }));
        }
        touched
    }
}

// === impl State ===

impl State {
    pub(crate) fn agree(&mut self, version: ProtocolVersion, client: &ClientCapabilities<'_>) {
        // An empty object means forms; 2025-11-25 may name others beside or instead of them.
        let forms = client.elicitation.is_some_and(|elicitation| {
            match serde_json::from_str::<serde_json::Map<String, Value>>(elicitation.get()) {
                Ok(modes) => modes.is_empty() || modes.contains_key("form"),
                Err(_) => false,
            }
        });
        self.version = Some(version);
        self.can = Can {
            roots: client.roots.is_some(),
            sampling: client.sampling.is_some(),
            elicitation: forms && ProtocolVersion::V2025_06_18 <= version,
        };
    }
}
