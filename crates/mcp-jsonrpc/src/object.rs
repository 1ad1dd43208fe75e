//! Objects whose members stay unread, so that one can be changed and the others keep their bytes.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::{RawValue, to_raw_value};

use crate::ParseError;

/// The members of an object, in the order in which they are written.
#[derive(Debug, Default)]
pub struct Object<'a>(Vec<(String, Cow<'a, RawValue>)>);

impl<'a> Object<'a> {
    /// An object, of which no member is read yet.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where it is none.
    pub fn read(json: &'a RawValue) -> Result<Self, ParseError> {
        Ok(serde_json::from_str(json.get())?)
    }

    /// A member; of several by one name the last, as most readers do.
    pub fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().rev().find(|(it, _)| it == name).map(|(_, value)| &**value)
    }

    /// A member that is text.
    pub fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Takes members away; whether any was there.
    pub fn remove(&mut self, names: &[&str]) -> bool {
        let before = self.0.len();
        self.0.retain(|(it, _)| !names.contains(&it.as_str()));
        self.0.len() < before
    }

    /// Writes a member, in its place or at the end.  It is there once then: a reader that takes
    /// the first of several would otherwise see what was to be replaced.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where the value cannot be written.
    pub fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), ParseError> {
        let value = Cow::Owned(raw(value)?);
        let at = self.0.iter().position(|(it, _)| it == name);
        let mut seen = false;
        self.0.retain(|(it, _)| it != name || !std::mem::replace(&mut seen, true));
        match at.and_then(|at| self.0.get_mut(at)) {
            Some(member) => member.1 = value,
            None => self.0.push((name.to_owned(), value)),
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
            if let Some(new) = edit(value)? {
                (*value, edited) = (Cow::Owned(new), true);
            }
        }
        Ok(edited)
    }

    /// The members, in their order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), &**value))
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their values.
    pub fn values(&self) -> impl Iterator<Item = &RawValue> {
        self.0.iter().map(|(_, value)| &**value)
    }

    /// The object, written.
    ///
    /// # Errors
    ///
    /// [`ParseError`] where it cannot be.
    pub fn to_raw(&self) -> Result<Box<RawValue>, ParseError> {
        raw(self)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((name, Cow::Borrowed(value)));
                }
                Ok(Object(members))
            }
        }
        from.deserialize_map(Members)
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value)))
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
