//! What servers say, with addresses and ids that lead back to them.

use serde_json::value::RawValue;

use crate::object::Object;

/// Where `_meta` of a tool or a result names its interface: hosts of different ages look in
/// different places.
const UIS: [&str; 2] = ["ui/resourceUri", "openai/outputTemplate"];

/// `_meta` with the addresses of interfaces moved; none if none has to be.
pub(crate) fn move_uis(
    meta: &mut Object<'_>,
    moved: &dyn Fn(String) -> Option<String>,
) -> Option<Box<RawValue>> {
    let mut edited = false;
    if let Some(uri) = meta.get("ui").and_then(|it| move_text(it, "resourceUri", moved)) {
        meta.set("ui", &uri).ok()?;
        edited = true;
    }
    for name in UIS {
        if let Some(uri) = meta.text(name).and_then(moved) {
            meta.set(name, &uri).ok()?;
            edited = true;
        }
    }
    if edited { meta.to_raw().ok() } else { None }
}

/// An object with one of its texts moved; none if it does not have to be.
fn move_text(
    object: &RawValue,
    name: &str,
    moved: &dyn Fn(String) -> Option<String>,
) -> Option<Box<RawValue>> {
    let mut object = Object::read(object).ok()?;
    let text = object.text(name).and_then(moved)?;
    object.set(name, &text).ok()?;
    object.to_raw().ok()
}
