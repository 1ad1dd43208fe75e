//! Which of a server's things are shown, and how: filters, and tools that are shown otherwise.

mod arguments;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use mcp_jsonrpc::{ParseError, object::Object};
use serde_json::value::RawValue;

pub use arguments::{Argument, Arguments, Withheld};

use crate::{Entry, Glob, Hints, List};

/// Which of one server's things are shown, and how.
///
/// Several may lie over each other, of a server, a group, a token: what is shown passes each, and
/// of what two of them say about one tool the later counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shape {
    /// Which tools are there.
    pub tools: Filter,
    /// Which prompts are there.
    pub prompts: Filter,
    /// Which resources and templates are there, by URI.
    pub resources: Filter,
    /// Tools that are shown otherwise, by the names that their server gives them.
    pub overrides: BTreeMap<String, Override>,
}

/// Which are there: what a rule allows, or everything if none does, but for what a rule denies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// If there are any, nothing else is there.
    pub allow: Option<Vec<Rule>>,
    /// None of these is there.
    pub deny: Vec<Rule>,
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// What is called so, by its server or here.
    Name(Glob),
    /// Tools of which this is said, or has to be assumed.
    Hint(Hint, bool),
}

/// What the annotations of a tool may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// `readOnlyHint`
    ReadOnly,
    /// `destructiveHint`
    Destructive,
    /// `idempotentHint`
    Idempotent,
    /// `openWorldHint`
    OpenWorld,
}

/// How a tool is shown otherwise than its server lists it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Override {
    /// Its name here; by its old one it is no longer known.
    pub name: Option<String>,
    /// Its description here.
    pub description: Option<String>,
    /// What becomes of its arguments.
    pub arguments: BTreeMap<String, Argument>,
}

/// Something in a shape that does not fit what the server lists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// There is no such tool.
    #[error("`{tool}` is to be shown otherwise, but the server lists no such tool")]
    NoTool {
        /// Its name.
        tool: String,
    },
    /// There is no such argument.
    #[error("`{tool}` has no argument `{argument}`")]
    NoArgument {
        /// The tool.
        tool: String,
        /// The argument.
        argument: String,
    },
    /// Nobody can give an argument that the server insists on.
    #[error("`{tool}` requires `{argument}`, which is hidden: fix it to a value instead")]
    Required {
        /// The tool.
        tool: String,
        /// The argument.
        argument: String,
    },
    /// What the server lists is not what it should be.
    #[error("`{tool}` cannot be shown otherwise, and is left out: its `inputSchema` is unreadable")]
    Schema {
        /// The tool.
        tool: String,
    },
}

/// A tool as it is shown, but for its name.
#[derive(Debug)]
pub(crate) struct Shaped<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) raw: Cow<'a, RawValue>,
    pub(crate) arguments: Option<Arc<Arguments>>,
}

// === impl Shape ===

impl Shape {
    /// The filter for the entries of a list.
    pub fn filter(&self, list: List) -> &Filter {
        match list {
            List::Tools => &self.tools,
            List::Prompts => &self.prompts,
            List::Resources | List::Templates => &self.resources,
        }
    }

    /// Whether all of several shapes show what is called so.
    pub(crate) fn admit(shapes: &[Arc<Self>], list: List, names: &[&str], hints: Hints) -> bool {
        shapes.iter().all(|it| it.filter(list).admits(names, hints))
    }

    /// What these shapes make of an entry; none if it is hidden.
    pub(crate) fn apply<'a>(
        shapes: &'a [Arc<Self>],
        list: List,
        entry: &'a Entry,
        misfits: &mut Vec<Misfit>,
    ) -> Option<Shaped<'a>> {
        let key = entry.key();
        let overrides: Vec<&Override> = match list {
            List::Tools => shapes.iter().filter_map(|it| it.overrides.get(key)).collect(),
            _ => Vec::new(),
        };
        let over = Override::all(&overrides);
        let name =
            over.as_ref().and_then(|it| it.name.clone()).map_or(Cow::Borrowed(key), Cow::Owned);
        if !Self::admit(shapes, list, &[key, &name], entry.hints()) {
            return None;
        }
        let plain = Shaped { name, raw: Cow::Borrowed(entry.raw()), arguments: None };
        let Some(over) = over else { return Some(plain) };
        let Ok(shaped) = over.shape(entry, misfits) else {
            // Its arguments cannot be withheld, and so the tool is.
            misfits.push(Misfit::Schema { tool: key.to_owned() });
            return None;
        };
        let (raw, arguments) = shaped;
        Some(Shaped { raw: Cow::Owned(raw), arguments, ..plain })
    }
}

// === impl Filter ===

impl Filter {
    /// Whether something is there, by what it is called, and what is said of it.
    pub fn admits(&self, names: &[&str], hints: Hints) -> bool {
        let any = |rules: &[Rule]| rules.iter().any(|it| it.is_about(names, hints));
        self.allow.as_deref().is_none_or(any) && !any(&self.deny)
    }
}

// === impl Rule ===

impl Rule {
    fn is_about(&self, names: &[&str], hints: Hints) -> bool {
        match self {
            Self::Name(glob) => names.iter().any(|it| glob.matches(it)),
            Self::Hint(hint, said) => hint.of(hints) == *said,
        }
    }
}

// === impl Hint ===

impl Hint {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::ReadOnly, Self::Destructive, Self::Idempotent, Self::OpenWorld];

    /// As it is called in `annotations`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "readOnlyHint",
            Self::Destructive => "destructiveHint",
            Self::Idempotent => "idempotentHint",
            Self::OpenWorld => "openWorldHint",
        }
    }

    fn of(self, hints: Hints) -> bool {
        match self {
            Self::ReadOnly => hints.read_only,
            Self::Destructive => hints.destructive,
            Self::Idempotent => hints.idempotent,
            Self::OpenWorld => hints.open_world,
        }
    }
}

// === impl Override ===

impl Override {
    /// What several say together; the later counts.
    pub(crate) fn all(overrides: &[&Self]) -> Option<Self> {
        overrides.iter().fold(None, |before: Option<Self>, it| {
            let mut all = before.unwrap_or_default();
            all.name = it.name.clone().or(all.name);
            all.description = it.description.clone().or(all.description);
            all.arguments.extend(it.arguments.iter().map(|(k, v)| (k.clone(), v.clone())));
            Some(all)
        })
    }

    fn shape(
        self,
        entry: &Entry,
        misfits: &mut Vec<Misfit>,
    ) -> Result<(Box<RawValue>, Option<Arc<Arguments>>), ParseError> {
        let mut tool = Object::read(entry.raw())?;
        if let Some(description) = &self.description {
            tool.set("description", description)?;
        }
        if self.arguments.is_empty() {
            return Ok((tool.to_raw()?, None));
        }
        let schema =
            tool.get("inputSchema").ok_or(ParseError::Envelope("a tool needs an `inputSchema`"))?;
        let schema = arguments::adjust(schema, &self.arguments, entry.key(), misfits)?;
        tool.set("inputSchema", &schema)?;
        Ok((tool.to_raw()?, Some(Arc::new(Arguments::new(self.arguments)))))
    }
}

#[cfg(test)]
mod tests;
