//! Taking values out of the file: each with its place, its references replaced, its type checked,
//! and every complaint collected instead of stopping at the first.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use crate::{
    config::Given,
    dialect::Dialect,
    env::Env,
    file::{Member, Node, Value, item, join},
    problem::{Note, Origin, Place, Problem},
    quantity::{self, show_duration, show_size},
    schema,
    secret::Text,
    substitute::substitute,
};

/// What one reading of a file knows and has found.
pub(crate) struct Cx<'e> {
    pub(crate) env: &'e dyn Env,
    pub(crate) dialect: Dialect,
    pub(crate) problems: Vec<Problem>,
    pub(crate) notes: Vec<Note>,
    pub(crate) given: BTreeMap<String, Given>,
}

/// An object of the file, and which of its members have been taken.
pub(crate) struct Object<'n> {
    pub(crate) path: String,
    pub(crate) place: Place,
    members: &'n [Member],
    taken: BTreeSet<&'n str>,
}

/// A value that was read: how it may be shown, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Read<T> {
    pub(crate) value: T,
    pub(crate) shown: String,
    pub(crate) origin: Origin,
}

// === impl Read ===

impl<T> Read<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Read<U> {
        Read { value: change(self.value), shown: self.shown, origin: self.origin }
    }

    /// The path and place of a value of the file.
    pub(crate) fn at(&self) -> (&str, Option<Place>) {
        match &self.origin {
            Origin::File { key, place, .. } => (key, Some(*place)),
            _ => ("", None),
        }
    }
}

// === impl Object ===

impl<'n> Object<'n> {
    /// A member's value and its path; null counts as absent.
    pub(crate) fn take(&mut self, key: &str) -> Option<(&'n Node, String)> {
        let member = self.members.iter().find(|member| member.key == key)?;
        self.taken.insert(&member.key);
        let present = !matches!(member.node.value, Value::Null);
        present.then(|| (&member.node, join(&self.path, key)))
    }

    /// All of them, in the file's order.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = &'n Member> + use<'n> {
        self.taken.extend(self.members.iter().map(|member| member.key.as_str()));
        self.members.iter()
    }

    /// Marks members as known without a use for them.
    pub(crate) fn ignore(&mut self, keys: &[&str]) {
        keys.iter().for_each(|key| drop(self.take(key)));
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.members.iter().any(|it| it.key == key && !matches!(it.node.value, Value::Null))
    }
}

// === impl Cx ===

impl<'e> Cx<'e> {
    pub(crate) fn new(env: &'e dyn Env, dialect: Dialect) -> Self {
        let given = BTreeMap::new();
        Self { env, dialect, problems: Vec::new(), notes: Vec::new(), given }
    }

    pub(crate) fn is_own(&self) -> bool {
        self.dialect == Dialect::Own
    }

    pub(crate) fn is_tbxark(&self) -> bool {
        self.dialect == Dialect::Tbxark
    }

    pub(crate) fn note(&mut self, key: &str, text: impl Into<String>) {
        self.notes.push(Note { key: key.to_owned(), text: text.into() });
    }

    pub(crate) fn problem(
        &mut self,
        (key, place): (&str, Option<Place>),
        what: impl Into<String>,
        help: Option<String>,
    ) {
        self.problems.push(Problem { key: key.to_owned(), place, what: what.into(), help });
    }

    /// A complaint about a value that is not of its type.
    fn want(&mut self, path: &str, node: &Node, want: &str) {
        let what = format!("want {want}, not {}", node.kind());
        self.problem((path, Some(node.place)), what, None);
    }

    /// Takes a value over, and remembers where it came from; `ours` is its path in our schema.
    pub(crate) fn set<T>(&mut self, ours: &str, slot: &mut T, read: Option<Read<T>>) {
        if let Some(read) = read {
            *slot = read.value;
            self.given.insert(ours.to_owned(), Given { shown: read.shown, origin: read.origin });
        }
    }

    pub(crate) fn object<'n>(&mut self, node: &'n Node, path: &str) -> Option<Object<'n>> {
        let Some(members) = node.members() else {
            self.want(path, node, "an object");
            return None;
        };
        Some(Object { path: path.to_owned(), place: node.place, members, taken: BTreeSet::new() })
    }

    /// A member that is an object itself.
    pub(crate) fn inner<'n>(&mut self, object: &mut Object<'n>, key: &str) -> Option<Object<'n>> {
        let (node, path) = object.take(key)?;
        self.object(node, &path)
    }

    /// Complains about (or, in a foreign dialect, mentions) the members nobody took.
    pub(crate) fn finish(&mut self, object: Object<'_>, scope: schema::Scope) {
        let left = object.members.iter().filter(|it| !object.taken.contains(it.key.as_str()));
        let mut ignored = Vec::new();
        for member in left {
            let at = (join(&object.path, &member.key), Some(member.place));
            let renamed = scope.renamed(&member.key);
            if self.is_own() {
                let help = renamed.map(str::to_owned).or_else(|| scope.did_you_mean(&member.key));
                self.problem((&at.0, at.1), "unknown key", help);
            } else {
                ignored.push(format!("`{}`", member.key));
            }
        }
        match ignored.len() {
            0 => {}
            len @ 1..=6 => {
                let (verb, list) = (if len == 1 { "is" } else { "are" }, ignored.join(", "));
                self.note(&object.path, format!("{list} {verb} not known here and ignored"));
            }
            len => {
                ignored.truncate(5);
                let list = ignored.join(", ");
                let what =
                    format!("{list} and {} more keys are not known here and ignored", len - 5);
                self.note(&object.path, what);
            }
        }
    }

    /// A string with its references replaced.
    pub(crate) fn text_of(&mut self, node: &Node, path: &str) -> Option<Read<Text>> {
        let Value::Text(raw) = &node.value else {
            self.want(path, node, "a string");
            return None;
        };
        let place = Some(node.place);
        match substitute(raw, self.env, self.is_tbxark()) {
            Ok(text) if text.expose().contains('\0') => {
                self.problem((path, place), "a NUL character cannot be passed on", None);
                None
            }
            Ok(text) => Some(read(node, path, text.variables(), text.shown(), text.clone())),
            Err(fault) => {
                self.problem((path, place), fault.what, fault.help);
                None
            }
        }
    }

    /// A string, or a number or boolean in its letters: what people write in `args` and `env`.
    fn loose_of(&mut self, node: &Node, path: &str) -> Option<Read<Text>> {
        let text = match &node.value {
            Value::Number(number) => number.clone(),
            Value::Bool(flag) => flag.to_string(),
            _ => return self.text_of(node, path),
        };
        Some(read(node, path, &[], &text, Text::new(&text)))
    }

    pub(crate) fn text(&mut self, object: &mut Object<'_>, key: &str) -> Option<Read<Text>> {
        let (node, path) = object.take(key)?;
        self.text_of(node, &path)
    }

    /// A string that hides nothing, such as a name.
    pub(crate) fn plain(&mut self, object: &mut Object<'_>, key: &str) -> Option<Read<String>> {
        let read = self.text(object, key)?;
        Some(read.map(Text::into_value))
    }

    /// A file's or folder's name, relative to the configuration's folder.
    pub(crate) fn path(&mut self, object: &mut Object<'_>, key: &str) -> Option<Read<PathBuf>> {
        let read = self.plain(object, key)?;
        if read.value.is_empty() || read.value == "~" || read.value.starts_with("~/") {
            let help = "there is no shell here that replaces `~`: write ${HOME}/…";
            self.problem(read.at(), "not a path", Some(help.to_owned()));
            return None;
        }
        let base = self.env.base().to_owned();
        Some(read.map(|path| base.join(path)))
    }

    /// A list of strings. `loose`: numbers and booleans are strings too.
    pub(crate) fn list_of(&mut self, node: &Node, path: &str, loose: bool) -> Vec<Read<Text>> {
        let Value::List(nodes) = &node.value else {
            self.want(path, node, "a list of strings");
            return Vec::new();
        };
        let nodes = nodes.iter().enumerate().map(|(at, node)| (item(path, at), node));
        let read = |(path, node): (String, &Node)| match loose {
            true => self.loose_of(node, &path),
            false => self.text_of(node, &path),
        };
        nodes.filter_map(read).collect()
    }

    /// A list of strings that hide nothing; one string alone is a list of one.
    pub(crate) fn names(
        &mut self,
        object: &mut Object<'_>,
        key: &str,
    ) -> Option<Read<Vec<String>>> {
        let (node, path) = object.take(key)?;
        let list = match &node.value {
            Value::Text(_) => self.text_of(node, &path).into_iter().collect(),
            _ => self.list_of(node, &path, false),
        };
        let shown: Vec<&str> = list.iter().map(|it| it.value.shown()).collect();
        let shown = shown.join(", ");
        let names = list.into_iter().map(|it| it.value.into_value()).collect();
        Some(read(node, &path, &[], &shown, names))
    }

    /// An object of strings (or numbers, or booleans), with the path of each.
    pub(crate) fn pairs(
        &mut self,
        object: &mut Object<'_>,
        key: &str,
    ) -> Vec<(String, Read<Text>)> {
        let Some(mut inner) = self.inner(object, key) else { return Vec::new() };
        let path = inner.path.clone();
        let members = inner.take_all();
        let read = |member: &Member| {
            let path = join(&path, &member.key);
            Some((member.key.clone(), self.loose_of(&member.node, &path)?))
        };
        members.filter_map(read).collect()
    }

    pub(crate) fn flag(&mut self, object: &mut Object<'_>, key: &str) -> Option<Read<bool>> {
        let (node, path) = object.take(key)?;
        if let Value::Bool(flag) = node.value {
            return Some(read(node, &path, &[], &flag.to_string(), flag));
        }
        let text = self.replaced(node, &path, "true or false")?;
        let Ok(flag) = text.value.expose().trim().parse::<bool>() else {
            self.problem(text.at(), "want true or false", None);
            return None;
        };
        Some(Read { shown: flag.to_string(), ..text.map(|_| flag) })
    }

    pub(crate) fn count(&mut self, object: &mut Object<'_>, key: &str) -> Option<Read<usize>> {
        let (node, path) = object.take(key)?;
        let text = match &node.value {
            Value::Number(_) => self.loose_of(node, &path),
            _ => self.replaced(node, &path, "a number"),
        }?;
        let number = text.value.expose().trim().parse::<usize>().ok().filter(|count| *count > 0);
        let Some(count) = number else {
            self.problem(text.at(), "want a whole number, 1 or more", None);
            return None;
        };
        Some(Read { shown: count.to_string(), ..text.map(|_| count) })
    }

    pub(crate) fn size(&mut self, object: &mut Object<'_>, key: &str) -> Option<Read<usize>> {
        let (node, path) = object.take(key)?;
        let text = self.loose_of(node, &path)?;
        let Some(size) = quantity::size(text.value.expose()).filter(|size| *size > 0) else {
            let what = "want a size: \"16KiB\", \"64MiB\", or a number of bytes, 1 or more";
            self.problem(text.at(), what, None);
            return None;
        };
        Some(Read { shown: show_size(size), ..text.map(|_| size) })
    }

    pub(crate) fn duration(
        &mut self,
        object: &mut Object<'_>,
        key: &str,
    ) -> Option<Read<Duration>> {
        let (node, path) = object.take(key)?;
        if let Value::Number(number) = &node.value {
            return self.bare_duration(node, &path, number);
        }
        let text = self.text_of(node, &path)?;
        let found = quantity::duration(text.value.expose()).filter(|it| !it.is_zero());
        let Some(duration) = found else {
            let what =
                "want a duration above zero and up to a year: \"500ms\", \"15s\", \"5m\", \"1h\"";
            self.problem(text.at(), what, None);
            return None;
        };
        Some(Read { shown: show_duration(duration), ..text.map(|_| duration) })
    }

    /// A number without a unit: nanoseconds in TBXark's files, nothing elsewhere.
    fn bare_duration(&mut self, node: &Node, path: &str, number: &str) -> Option<Read<Duration>> {
        let at = (path, Some(node.place));
        if !self.is_tbxark() {
            let help = format!("write \"{number}s\" (or \"{number}ms\"), as you mean it");
            self.problem(at, "a duration needs its unit", Some(help));
            return None;
        }
        let nanos = number.parse().ok().map(Duration::from_nanos);
        let nanos = nanos.filter(|nanos| *nanos <= quantity::DURATION_MAX);
        let Some(duration) = nanos.filter(|nanos| nanos.as_millis() > 0) else {
            let help = format!("write \"{number}s\" (or \"{number}ms\"), as you mean it");
            let what = "a bare number means nanoseconds here, and so many are under a millisecond \
                        or over a year";
            self.problem(at, what, Some(help));
            return None;
        };
        let shown = show_duration(duration);
        self.note(path, format!("a bare number means nanoseconds here; clearer is \"{shown}\""));
        Some(read(node, path, &[], &shown, duration))
    }

    /// One word out of a few.
    pub(crate) fn word<T: Copy>(
        &mut self,
        object: &mut Object<'_>,
        key: &str,
        words: &[(&'static str, T)],
    ) -> Option<Read<T>> {
        let read = self.plain(object, key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == read.value) {
            return Some(read.map(|_| *value));
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let help = schema::did_you_mean(&read.value, known.iter().copied());
        self.problem(read.at(), format!("want one of {}", quoted(&known)), help);
        None
    }

    /// A string that only a reference may have brought: `"${DEBUG:-false}"` is a boolean.
    fn replaced(&mut self, node: &Node, path: &str, want: &str) -> Option<Read<Text>> {
        if !matches!(&node.value, Value::Text(raw) if raw.contains('$')) {
            self.want(path, node, want);
            return None;
        }
        self.text_of(node, path)
    }
}

fn read<T>(node: &Node, path: &str, variables: &[String], shown: &str, value: T) -> Read<T> {
    let key = path.to_owned();
    let origin = Origin::File { key, place: node.place, variables: variables.to_vec() };
    Read { value, shown: shown.to_owned(), origin }
}

/// `"a", "b"`.
pub(crate) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}
