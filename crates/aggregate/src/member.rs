//! One of the servers that are shown as one, and who may see it.

use std::{fmt, sync::Arc};

use catalogue::{Shape, names::Prefix};
use mcp_jsonrpc::transport::{Caller, Transport};

/// One of the servers that are shown as one.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name in the configuration: no two share it, and it stays.
    pub name: Arc<str>,
    /// What precedes the names of its tools, where something does.
    pub alias: Arc<str>,
    /// When it does; as everywhere, if nothing is said.
    pub prefix: Option<Prefix>,
    /// The way to it.  Another way is another server to those who use it.
    pub transport: Arc<dyn Transport>,
    /// Which of what it lists is shown, and how.
    pub shapes: Vec<Arc<Shape>>,
    /// Who may use it, and what is shown to them.
    pub rights: Rights,
}

/// Who may use a server, and what is shown to them beside its own shapes.
#[derive(Clone)]
pub struct Rights(Arc<Of>);

type Of = dyn Fn(&Caller) -> Option<Vec<Arc<Shape>>> + Send + Sync;

// === impl Member ===

impl Member {
    /// A server under its own name, for everybody, all of it.
    pub fn new(name: &str, transport: Arc<dyn Transport>) -> Self {
        Self {
            name: name.into(),
            alias: name.into(),
            prefix: None,
            transport,
            shapes: Vec::new(),
            rights: Rights::default(),
        }
    }

    /// Whether sessions with one are sessions with the other.
    pub(crate) fn is_reached_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.transport, &other.transport)
    }

    /// What becomes of its entries for this caller; none if it is not to be seen.
    pub(crate) fn shapes_for(&self, caller: &Caller) -> Option<Vec<Arc<Shape>>> {
        let more = self.rights.of(caller)?;
        Some(self.shapes.iter().cloned().chain(more).collect())
    }
}

// === impl Rights ===

impl Rights {
    /// `of` says of a caller what else is hidden or shown otherwise; none if the whole server is
    /// hidden.
    pub fn new(of: impl Fn(&Caller) -> Option<Vec<Arc<Shape>>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(of))
    }

    /// What else is hidden from a caller or shown to it otherwise; none if all is hidden.
    pub(crate) fn of(&self, caller: &Caller) -> Option<Vec<Arc<Shape>>> {
        (self.0)(caller)
    }
}

impl Default for Rights {
    /// Everybody may use all of it.
    fn default() -> Self {
        Self::new(|_| Some(Vec::new()))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rights(..)")
    }
}
