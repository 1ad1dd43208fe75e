//! Pieces of content that need no thought.

use serde_json::{Value, json};

/// An image of one pixel, as PNG in base64.
pub(crate) const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9\
    awAAAABJRU5ErkJggg==";

/// Two milliseconds of silence, as WAV in base64.
pub(crate) const WAV: &str = "UklGRjQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAf\
    AAABAAgAZGF0YRAAAACAgICAgICAgICAgICAgICA";

/// One text.
pub(crate) fn text(text: impl Into<String>) -> Value {
    json!({ "type": "text", "text": text.into() })
}

/// The icon of all that is listed.
pub(crate) fn icons() -> Value {
    let src = format!("data:image/png;base64,{PNG}");
    json!([{ "src": src, "mimeType": "image/png", "sizes": ["1x1"] }])
}
