//! Arguments that are hidden, fixed, or have another default: in the schema, and in a call.

use std::collections::BTreeMap;

use mcp_jsonrpc::{ParseError, object::Object};
use serde_json::value::RawValue;

use crate::shape::Misfit;

/// What becomes of an argument.
#[derive(Clone, Debug)]
pub enum Argument {
    /// It is not there.
    Hidden,
    /// It is not there, and the server is always told this.
    Fixed(Box<RawValue>),
    /// The server is told this by who does not say otherwise.
    Default(Box<RawValue>),
}

/// What becomes of the arguments of a call.
#[derive(Debug)]
pub struct Arguments(BTreeMap<String, Argument>);

/// Why a call is not passed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Withheld {
    /// It names an argument that is not offered.
    #[error("there is no argument `{0}` here: leave it out")]
    Argument(String),
    /// Its arguments are no object.
    #[error("`arguments` is not an object")]
    Unreadable(#[source] ParseError),
}

// === impl Arguments ===

impl Arguments {
    pub(crate) fn new(arguments: BTreeMap<String, Argument>) -> Self {
        Self(arguments)
    }

    /// The arguments as the server gets them.
    ///
    /// # Errors
    /// They name what is hidden, or are no object.
    pub fn apply(&self, arguments: Option<&RawValue>) -> Result<Box<RawValue>, Withheld> {
        // Some clients write what is missing as null.
        let given = arguments.filter(|it| it.get() != "null");
        // To serde an array of the members in order would do as well.
        if given.is_some_and(|it| !it.get().starts_with('{')) {
            let error = ParseError::Envelope("not an object");
            return Err(Withheld::Unreadable(error));
        }
        let given = given.map(Object::read).transpose().map_err(Withheld::Unreadable)?;
        let mut given = given.unwrap_or_default();
        for (name, argument) in &self.0 {
            match argument {
                Argument::Hidden | Argument::Fixed(_) if given.get(name).is_some() => {
                    return Err(Withheld::Argument(name.clone()));
                }
                Argument::Fixed(value) => given.set(name, value).map_err(Withheld::Unreadable)?,
                Argument::Default(value) if given.get(name).is_none() => {
                    given.set(name, value).map_err(Withheld::Unreadable)?;
                }
                _ => (),
            }
        }
        given.to_raw().map_err(Withheld::Unreadable)
    }
}

impl PartialEq for Argument {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hidden, Self::Hidden) => true,
            (Self::Fixed(ours), Self::Fixed(theirs))
            | (Self::Default(ours), Self::Default(theirs)) => ours.get() == theirs.get(),
            _ => false,
        }
    }
}

/// A schema without what is not offered, and with the defaults there are here.
pub(super) fn adjust(
    schema: &RawValue,
    arguments: &BTreeMap<String, Argument>,
    tool: &str,
    misfits: &mut Vec<Misfit>,
) -> Result<Box<RawValue>, ParseError> {
    let mut schema = Object::read(schema)?;
    let mut properties =
        schema.get("properties").map(Object::read).transpose()?.unwrap_or_default();
    let required = schema.get("required").map(|it| serde_json::from_str(it.get())).transpose()?;
    let before: Vec<String> = required.unwrap_or_default();
    let mut required = before.clone();
    let named = |argument: &str| (tool.to_owned(), argument.to_owned());
    let mut defaults = Vec::new();
    for (name, argument) in arguments {
        let is_known = properties.get(name).is_some();
        if !is_known {
            let (tool, argument) = named(name);
            misfits.push(Misfit::NoArgument { tool, argument });
        }
        if matches!(argument, Argument::Hidden) && required.contains(name) {
            let (tool, argument) = named(name);
            misfits.push(Misfit::Required { tool, argument });
        }
        required.retain(|it| it != name);
        match argument {
            Argument::Hidden | Argument::Fixed(_) => {
                properties.remove(&[name]);
            }
            Argument::Default(value) if is_known => {
                defaults.extend(with_default(properties.get(name), value)?.map(|it| (name, it)));
            }
            Argument::Default(_) => (),
        }
    }
    for (name, value) in defaults {
        properties.set(name, &value)?;
    }
    let properties = properties.to_raw()?;
    schema.set("properties", &properties)?;
    if required.is_empty() && !before.is_empty() {
        schema.remove(&["required"]);
    } else if required != before {
        schema.set("required", &required)?;
    }
    schema.to_raw()
}

/// The schema of one argument, with another default.
fn with_default(
    property: Option<&RawValue>,
    value: &RawValue,
) -> Result<Option<Box<RawValue>>, ParseError> {
    let mut property = match property {
        Some(it) if it.get().starts_with('{') => Object::read(it)?,
        // `true` is any value; `false` is none, and has no default.
        Some(it) if it.get() == "true" => Object::default(),
        _ => return Ok(None),
    };
    property.set("default", &value)?;
    property.to_raw().map(Some)
}
