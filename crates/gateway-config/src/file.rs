//! The file as written: JSON with comments and trailing commas, each value knowing its place.

use std::collections::BTreeMap;

use jsonc_parser::{CollectOptions, ParseOptions, ast, common::Ranged};

use crate::problem::{Place, Problem};

/// The longest file we read, in bytes: a configuration of thousands of servers is far below.
pub const FILE_LEN_MAX: usize = 4 << 20;

/// A value and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// The six kinds of JSON values. A number stays in its letters.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// One member of an object. Keys are unique: the parser refuses a second one.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) node: Node,
}

/// Reads a text. Every problem found is in `Err`: one for broken JSON, one for each key given
/// twice.
pub(crate) fn parse(text: &str) -> Result<Node, Vec<Problem>> {
    if text.len() > FILE_LEN_MAX {
        let what = format!("longer than {FILE_LEN_MAX} bytes: this is no configuration");
        return Err(vec![Problem::whole(what)]);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsed = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &options());
    let parsed = parsed.map_err(|error| {
        let place = Lines::new(text).place(error.range().start);
        let what = format!("not JSON: {}", lower(&error.kind().to_string()));
        vec![Problem { place: Some(place), ..Problem::whole(what) }]
    })?;
    let Some(value) = parsed.value else {
        return Err(vec![Problem::whole("the file is empty: want an object, `{ … }`")]);
    };
    let mut reading = Reading { lines: Lines::new(text), problems: Vec::new() };
    let node = reading.node(&value, "");
    if reading.problems.is_empty() { Ok(node) } else { Err(reading.problems) }
}

/// Comments and trailing commas, and nothing else that JSON has not.
fn options() -> ParseOptions {
    ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

struct Reading<'t> {
    lines: Lines<'t>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    /// The parser below us goes no deeper than 512, hence neither does this.
    fn node(&mut self, from: &ast::Value<'_>, path: &str) -> Node {
        let place = self.lines.place(from.range().start);
        let value = match from {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(flag) => Value::Bool(flag.value),
            ast::Value::NumberLit(number) => Value::Number(number.value.to_owned()),
            ast::Value::StringLit(text) => Value::Text(text.value.clone().into_owned()),
            ast::Value::Array(list) => {
                let nodes = list.elements.iter().enumerate();
                Value::List(nodes.map(|(at, node)| self.node(node, &item(path, at))).collect())
            }
            ast::Value::Object(object) => self.members(object, path),
        };
        Node { place, value }
    }

    fn members(&mut self, object: &ast::Object<'_>, path: &str) -> Value {
        let mut seen = BTreeMap::new();
        let mut members = Vec::with_capacity(object.properties.len());
        for property in &object.properties {
            let key = property.name.as_str().to_owned();
            let place = self.lines.place(property.name.range().start);
            let path = join(path, &key);
            if let Some(first) = seen.insert(key.clone(), place) {
                let what = format!("given twice: also at {first}");
                self.problems.push(Problem { key: path, place: Some(place), what, help: None });
                continue;
            }
            let node = self.node(&property.value, &path);
            members.push(Member { key, place, node });
        }
        Value::Object(members)
    }
}

/// Where the lines begin, to turn an offset into a [`Place`].
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(breaks).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|line| self.starts.get(line)).copied();
        let before = self.text.get(start.unwrap_or(0)..offset).unwrap_or_default();
        Place { line, column: before.chars().count() + 1 }
    }
}

impl Node {
    /// What it is, in words, for "want a string, not …".
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }

    /// Its members, if it is an object.
    pub(crate) fn members(&self) -> Option<&[Member]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// One member's value, if it is an object that has it and it is not null.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        let member = self.members()?.iter().find(|member| member.key == key)?;
        (!matches!(member.node.value, Value::Null)).then_some(&member.node)
    }
}

/// The path to a member: `a.b`, or `a["odd key"]`.
pub(crate) fn join(path: &str, key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/$@:".contains(&byte);
    match (path, !key.is_empty() && key.bytes().all(plain)) {
        ("", true) => key.to_owned(),
        (_, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key:?}]"),
    }
}

/// The path to an element.
pub(crate) fn item(path: &str, at: usize) -> String {
    format!("{path}[{at}]")
}

#[cfg(test)]
mod tests;
