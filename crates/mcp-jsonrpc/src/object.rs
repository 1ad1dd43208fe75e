//! Objects whose members stay unread, so that one can be changed and the others keep their bytes.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::{RawValue, to_raw_value};

use crate::{ParseError, skim::Skim};

/// The members of an object, in the order in which they are written.
#[derive(Debug, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// A value: as it stands in what was read, or our own.
#[derive(Debug)]
enum Value<'a> {
    At(&'a str),
    Own(Box<RawValue>),
}

impl Value<'_> {
    fn text(&self) -> &str {
        match self {
            Self::At(text) => text,
            Self::Own(own) => own.get(),
        }
    }

    /// None of what is not JSON, which does not come here.
    fn raw(&self) -> Option<&RawValue> {
        match self {
            Self::At(text) => serde_json::from_str(text).ok(),
            Self::Own(own) => Some(own),
        }
    }
}

/// The members of these names, as they are written: what views of a message are made of, where
/// the rest of it may be long.
///
/// # Errors
///
/// [`ParseError`] where it is no object, or has one of them twice.
pub fn pick<'a, const N: usize>(
    json: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a str>; N], ParseError> {
    let mut found = [None; N];
    each_member(json, |name, value| {
        for (it, found) in names.iter().zip(&mut found) {
            if *it == name && found.replace(value).is_some() {
                return Err(serde_json::Error::custom(format!("duplicate field `{it}`")).into());
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// What [`glance`] has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Glance<'a> {
    /// Whether the array has elements, and none but objects whose `type` is one of those asked for.
    pub is_typed: bool,
    /// The other member, as it is written.
    pub other: Option<&'a str>,
}

/// Looks into an object once, for what lies two levels deep where it is mostly long: of which types
/// the elements of its array `list` are, and its member `other`.
///
/// None where it can't be told so: it is no such object, names something twice or in escapes, or
/// nests deeply.
pub fn glance<'a>(json: &'a str, list: &str, types: &[&str], other: &str) -> Option<Glance<'a>> {
    let mut skim = Skim::new(json);
    let (mut typed, mut found) = (None, None);
    let mut members = skim.open_object()?;
    while let Some(name) = members.name(&mut skim)? {
        let name = json.get(name).filter(|name| !name.contains('\\'))?;
        if name == list {
            if typed.replace(are_typed(&mut skim, json, types)?).is_some() {
                return None;
            }
        } else {
            let value = json.get(skim.ahead(usize::MAX)?)?;
            if name == other && found.replace(value).is_some() {
                return None;
            }
        }
    }
    skim.is_over().then_some(Glance { is_typed: typed == Some(true), other: found })
}

/// Goes behind the array that is ahead: as [`Glance::is_typed`].
fn are_typed(skim: &mut Skim<'_>, json: &str, types: &[&str]) -> Option<bool> {
    let mut elements = skim.open_array()?;
    let (mut any, mut all) = (false, true);
    while elements.is_another(skim)? {
        let (mut members, mut kind) = (skim.open_object()?, None);
        while let Some(name) = members.name(skim)? {
            let name = json.get(name).filter(|name| !name.contains('\\'))?;
            let value = skim.ahead(usize::MAX)?;
            if name == "type" && kind.replace(json.get(value)?).is_some() {
                return None;
            }
        }
        any = true;
        all &= kind.is_some_and(|kind| types.contains(&kind));
    }
    Some(any && all)
}

/// Goes through the members of an object.
fn each_member<'a>(
    json: &'a str,
    mut each: impl FnMut(Cow<'a, str>, &'a str) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    let mut skim = Skim::new(json);
    let mut members = skim.open_object();
    while let Some(open) = &mut members {
        match open.next(&mut skim, usize::MAX) {
            Some(Some((name, value))) => {
                let (Some(name), Some(value)) = (json.get(name), json.get(value)) else { break };
                each(unescaped(name)?, value)?;
            }
            Some(None) if skim.is_over() => return Ok(()),
            Some(None) | None => break,
        }
    }
    // No object, or one that only a slower reader can follow: its words, and its members.
    let object: Slow<'a> = serde_json::from_str(json)?;
    object.0.into_iter().try_for_each(|(name, value)| each(name.into(), value.get()))
}

fn unescaped(name: &str) -> Result<Cow<'_, str>, ParseError> {
    match name.contains('\\') {
        false => Ok(Cow::Borrowed(name)),
        true => Ok(Cow::Owned(serde_json::from_str(&format!("\"{name}\""))?)),
    }
}

impl<'a> Object<'a> {
    /// An object, of which no member is read yet.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where it is none.
    pub fn read(json: &'a RawValue) -> Result<Self, ParseError> {
        Self::parse(json.get())
    }

    /// The same of a text.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where it is no object.
    pub fn parse(json: &'a str) -> Result<Self, ParseError> {
        let mut members = Vec::new();
        each_member(json, |name, value| {
            members.push((name, Value::At(value)));
            Ok(())
        })?;
        Ok(Self(members))
    }

    /// A member; of several by one name the last, as most readers do.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().rev().find(|(it, _)| it == name).and_then(|(_, value)| value.raw())
    }

    /// Whether there is one of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(it, _)| it == name)
    }

    /// A member that is text.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Takes members away; whether any was there.
    pub fn remove(&mut self, names: &[&str]) -> bool {
        let before = self.0.len();
        self.0.retain(|(it, _)| !names.contains(&&**it));
        self.0.len() < before
    }

    /// Writes a member, in its place or at the end.  It is there once then: a reader that takes
    /// the first of several would otherwise see what was to be replaced.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where the value cannot be written.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), ParseError> {
        let value = Value::Own(raw(value)?);
        let at = self.0.iter().position(|(it, _)| it == name);
        let mut seen = false;
        self.0.retain(|(it, _)| it != name || !std::mem::replace(&mut seen, true));
        match at.and_then(|at| self.0.get_mut(at)) {
            Some(member) => member.1 = value,
            None => self.0.push((name.to_owned().into(), value)),
        }
        Ok(())
    }

    /// Writes a member anew if `edit` wants to; whether it did.
    pub fn change(
        &mut self,
        name: &str,
        edit: impl FnOnce(&RawValue) -> Option<Box<RawValue>>,
    ) -> bool {
        let new = self.get(name).and_then(edit);
        new.is_some_and(|new| self.set(name, &new).is_ok())
    }

    /// Writes the values anew that `edit` wants to; whether there were any.
    ///
    /// # Errors
    ///
    /// Those of `edit`.
    pub fn edit(
        &mut self,
        edit: impl Fn(&RawValue) -> Result<Option<Box<RawValue>>, ParseError>,
    ) -> Result<bool, ParseError> {
        let mut edited = false;
        for (_, value) in &mut self.0 {
            let Some(old) = value.raw() else { continue };
            if let Some(new) = edit(old)? {
                (*value, edited) = (Value::Own(new), true);
            }
        }
        Ok(edited)
    }

    /// The members, in their order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().filter_map(|(name, value)| Some((&**name, value.raw()?)))
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their values.
    pub fn values(&self) -> impl Iterator<Item = &RawValue> {
        self.0.iter().filter_map(|(_, value)| value.raw())
    }

    /// The object, written.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where it cannot be.
    pub fn to_raw(&self) -> Result<Box<RawValue>, ParseError> {
        let mut out = String::new();
        self.write(&mut out)?;
        Ok(RawValue::from_string(out)?)
    }

    /// How long it is when written, as long as no name has escapes.
    pub(crate) fn len_about(&self) -> usize {
        let member = |(name, value): &(Cow<'_, str>, Value<'_>)| name.len() + value.text().len();
        let members = self.0.iter().map(|it| 4 + member(it)).sum::<usize>();
        if self.0.is_empty() { 2 } else { 1 + members }
    }

    pub(crate) fn write(&self, out: &mut String) -> Result<(), ParseError> {
        out.push('{');
        for (at, (name, value)) in self.0.iter().enumerate() {
            if 0 < at {
                out.push(',');
            }
            if name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..=0x1f)) {
                out.push_str(&serde_json::to_string(name)?);
            } else {
                out.push('"');
                out.push_str(name);
                out.push('"');
            }
            out.push(':');
            out.push_str(value.text());
        }
        out.push('}');
        Ok(())
    }
}

/// The members of an object that was read the long way.
struct Slow<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Slow<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Slow<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Slow(members))
            }
        }
        from.deserialize_map(Members)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Slow(members) = Slow::deserialize(from)?;
        let members = members.into_iter();
        Ok(Self(members.map(|(name, value)| (name.into(), Value::At(value.get()))).collect()))
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value.raw())))
    }
}

/// Writes a value.
///
/// # Errors
///
/// [`ParseError`] where it cannot be written.
pub fn raw(value: &impl Serialize) -> Result<Box<RawValue>, ParseError> {
    Ok(to_raw_value(value)?)
}

/// An array in which `edit` has written some elements anew, or left out; none if it did neither.
///
/// # Errors
///
/// [`ParseError`] where it is no array, and those of `edit`.
pub fn edit_array(
    array: &RawValue,
    edit: impl Fn(usize, &RawValue) -> Result<Edit, ParseError>,
) -> Result<Option<Box<RawValue>>, ParseError> {
    let elements: Vec<&RawValue> = serde_json::from_str(array.get())?;
    let mut edited = false;
    let mut kept: Vec<Cow<'_, RawValue>> = Vec::with_capacity(elements.len());
    for (at, element) in elements.into_iter().enumerate() {
        match edit(at, element)? {
            Edit::Keep => kept.push(Cow::Borrowed(element)),
            Edit::With(new) => {
                edited = true;
                kept.extend(new.into_iter().map(Cow::Owned));
            }
        }
    }
    if edited { raw(&kept).map(Some) } else { Ok(None) }
}

/// What becomes of an element.
#[derive(Debug)]
pub enum Edit {
    /// It stays.
    Keep,
    /// These take its place.
    With(Vec<Box<RawValue>>),
}

impl From<Option<Box<RawValue>>> for Edit {
    fn from(new: Option<Box<RawValue>>) -> Self {
        new.map_or(Self::Keep, |new| Self::With(vec![new]))
    }
}

/// The `type` of a block of content or of a schema.
pub fn type_of(json: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    serde_json::from_str::<Typed>(json.get()).ok().map(|it| it.r#type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_tells_types_and_a_member() {
        let types = ["\"text\"", "\"image\""];
        let look = |json| glance(json, "list", &types, "other");
        let seen = |is_typed, other| Some(Glance { is_typed, other });
        assert_eq!(
            look(
                r#" { "a":[{"type":1}], "list" : [ {"x":{"type":2},"type" : "text"} , {"type":"image"}], "other":[ 1 ] } "#
            ),
            seen(true, Some("[ 1 ]"))
        );
        assert_eq!(look(r#"{"list":[{"type":"text"},{"type":"audio"}]}"#), seen(false, None));
        for json in [r#"{"list":[]}"#, r#"{"list":[{"x":1}]}"#, r#"{"list":[{"type":1}]}"#, "{}"] {
            assert_eq!(look(json), seen(false, None), "{json}");
        }
        for json in [
            r#"{"list":[{"type":"text"}],"list":[]}"#,
            r#"{"other":1,"other":1}"#,
            r#"{"list":[{"type":"text","type":"text"}]}"#,
            r#"{"list":[{"ty\u0070e":"audio","type":"text"}]}"#,
            r#"{"l\u0069st":[]}"#,
            r#"{"list":{}}"#,
            r#"{"list":[1]}"#,
            r#"{"list":[{"type":"text"}]"#,
            r#"{"list":[{"type":"text"},]}"#,
            r#"{"list":[{"type":"text"}]} 1"#,
            "[]",
            "",
        ] {
            assert_eq!(look(json), None, "{json}");
        }
    }

    #[test]
    fn what_is_not_touched_keeps_its_bytes() {
        let json = RawValue::from_string(r#"{"a":1e400,"b":[ 1 ],"a":2}"#.to_owned()).unwrap();
        let mut object = Object::read(&json).unwrap();
        object.set("c", &"x").unwrap();
        assert_eq!(object.to_raw().unwrap().get(), r#"{"a":1e400,"b":[ 1 ],"a":2,"c":"x"}"#);
        object.set("a", &true).unwrap();
        assert_eq!(object.to_raw().unwrap().get(), r#"{"a":true,"b":[ 1 ],"c":"x"}"#);
        assert!(object.remove(&["a"]) && !object.remove(&["a"]));
        assert_eq!(object.to_raw().unwrap().get(), r#"{"b":[ 1 ],"c":"x"}"#);
        assert_eq!(object.text("c").as_deref(), Some("x"));
    }
}
