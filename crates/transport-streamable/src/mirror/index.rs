//! What is known of tools' annotations, learnt from the lists that pass by.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use mcp_jsonrpc::{Kind, Message};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tracing::warn;

use super::{ToolFields, schema::ANNOTATION};

/// Knows which parameters of a tool are mirrored.
pub trait Mirrors: fmt::Debug + Send + Sync + 'static {
    /// Those of the tool of this name, under which clients call it; none where its schema is not
    /// known.
    fn of(&self, tool: &str) -> Option<Arc<ToolFields>>;
}

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct IndexMax {
    /// Of how many tools with annotations: 1024.  The oldest are forgotten first.
    pub tools_max: usize,
    /// The longest name of one, in bytes: 256.  Longer ones are not remembered.
    pub name_len_max: usize,
}

impl Default for IndexMax {
    fn default() -> Self {
        Self { tools_max: 1024, name_len_max: 256 }
    }
}

/// Which parameters of a server's tools are mirrored, as far as its lists have said so.
#[derive(Debug, Default)]
pub struct Index {
    max: IndexMax,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    tools: HashMap<Box<str>, Arc<ToolFields>>,
    /// Oldest first.
    order: VecDeque<Box<str>>,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    tools: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    input_schema: Option<&'a RawValue>,
}

// === impl Index ===

impl Index {
    /// An index that knows nothing yet, and remembers so much.
    pub fn new(max: IndexMax) -> Self {
        Self { max, known: RwLock::default() }
    }

    /// Learns from the answer to a `tools/list`, and returns it without the tools whose
    /// annotations break the rules: over HTTP nobody may call them (2026-07-28, transports,
    /// "Schema Extension").  Where there are none, every byte stays.
    pub fn learn(&self, answer: &Message, server: &str) -> Message {
        let annotated = answer.kind() == Kind::Response && answer.mentions(ANNOTATION);
        if !annotated && (answer.kind() != Kind::Response || self.is_empty()) {
            return answer.clone();
        }
        // What is no list is not for us to judge.
        let Ok(list) = answer.read::<List<'_>>() else { return answer.clone() };
        let Ok(tools) = serde_json::from_str::<Vec<&RawValue>>(list.tools.get()) else {
            return answer.clone();
        };
        let all = tools.len();
        let kept: Vec<&RawValue> =
            tools.into_iter().filter(|tool| self.take(tool.get(), server)).collect();
        if kept.len() == all {
            return answer.clone();
        }
        answer.with_part(list.tools, &kept).unwrap_or_else(|_| answer.clone())
    }

    /// Learns from one tool; whether it may be known.
    fn take(&self, tool: &str, server: &str) -> bool {
        let Ok(Tool { name, input_schema }) = serde_json::from_str(tool) else { return true };
        let schema = input_schema.map(RawValue::get).filter(|it| it.contains(ANNOTATION));
        let Some(schema) = schema.and_then(|it| serde_json::from_str::<Value>(it).ok()) else {
            self.forget(&name);
            return true;
        };
        match ToolFields::read(&schema) {
            Ok(fields) if fields.is_empty() => self.forget(&name),
            Ok(fields) => self.remember(&name, fields),
            Err(error) => {
                warn!(server, tool = &*name, %error, "left out of the list of tools");
                self.forget(&name);
                return false;
            }
        }
        true
    }

    fn is_empty(&self) -> bool {
        self.known.read().unwrap_or_else(PoisonError::into_inner).tools.is_empty()
    }

    fn forget(&self, name: &str) {
        if self.of(name).is_some() {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.tools.remove(name);
            known.order.retain(|it| &**it != name);
        }
    }

    fn remember(&self, name: &str, fields: ToolFields) {
        if self.max.name_len_max < name.len() || self.max.tools_max == 0 {
            return;
        }
        if self.of(name).is_some_and(|known| *known == fields) {
            return;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.tools.insert(name.into(), Arc::new(fields)).is_none() {
            known.order.push_back(name.into());
        }
        while self.max.tools_max < known.order.len() {
            let Some(oldest) = known.order.pop_front() else { break };
            known.tools.remove(&oldest);
        }
    }
}

impl Mirrors for Index {
    fn of(&self, tool: &str) -> Option<Arc<ToolFields>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.tools.get(tool).cloned()
    }
}
