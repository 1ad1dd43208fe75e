//! What an SDK was told, without what differs between SDKs and means nothing.

use serde_json::{Value, json};

/// A result without these members, those that say nothing, the point of whole numbers, and the day,
/// which is another one after midnight.
pub(crate) fn without(value: &Value, added: &[&str]) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(name, value)| {
                let silent = value.is_null() || (*name == "isError" && **value == json!(false));
                !silent && !added.contains(&name.as_str())
            });
            Value::Object(kept.map(|(name, value)| (name.clone(), without(value, added))).collect())
        }
        Value::Array(values) => values.iter().map(|value| without(value, added)).collect(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => json!(float as i64),
            _ => value.clone(),
        },
        Value::String(text) => json!(dayless(text)),
        _ => value.clone(),
    }
}

/// A text in which every `2026-11-21` is the same day, and the next.
fn dayless(text: &str) -> String {
    let day = |word: &[u8]| {
        word.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
    };
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while at + 10 <= bytes.len() {
        if day(&bytes[at..at + 10]) {
            bytes[at..at + 10].copy_from_slice(b"YYYY-MM-DD");
        }
        at += 1;
    }
    String::from_utf8(bytes).unwrap()
}
