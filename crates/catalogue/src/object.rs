//! Objects whose members stay unread, so that one can be changed and the others keep their bytes.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};
use serde_json::{
    Error,
    value::{RawValue, to_raw_value},
};

/// The members of an object, in the order in which they are written.
#[derive(Debug, Default)]
pub(crate) struct Object<'a>(Vec<(String, Cow<'a, RawValue>)>);

impl<'a> Object<'a> {
    pub(crate) fn read(json: &'a RawValue) -> Result<Self, Error> {
        serde_json::from_str(json.get())
    }

    /// A member; of several by one name the last, as most readers do.
    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().rev().find(|(it, _)| it == name).map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(it, _)| it == name)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Takes a member away; whether it was there.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(it, _)| it != name);
        self.0.len() < before
    }

    /// Writes a member, in its place or at the end.  It is there once then: a reader that takes
    /// the first of several would otherwise see what was to be replaced.
    pub(crate) fn set(&mut self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let value = Cow::Owned(to_raw_value(value)?);
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
    pub(crate) fn change(
        &mut self,
        name: &str,
        edit: impl FnOnce(&RawValue) -> Option<Box<RawValue>>,
    ) -> bool {
        let new = self.get(name).and_then(edit);
        new.is_some_and(|new| self.set(name, &new).is_ok())
    }

    pub(crate) fn to_raw(&self) -> Result<Box<RawValue>, Error> {
        to_raw_value(self)
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

/// An array in which `edit` has written some elements anew; none if it has not.
pub(crate) fn change_each(
    array: &RawValue,
    edit: impl Fn(&RawValue) -> Option<Box<RawValue>>,
) -> Option<Box<RawValue>> {
    let elements: Vec<&RawValue> = serde_json::from_str(array.get()).ok()?;
    let mut edited = false;
    let mut kept: Vec<Cow<'_, RawValue>> = Vec::with_capacity(elements.len());
    for element in elements {
        let new = edit(element);
        edited |= new.is_some();
        kept.push(new.map_or(Cow::Borrowed(element), Cow::Owned));
    }
    if edited { to_raw_value(&kept).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn what_is_not_touched_keeps_its_bytes() {
        let json = raw(r#"{"a":1e400,"b":[ 1 ],"a":2}"#);
        let mut object = Object::read(&json).unwrap();
        object.set("c", &"x").unwrap();
        assert_eq!(object.to_raw().unwrap().get(), r#"{"a":1e400,"b":[ 1 ],"a":2,"c":"x"}"#);
        object.set("a", &true).unwrap();
        assert_eq!(object.to_raw().unwrap().get(), r#"{"a":true,"b":[ 1 ],"c":"x"}"#);
        assert!(object.remove("a") && !object.remove("a"));
        assert_eq!(object.to_raw().unwrap().get(), r#"{"b":[ 1 ],"c":"x"}"#);
        assert_eq!(object.text("c").as_deref(), Some("x"));
    }
}
