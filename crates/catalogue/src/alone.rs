//! Shapes over one server alone: its names stay what they are, but for what is renamed.
//!
//! Nothing is gathered for it: its lists are passed on page by page, without what is hidden, and
//! what leads to something hidden leads nowhere.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use mcp_jsonrpc::{Kind, Message, ParseError, object::Object};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Entry, Hints, List, Lost, Rule, Shape,
    lost::shortened,
    shape::{Arguments, Override},
    view::listing,
};

/// Shapes over one server alone.
#[derive(Clone, Debug, Default)]
pub struct Alone {
    shapes: Vec<Arc<Shape>>,
    /// Tools that are shown otherwise, by their servers' names.
    overrides: HashMap<Box<str>, Over>,
    /// Those that have another name here, by that.
    renamed: HashMap<Box<str>, Box<str>>,
    by_hints: bool,
}

#[derive(Clone, Debug)]
struct Over {
    name: Option<Box<str>>,
    arguments: Option<Arc<Arguments>>,
}

/// What a server says of its tools, where that decides which exist.
#[derive(Clone, Debug, Default)]
pub struct Known(HashMap<Box<str>, Hints>);

// === impl Alone ===

impl Alone {
    /// These shapes, over each other.
    pub fn new(shapes: Vec<Arc<Shape>>) -> Self {
        let by_hints = shapes.iter().any(|it| {
            let rules = it.tools.allow.iter().flatten().chain(&it.tools.deny);
            rules.into_iter().any(|rule| matches!(rule, Rule::Hint(..)))
        });
        let (mut overrides, mut renamed) = (HashMap::new(), HashMap::new());
        for tool in shapes.iter().flat_map(|it| it.overrides.keys()) {
            let all: Vec<&Override> =
                shapes.iter().filter_map(|it| it.overrides.get(tool)).collect();
            let Some(all) = Override::all(&all) else { continue };
            let name = all.name.as_deref().filter(|name| name != tool).map(Box::from);
            if let Some(name) = &name {
                renamed.insert(Box::clone(name), tool.as_str().into());
            }
            let arguments = (!all.arguments.is_empty())
                .then(|| Arc::new(Arguments::new(all.arguments.clone())));
            overrides.insert(tool.as_str().into(), Over { name, arguments });
        }
        Self { shapes, overrides, renamed, by_hints }
    }

    /// Whether everything is shown as it is.
    pub fn is_plain(&self) -> bool {
        self.shapes.iter().all(|it| **it == Shape::default())
    }

    /// Whether it takes what the server says of its tools to know which exist.
    pub fn is_by_hints(&self) -> bool {
        self.by_hints
    }

    /// The answer to a request for a list, without what is hidden; what stays as it is keeps its
    /// bytes.  What is said of tools is noted in `known`.
    ///
    /// # Errors
    /// It is no answer to such a request.
    pub fn listed(
        &self,
        list: List,
        answer: &Message,
        known: &mut Known,
    ) -> Result<Message, ParseError> {
        if answer.kind() != Kind::Response {
            return Ok(answer.clone());
        }
        let body: &RawValue = answer.read()?;
        let result = Object::read(body)?;
        let Some(raw) = result.get(list.member()) else {
            return Err(ParseError::Envelope("a list without its entries"));
        };
        let entries: Vec<&RawValue> = serde_json::from_str(raw.get())?;
        let mut shown: Vec<Cow<'_, RawValue>> = Vec::with_capacity(entries.len());
        let mut is_same = true;
        for raw in &entries {
            let entry = self.shown(list, raw, known);
            is_same &= matches!(entry, Some(Cow::Borrowed(_)));
            shown.extend(entry);
        }
        if is_same {
            return Ok(answer.clone());
        }
        let mut result = Object::read(body)?;
        result.set(list.member(), &shown)?;
        answer.with_part(body, &result)
    }

    fn shown<'a>(
        &self,
        list: List,
        raw: &'a RawValue,
        known: &mut Known,
    ) -> Option<Cow<'a, RawValue>> {
        // What has no name can be neither allowed nor called.
        let entry = Entry::read(list, raw)?;
        let key = entry.key();
        if list == List::Tools {
            if self.by_hints {
                known.0.insert(key.into(), entry.hints());
            }
            // Another one has that name here.
            if self.renamed.get(key).is_some_and(|it| **it != *key) {
                return None;
            }
        }
        let shaped = Shape::apply(&self.shapes, list, &entry, &mut Vec::new())?;
        if shaped.name == key && matches!(shaped.raw, Cow::Borrowed(_)) {
            return Some(Cow::Borrowed(raw));
        }
        let mut out = String::new();
        listing::write_as(&mut out, list, &shaped.raw, &shaped.name, None);
        RawValue::from_string(out).ok().map(Cow::Owned)
    }

    /// A request as the server gets it.  Where hints decide, `known` has to be what it says of its
    /// tools.
    ///
    /// # Errors
    /// It asks for what is hidden, or names arguments that are.
    pub fn direct(&self, request: &Message, known: &Known) -> Result<Message, Lost> {
        #[derive(Deserialize)]
        struct Asked<'a> {
            #[serde(borrow, default)]
            name: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            uri: Option<Cow<'a, str>>,
            #[serde(borrow, default, rename = "ref")]
            of: Option<Reference<'a>>,
        }
        #[derive(Deserialize)]
        struct Reference<'a> {
            #[serde(borrow, default)]
            name: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            uri: Option<Cow<'a, str>>,
        }
        let (name, uri, list) = match request.method() {
            Some("tools/call") => return self.called(request, known),
            Some("prompts/get") => (request.read::<Asked<'_>>()?.name, None, List::Prompts),
            Some("resources/read" | "resources/subscribe" | "resources/unsubscribe") => {
                (None, request.read::<Asked<'_>>()?.uri, List::Resources)
            }
            Some("completion/complete") => {
                let of = request.read::<Asked<'_>>()?.of;
                match of {
                    Some(Reference { name: Some(name), .. }) => (Some(name), None, List::Prompts),
                    Some(Reference { uri, .. }) => (None, uri, List::Templates),
                    None => (None, None, List::Prompts),
                }
            }
            _ => return Ok(request.clone()),
        };
        // What names nothing is refused by the server, in its own words.
        let Some(asked) = name.or(uri) else { return Ok(request.clone()) };
        match Shape::admit(&self.shapes, list, &[&asked], Hints::default()) {
            true => Ok(request.clone()),
            false => Err(Lost::Unknown { list, name: shortened(&asked) }),
        }
    }

    fn called(&self, request: &Message, known: &Known) -> Result<Message, Lost> {
        #[derive(Deserialize)]
        struct Called<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
            #[serde(borrow, default)]
            arguments: Option<&'a RawValue>,
        }
        let call: Called<'_> = request.read()?;
        let unknown = || Lost::Unknown { list: List::Tools, name: shortened(&call.name) };
        let original = match self.renamed.get(&*call.name) {
            Some(original) => &**original,
            None => &*call.name,
        };
        let over = self.overrides.get(original);
        let shown = over.and_then(|it| it.name.as_deref()).unwrap_or(original);
        if shown != call.name {
            return Err(unknown());
        }
        let hints = known.0.get(original);
        if self.by_hints && hints.is_none() {
            return Err(unknown());
        }
        let hints = hints.copied().unwrap_or_default();
        if !Shape::admit(&self.shapes, List::Tools, &[original, shown], hints) {
            return Err(unknown());
        }
        let arguments = over.and_then(|it| it.arguments.as_deref());
        let arguments = arguments.map(|it| it.apply(call.arguments)).transpose();
        let withheld = |withheld| Lost::Withheld { name: shortened(&call.name), withheld };
        let arguments = arguments.map_err(withheld)?;
        if arguments.is_none() && original == shown {
            return Ok(request.clone());
        }
        let body: &RawValue = request.read()?;
        let mut params = Object::read(body)?;
        params.set("name", &original)?;
        arguments.iter().try_for_each(|it| params.set("arguments", it))?;
        Ok(request.with_part(body, &params)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Argument, Filter, Glob, Hint};

    const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a" , "x":1e400},{"name":"b","annotations":{"readOnlyHint":true},"inputSchema":{"type":"object","properties":{"k":{},"l":{}}}}],"nextCursor":"c"}}"#;

    fn message(text: &str) -> Message {
        Message::parse(text.to_owned()).unwrap()
    }

    fn call(name: &str, arguments: &str) -> Message {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}}}}}"#
        );
        message(&text)
    }

    fn filtered(filter: Filter) -> Alone {
        Alone::new(vec![Arc::new(Shape { tools: filter, ..Shape::default() })])
    }

    fn direct(alone: &Alone, request: &Message, known: &Known) -> Result<String, String> {
        let message = alone.direct(request, known).map_err(|it| it.to_string())?;
        Ok(message.body().unwrap().to_owned())
    }

    #[test]
    fn what_is_hidden_is_neither_listed_nor_callable() {
        let a = || vec![Rule::Name(Glob::exact("a"))];
        let b = || vec![Rule::Name(Glob::new("[b]*")), Rule::Name(Glob::new("b*"))];
        for filter in
            [Filter { allow: Some(a()), deny: Vec::new() }, Filter { allow: None, deny: b() }]
        {
            let (alone, mut known) = (filtered(filter), Known::default());
            let listed = alone.listed(List::Tools, &message(LIST), &mut known).unwrap();
            let listed = listed.body().unwrap();
            assert_eq!(listed, r#"{"tools":[{"name":"a" , "x":1e400}],"nextCursor":"c"}"#);
            assert_eq!(direct(&alone, &call("b", "{}"), &known).unwrap_err(), "Unknown tool: b");
            let untouched = call("a", "{ }");
            assert_eq!(direct(&alone, &untouched, &known).unwrap(), untouched.body().unwrap());
        }
        let open = filtered(Filter::default());
        let listed = open.listed(List::Tools, &message(LIST), &mut Known::default()).unwrap();
        assert!(open.is_plain() && listed.as_bytes() == LIST.as_bytes());
    }

    #[test]
    fn what_servers_say_of_their_tools_decides() {
        let rules = vec![Rule::Hint(Hint::ReadOnly, true)];
        let alone = filtered(Filter { allow: Some(rules), deny: Vec::new() });
        let mut known = Known::default();
        assert!(alone.is_by_hints() && direct(&alone, &call("b", "{}"), &known).is_err());
        let listed = alone.listed(List::Tools, &message(LIST), &mut known).unwrap();
        assert!(!listed.body().unwrap().contains(r#""a""#));
        assert!(direct(&alone, &call("b", "{}"), &known).is_ok());
        assert_eq!(direct(&alone, &call("a", "{}"), &known).unwrap_err(), "Unknown tool: a");
    }

    #[test]
    fn a_tool_that_is_shown_otherwise() {
        let fixed = serde_json::value::to_raw_value(&json!(7)).unwrap();
        let over = Override {
            name: Some("c".to_owned()),
            description: Some("d".to_owned()),
            arguments: [("k".to_owned(), Argument::Fixed(fixed))].into(),
        };
        let overrides = [("b".to_owned(), over)].into();
        let alone = Alone::new(vec![Arc::new(Shape { overrides, ..Shape::default() })]);
        let known = &mut Known::default();
        let listed = alone.listed(List::Tools, &message(LIST), known).unwrap();
        let listed: serde_json::Value =
            serde_json::from_str(&listed.body().unwrap().replace("1e400", "1")).unwrap();
        assert_eq!(listed["tools"][1]["name"], "c");
        assert_eq!(listed["tools"][1]["description"], "d");
        assert_eq!(listed["tools"][1]["inputSchema"]["properties"], json!({ "l": {} }));
        assert_eq!(direct(&alone, &call("b", "{}"), known).unwrap_err(), "Unknown tool: b");
        assert_eq!(
            direct(&alone, &call("c", r#"{"l":1e400}"#), known).unwrap(),
            r#"{"name":"b","arguments":{"l":1e400,"k":7}}"#
        );
        assert!(direct(&alone, &call("c", r#"{"k":1}"#), known).unwrap_err().contains("`k`"));
    }

    #[test]
    fn prompts_and_resources() {
        let shape = Shape {
            prompts: Filter { allow: None, deny: vec![Rule::Name(Glob::new("*"))] },
            resources: Filter {
                allow: Some(vec![Rule::Name(Glob::new("file:///a/*"))]),
                deny: Vec::new(),
            },
            ..Shape::default()
        };
        let alone = Alone::new(vec![Arc::new(shape)]);
        let ask = |method: &str, params: &str| {
            let text =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            direct(&alone, &message(&text), &Known::default()).is_ok()
        };
        assert!(!ask("prompts/get", r#"{"name":"x"}"#));
        assert!(ask("resources/read", r#"{"uri":"file:///a/b"}"#));
        assert!(!ask("resources/subscribe", r#"{"uri":"file:///b"}"#));
        assert!(!ask("completion/complete", r#"{"ref":{"type":"ref/prompt","name":"x"}}"#));
        assert!(ask("completion/complete", r#"{"ref":{"type":"r","uri":"file:///a/{b}"}}"#));
        assert!(ask("nobody/knows", "{}"));
    }
}
