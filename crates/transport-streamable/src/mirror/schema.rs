//! Which parameters of a tool are mirrored: the annotations `x-mcp-header` of its `inputSchema`.

use std::{borrow::Cow, collections::BTreeMap};

use hyper::header::HeaderName;
use serde_json::{Value, value::RawValue};

use super::{VALUE_LEN_MAX, encode, text_of};
use crate::header::PARAM_PREFIX;

/// How many parameters of one tool may be mirrored.
pub const FIELDS_MAX: usize = 32;

/// The longest name of such a parameter's field, and of the way to it, in bytes.
const NAME_LEN_MAX: usize = 256;
const PATH_LEN_MAX: usize = 1024;

/// The annotation.
pub(super) const ANNOTATION: &str = "x-mcp-header";

/// Integers beyond this are not the same to all readers: 2^53 − 1.
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// Keywords whose values are schemas, so that what is annotated in them is annotated in vain.
const SCHEMAS: [&str; 15] = [
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords whose values are schemas by names.
const NAMED_SCHEMAS: [&str; 5] =
    ["$defs", "definitions", "dependentSchemas", "patternProperties", "dependencies"];

/// Which parameters of a tool are mirrored, and into which fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolFields(Vec<Field>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: HeaderName,
    /// The names of properties, from the root.
    path: Vec<Box<str>>,
}

/// What a parameter's field stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written<'a> {
    /// Not encoded.
    pub(crate) text: Cow<'a, str>,
    /// Whether it is a number, and other spellings of it are the same.
    pub(crate) is_number: bool,
}

/// Why a tool cannot be called over HTTP in 2026-07-28.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// Not a name that a field can have.
    #[error("`x-mcp-header` of `{0}` is not the name of a header field")]
    Name(Box<str>),
    /// Two parameters for one field.
    #[error("two parameters are mirrored into `Mcp-Param-{0}`")]
    Twice(Box<str>),
    /// Only strings, integers and booleans can be mirrored.
    #[error("`{0}` has an `x-mcp-header` and is neither a string nor an integer nor a boolean")]
    Type(Box<str>),
    /// Below something else than `properties`.
    #[error("`x-mcp-header` below `{0}`, where no parameter can be found by its name")]
    Place(Box<str>),
    /// More than [`FIELDS_MAX`].
    #[error("more than {FIELDS_MAX} parameters with an `x-mcp-header`")]
    TooMany,
}

/// Why a request cannot be mirrored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` would be longer than {VALUE_LEN_MAX} bytes, which is more than servers take")]
pub struct NotMirrored {
    /// The field.
    pub field: Box<str>,
}

// === impl ToolFields ===

impl ToolFields {
    /// Reads the annotations of an `inputSchema`.
    ///
    /// # Errors
    ///
    /// [`Invalid`] for annotations that break the rules (2026-07-28, transports, "Schema
    /// Extension"): clients over HTTP must not know such a tool.
    pub fn read(schema: &Value) -> Result<Self, Invalid> {
        let mut fields = Vec::new();
        if schema.get(ANNOTATION).is_some() {
            return Err(Invalid::Place("the root".into()));
        }
        walk(schema, &mut Vec::new(), &mut fields)?;
        Ok(Self(fields))
    }

    /// Whether nothing is mirrored.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this field mirrors a parameter.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.iter().any(|it| it.name.as_str().eq_ignore_ascii_case(field))
    }

    /// The fields of a call with these arguments, and what each has to stand for: nothing where
    /// the argument is absent or null, or of no type that is mirrored.
    pub(crate) fn values<'a>(
        &'a self,
        arguments: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a HeaderName, Option<Written<'a>>)> {
        self.0.iter().map(move |field| {
            let value = arguments.and_then(|it| find(it, &field.path));
            (&field.name, value.and_then(written))
        })
    }

    /// The fields of a call with these arguments, encoded.
    pub(crate) fn mirror(
        &self,
        arguments: Option<&str>,
    ) -> Result<Vec<(HeaderName, String)>, NotMirrored> {
        let present = self.values(arguments).filter_map(|(name, value)| Some((name, value?)));
        let field = |(name, value): (&HeaderName, Written<'_>)| {
            let value = encode(&value.text);
            if VALUE_LEN_MAX < value.len() {
                return Err(NotMirrored { field: name.as_str().into() });
            }
            Ok((name.clone(), value.into_owned()))
        };
        present.map(field).collect()
    }
}

/// Gathers the annotations of what this schema's `properties` name.
fn walk(schema: &Value, path: &mut Vec<Box<str>>, fields: &mut Vec<Field>) -> Result<(), Invalid> {
    let Value::Object(schema) = schema else { return Ok(()) };
    for (keyword, value) in schema {
        if keyword == "properties" {
            let Value::Object(properties) = value else { continue };
            for (name, property) in properties {
                path.push(name.as_str().into());
                if let Some(annotation) = property.get(ANNOTATION) {
                    enter(annotation, property, path, fields)?;
                }
                walk(property, path, fields)?;
                path.pop();
            }
        } else if is_annotated(keyword, value) {
            return Err(Invalid::Place(keyword.as_str().into()));
        }
    }
    Ok(())
}

fn enter(
    annotation: &Value,
    property: &Value,
    path: &[Box<str>],
    fields: &mut Vec<Field>,
) -> Result<(), Invalid> {
    let at = || path.join(".").into();
    let name = annotation.as_str().filter(|it| (1..=NAME_LEN_MAX).contains(&it.len()));
    let name = name.and_then(|name| HeaderName::try_from(format!("{PARAM_PREFIX}{name}")).ok());
    let name = name.ok_or_else(|| Invalid::Name(at()))?;
    let is_primitive = |it: &Value| matches!(it.as_str(), Some("string" | "integer" | "boolean"));
    let fits = match property.get("type") {
        // What may be null besides is left out when it is.
        Some(Value::Array(types)) => {
            let null = |it: &Value| it.as_str() == Some("null");
            types.iter().any(is_primitive) && types.iter().all(|it| is_primitive(it) || null(it))
        }
        Some(one) => is_primitive(one),
        None => false,
    };
    if !fits {
        return Err(Invalid::Type(at()));
    }
    if fields.iter().any(|field| field.name == name) {
        return Err(Invalid::Twice(annotation.as_str().unwrap_or_default().into()));
    }
    if PATH_LEN_MAX < path.iter().map(|it| it.len()).sum() {
        return Err(Invalid::Place("names as long as these".into()));
    }
    if FIELDS_MAX <= fields.len() {
        return Err(Invalid::TooMany);
    }
    fields.push(Field { name, path: path.to_vec() });
    Ok(())
}

/// Whether there is an annotation anywhere in the schemas of a keyword.
fn is_annotated(keyword: &str, value: &Value) -> bool {
    let in_schema = |schema: &Value| match schema {
        Value::Object(members) => {
            members.contains_key(ANNOTATION)
                || members.iter().any(|(keyword, value)| is_annotated(keyword, value))
        }
        _ => false,
    };
    if SCHEMAS.contains(&keyword) {
        return match value {
            Value::Array(schemas) => schemas.iter().any(in_schema),
            schema => in_schema(schema),
        };
    }
    let named = keyword == "properties" || NAMED_SCHEMAS.contains(&keyword);
    named && value.as_object().is_some_and(|schemas| schemas.values().any(in_schema))
}

/// The value at a path of property names.
fn find<'a>(json: &'a str, path: &[Box<str>]) -> Option<&'a str> {
    let Some((first, rest)) = path.split_first() else { return Some(json) };
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(json).ok()?;
    find(members.get(&**first)?.get(), rest)
}

/// A value as text; none of what is not mirrored.
fn written(json: &str) -> Option<Written<'_>> {
    let (text, is_number) = match json.as_bytes().first()? {
        b'"' => (text_of(json)?, false),
        b't' | b'f' => (Cow::Borrowed(json), false),
        b'-' | b'0'..=b'9' => (integer(json)?, true),
        _ => return None,
    };
    Some(Written { text, is_number })
}

/// An integer in decimal, however it is written: `5.0` and `1e2` are integers to JSON Schema.
pub(crate) fn integer(json: &str) -> Option<Cow<'_, str>> {
    if json != "-0" && json.parse::<i64>().is_ok() {
        return Some(Cow::Borrowed(json));
    }
    let number: f64 = json.parse().ok()?;
    let whole = number.fract() == 0.0 && number.abs() <= INTEGER_MAX;
    whole.then(|| Cow::Owned(format!("{}", number as i64)))
}
