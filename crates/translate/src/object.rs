//! Objects whose members stay unread, so that one can be changed and the others keep their bytes.

use std::{borrow::Cow, fmt};

use mcp_jsonrpc::ParseError;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::{RawValue, to_raw_value};

/// The members of an object, in the order in which they are written.
#[derive(Debug, Default)]
pub(crate) struct Object<'a>(Vec<(String, Cow<'a, RawValue>)>);

impl<'a> Object<'a> {
    pub(crate) fn read(json: &'a RawValue) -> Result<Self, ParseError> {
        Ok(serde_json::from_str(json.get())?)
    }

    /// A member; of several by one name the last, as most readers do.
    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().rev().find(|(it, _)| it == name).map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Takes members away; whether any was there.
    pub(crate) fn remove(&mut self, names: &[&str]) -> bool {
        let before = self.0.len();
        self.0.retain(|(it, _)| !names.contains(&it.as_str()));
        self.0.len() < before
    }

    /// Writes a member, in its place or at the end.
    pub(crate) fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), ParseError> {
        let value = Cow::Owned(raw(value)?);
        match self.0.iter().rposition(|(it, _)| it == name) {
            Some(at) => {
                if let Some(member) = self.0.get_mut(at) {
                    member.1 = value;
                }
            }
            None => self.0.push((name.to_owned(), value)),
        }
        Ok(())
    }

    /// Writes the values anew that `edit` wants to; whether there were any.
    pub(crate) fn edit(
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

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), &**value))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &RawValue> {
        self.0.iter().map(|(_, value)| &**value)
    }

    pub(crate) fn to_raw(&self) -> Result<Box<RawValue>, ParseError> {
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
pub(crate) fn raw(value: &impl Serialize) -> Result<Box<RawValue>, ParseError> {
    Ok(to_raw_value(value)?)
}

/// An array in which `edit` has written some elements anew, or left out; none if it did neither.
pub(crate) fn edit_array(
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
pub(crate) enum Edit {
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
pub(crate) fn type_of(json: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Typed {
        r#type: String,
    }
    serde_json::from_str::<Typed>(json.get()).ok().map(|it| it.r#type)
}
