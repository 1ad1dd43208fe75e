//! What one scope is shown: the view, and what is missing from it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use catalogue::{List, View, search::Index};
use mcp_jsonrpc::ParseError;
use serde::Serialize;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

/// The member of `_meta` that names what is missing.
pub(crate) const MISSING: &str = "mcp-gateway/missing";
/// The member of `_meta` that names what was left out of servers' lists.
pub(crate) const INCOMPLETE: &str = "mcp-gateway/incomplete";

/// A server whose lists are missing, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// The server.
    pub server: Arc<str>,
    /// What happened to it, in words for who uses it.
    pub reason: Arc<str>,
}

/// What one scope is shown; it does not change.
pub struct Shown {
    view: View,
    missing: Vec<Missing>,
    meta: Option<Box<RawValue>>,
    index: OnceLock<Index>,
}

// === impl Shown ===

impl Shown {
    /// A view, what is missing from it, and what servers refused to list.
    pub(crate) fn new(view: View, missing: Vec<Missing>, refused: &[(Arc<str>, String)]) -> Self {
        let meta = meta(&view, &missing, refused);
        Self { view, missing, meta, index: OnceLock::new() }
    }

    /// All servers as one.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The servers that are not, or not yet, in the view.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// What is said beside every list: what is missing from it.
    pub(crate) fn meta(&self) -> Option<&RawValue> {
        self.meta.as_deref()
    }

    /// The words of all tools, made when somebody searches for the first time.
    pub(crate) fn index(&self) -> &Index {
        self.index.get_or_init(|| Index::new(&self.view))
    }

    /// What the servers can do, with what the aggregate itself sees to: that changes of every list
    /// are announced.
    pub(crate) fn capabilities(&self, search: bool) -> Result<Box<RawValue>, ParseError> {
        let mut all: serde_json::Value = serde_json::from_str(self.view.capabilities()?.get())?;
        let Some(members) = all.as_object_mut() else { return Ok(to_raw_value(&all)?) };
        for list in [List::Tools, List::Prompts, List::Resources] {
            let name = list.member();
            // What a server has that is missing is not known.
            let may_come = !self.missing.is_empty() || (search && list == List::Tools);
            if may_come && !members.contains_key(name) {
                members.insert(name.to_owned(), json!({}));
            }
            if let Some(list) = members.get_mut(name).and_then(|it| it.as_object_mut()) {
                list.insert("listChanged".to_owned(), json!(true));
            }
        }
        Ok(to_raw_value(&all)?)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown")
            .field("view", &self.view)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

fn meta(view: &View, missing: &[Missing], refused: &[(Arc<str>, String)]) -> Option<Box<RawValue>> {
    let mut meta = serde_json::Map::new();
    if !missing.is_empty() {
        meta.insert(MISSING.to_owned(), json!(missing));
    }
    let cut =
        view.shortfalls().map(|(server, it)| json!({ "server": server, "reason": it.to_string() }));
    let refused = refused.iter().map(|(server, it)| json!({ "server": server, "reason": it }));
    let cut: Vec<_> = cut.chain(refused).collect();
    if !cut.is_empty() {
        meta.insert(INCOMPLETE.to_owned(), json!(cut));
    }
    // Maps of texts can be written.
    (!meta.is_empty()).then(|| to_raw_value(&meta).ok()).flatten()
}
