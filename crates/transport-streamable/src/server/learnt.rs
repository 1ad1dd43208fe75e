//! What a server half learns of the server behind it from the answers that pass by.

use std::{
    borrow::Cow,
    sync::{Arc, PoisonError, RwLock},
};

use mcp_jsonrpc::{
    Kind, Message,
    modern::{DISCOVER, Discovered},
};
use tracing::debug;

use crate::{
    mirror::{Index, Mirrors, ToolFields},
    refusal::Refusal,
};

/// How many revisions a server may name.
const REVISIONS_MAX: usize = 32;
/// The longest name of one, in bytes.
const REVISION_LEN_MAX: usize = 64;

/// What the answers to `tools/list` and `server/discover` have said.
#[derive(Debug)]
pub(super) struct Learnt {
    /// The address in front of it.
    at: Arc<str>,
    tools: Index,
    /// Who may know more of tools.
    others: Option<Arc<dyn Mirrors>>,
    /// The revisions that the server names; none as long as it was not asked.
    supported: RwLock<Option<Arc<[Box<str>]>>>,
}

impl Learnt {
    /// Nothing yet.
    pub(super) fn new(at: Arc<str>, others: Option<Arc<dyn Mirrors>>) -> Self {
        Self { at, tools: Index::default(), others, supported: RwLock::default() }
    }

    /// Learns from the answer to a request of this method, and returns it as it is to be passed
    /// on: without tools that nobody may call over HTTP.
    pub(super) fn hear(&self, method: &str, answer: Message) -> Message {
        match method {
            "tools/list" => self.tools.learn(&answer, &self.at),
            DISCOVER if answer.kind() == Kind::Response => {
                self.discovered(&answer);
                answer
            }
            _ => answer,
        }
    }

    fn discovered(&self, answer: &Message) {
        let discovered = match answer.read::<Discovered<'_>>() {
            Ok(discovered) => discovered,
            Err(error) => return debug!(%error, "what a server discovers cannot be read"),
        };
        let named = &discovered.supported_versions;
        let fits = |it: &Cow<'_, str>| it.len() <= REVISION_LEN_MAX;
        if named.is_empty() || REVISIONS_MAX < named.len() || !named.iter().all(fits) {
            return;
        }
        let known = self.supported();
        if known.is_some_and(|known| known.iter().map(|it| &**it).eq(named.iter().map(|it| &**it)))
        {
            return;
        }
        let named = named.iter().map(|it| Box::from(&**it)).collect();
        *self.supported.write().unwrap_or_else(PoisonError::into_inner) = Some(named);
    }

    fn supported(&self) -> Option<Arc<[Box<str>]>> {
        self.supported.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A refusal, which names the revisions that the server does, where it was heard to.
    pub(super) fn narrow(&self, refusal: Refusal) -> Refusal {
        match self.supported() {
            Some(supported) => refusal.among(&supported),
            None => refusal,
        }
    }
}

impl Mirrors for Learnt {
    fn of(&self, tool: &str) -> Option<Arc<ToolFields>> {
        let known = self.others.as_ref().and_then(|others| others.of(tool));
        known.or_else(|| self.tools.of(tool))
    }
}
