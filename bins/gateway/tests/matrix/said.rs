//! Messages as they were said, taken apart and no further.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A message, and its parts in their own spelling.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) id: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) params: Option<String>,
    pub(crate) result: Option<String>,
    pub(crate) error: Option<String>,
}

impl Said {
    #[track_caller]
    pub(crate) fn read(text: &str) -> Self {
        #[derive(Deserialize)]
        struct Parts<'a> {
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            method: Option<String>,
            #[serde(borrow)]
            params: Option<&'a RawValue>,
            #[serde(borrow)]
            result: Option<&'a RawValue>,
            #[serde(borrow)]
            error: Option<&'a RawValue>,
        }
        let parts: Parts<'_> =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let own = |part: Option<&RawValue>| part.map(|it| it.get().to_owned());
        Self {
            id: own(parts.id),
            params: own(parts.params),
            result: own(parts.result),
            error: own(parts.error),
            method: parts.method,
            text: text.to_owned(),
        }
    }

    /// The messages of a text: one, or those of a batch.
    #[track_caller]
    pub(crate) fn all(text: &str) -> Vec<Self> {
        if !text.trim_start().starts_with('[') {
            return vec![Self::read(text)];
        }
        let parts: Vec<&RawValue> = serde_json::from_str(text).unwrap();
        parts.into_iter().map(|part| Self::read(part.get())).collect()
    }

    pub(crate) fn is(&self, method: &str) -> bool {
        self.method.as_deref() == Some(method)
    }

    /// What is in this place of its parameters, as it was written.
    pub(crate) fn param(&self, path: &[&str]) -> Option<String> {
        inside(self.params.as_deref()?, path)
    }

    /// What is in this place of its result.
    #[track_caller]
    pub(crate) fn out(&self, path: &[&str]) -> String {
        let result = self.result.as_deref().unwrap_or_else(|| panic!("no result: {}", self.text));
        inside(result, path).unwrap_or_else(|| panic!("no {path:?} in {}", self.text))
    }
}

/// What is in this place of a value, as it was written.
pub(crate) fn inside(json: &str, path: &[&str]) -> Option<String> {
    let Some((first, rest)) = path.split_first() else { return Some(json.to_owned()) };
    let found = match first.parse::<usize>() {
        Ok(at) => {
            let all: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            (*all.get(at)?).to_owned()
        }
        Err(_) => {
            let all: std::collections::HashMap<String, Box<RawValue>> =
                serde_json::from_str(json).ok()?;
            all.get(*first)?.clone()
        }
    };
    inside(found.get(), rest)
}

/// A string, read.
pub(crate) fn text(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: no string in {json}"))
}
