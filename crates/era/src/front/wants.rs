//! What a request of 2026-07-28 says about itself, and wants.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mcp_jsonrpc::{Message, RpcError, modern};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

/// How long what a client can do may be, as JSON.
const CAPABILITIES_LEN_MAX: usize = 8 << 10;

/// How grave a log message may be, from the least.
const LEVELS: [&str; 8] =
    ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// How many ways to say what a client can do are kept, read: clients say the same with each
/// request, and there are few kinds of them.
const CANS_MAX: usize = 64;

/// What clients can do, by what they say of it.
#[derive(Debug, Default)]
pub(super) struct Cans(Mutex<HashMap<Box<str>, Can>>);

/// What a request wants.
#[derive(Debug)]
pub(super) struct Wants {
    pub(super) can: Can,
    pub(super) client_info: Option<Box<RawValue>>,
    pub(super) level: Option<Level>,
    /// Its client's own progress token.
    pub(super) token: Option<Box<RawValue>>,
    /// What it brings along where it is tried again.
    pub(super) retry: Option<Retry>,
}

/// A request that is tried again with answers.
#[derive(Debug)]
pub(super) struct Retry {
    pub(super) state: String,
    pub(super) responses: Option<Box<RawValue>>,
}

/// What a client can do: the same text for all that can do the same.
#[derive(Clone, Debug)]
pub(super) struct Can {
    /// As `initialize` says it.
    pub(super) declared: Arc<str>,
    roots: bool,
    sampling: bool,
    sampling_tools: bool,
    form: bool,
    pub(super) url: bool,
}

/// How grave a log message is at least, by its place among all levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level(u8);

// === impl Wants ===

impl Wants {
    /// Reads what a request says.
    ///
    /// # Errors
    ///
    /// What its client is answered.
    pub(super) fn read(message: &Message, cans: &Cans) -> Result<Self, RpcError> {
        let unread = |error| invalid(format!("`params`: {error}"));
        let [meta, responses, state] = match message.body() {
            None | Some("null") => [None; 3],
            Some(_) => message.pick(["_meta", "inputResponses", "requestState"]).map_err(unread)?,
        };
        let read = |error: serde_json::Error| unread(error.into());
        let meta: Option<modern::RequestMeta<'_>> =
            meta.map(serde_json::from_str).transpose().map_err(read)?.flatten();
        let meta = meta.unwrap_or_default();
        let state = state.filter(|state| *state != "null").map(|state| {
            let text = serde_json::from_str::<String>(state);
            text.map_err(|_| invalid("`requestState` is no string"))
        });
        let state = state.transpose()?;
        let responses: Option<Box<RawValue>> =
            responses.map(serde_json::from_str).transpose().map_err(read)?.flatten();
        Ok(Self {
            can: cans.of(meta.capabilities)?,
            client_info: meta.client_info.map(ToOwned::to_owned),
            level: meta.log_level.map(Level::read).transpose()?,
            token: meta.progress.map(ToOwned::to_owned),
            // Answers to questions that nobody has asked yet are none to go on with.
            retry: state.map(|state| Retry { state, responses }),
        })
    }
}

// === impl Cans ===

impl Cans {
    /// What a client can do that says this.
    fn of(&self, declared: Option<&RawValue>) -> Result<Can, RpcError> {
        let text = declared.map_or("{}", RawValue::get);
        if let Some(known) = self.known().get(text) {
            return Ok(known.clone());
        }
        let can = Can::read(text)?;
        let mut known = self.known();
        if CANS_MAX <= known.len() {
            known.clear();
        }
        known.insert(text.into(), can.clone());
        Ok(can)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Box<str>, Can>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Can ===

impl Can {
    /// Whether it can be asked anything.
    pub(super) fn can_be_asked(&self) -> bool {
        self.roots || self.sampling || self.form || self.url
    }

    fn read(text: &str) -> Result<Self, RpcError> {
        if CAPABILITIES_LEN_MAX < text.len() {
            let words =
                format!("the client's capabilities are more than {CAPABILITIES_LEN_MAX} bytes");
            return Err(invalid(words));
        }
        let declared: Map<String, Value> = serde_json::from_str(text)
            .map_err(|_| invalid(format!("`{}` is no object", modern::CLIENT_CAPABILITIES)))?;
        let part = |name: &str| declared.get(name).and_then(Value::as_object);
        let named = |name: &str, members: [&str; 2]| {
            let part = part(name)?;
            let there =
                members.into_iter().filter(|it| part.get(*it).is_some_and(Value::is_object));
            Some(there.map(|it| (it.to_owned(), json!({}))).collect::<Map<_, _>>())
        };
        let sampling = named("sampling", ["context", "tools"]);
        let mut elicitation = named("elicitation", ["form", "url"]);
        if let Some(modes) = elicitation.as_mut().filter(|modes| modes.is_empty()) {
            // An empty object means forms.
            modes.insert("form".to_owned(), json!({}));
        }
        let has = |part: &Option<Map<String, Value>>, name: &str| {
            part.as_ref().is_some_and(|part| part.contains_key(name))
        };
        let roots = part("roots").is_some();
        let (is_sampling, sampling_tools) = (sampling.is_some(), has(&sampling, "tools"));
        let (form, url) = (has(&elicitation, "form"), has(&elicitation, "url"));
        let mut extensions = part("extensions").cloned().unwrap_or_default();
        extensions.remove(modern::TASKS);
        let mut said = Map::new();
        let parts = [
            ("elicitation", elicitation),
            ("experimental", part("experimental").cloned()),
            ("extensions", Some(extensions).filter(|it| !it.is_empty())),
            ("roots", roots.then(Map::new)),
            ("sampling", sampling),
        ];
        for (name, part) in parts {
            if let Some(part) = part {
                said.insert(name.to_owned(), Value::Object(part));
            }
        }
        let declared = Arc::from(Value::Object(said).to_string());
        Ok(Self { declared, roots, sampling: is_sampling, sampling_tools, form, url })
    }

    /// Whether its client may be asked for its roots.
    pub(super) fn has_roots(&self) -> bool {
        self.roots
    }

    /// Whether a client that can do this may be asked this.
    pub(super) fn allows(&self, question: &Message) -> bool {
        #[derive(Default, Deserialize)]
        struct Asked<'a> {
            #[serde(default)]
            mode: Option<String>,
            #[serde(borrow, default)]
            tools: Option<&'a RawValue>,
        }
        let asked: Asked<'_> = question.read().unwrap_or_default();
        match question.method().unwrap_or_default() {
            "roots/list" => self.roots,
            "sampling/createMessage" => {
                self.sampling && (self.sampling_tools || asked.tools.is_none())
            }
            "elicitation/create" if asked.mode.as_deref() == Some("url") => self.url,
            "elicitation/create" => self.form,
            _ => false,
        }
    }
}

// === impl Level ===

impl Level {
    /// What is never more than anybody wants.
    pub(super) const LEAST: Self = Self(7);

    fn read(level: &RawValue) -> Result<Self, RpcError> {
        let name: String = serde_json::from_str(level.get()).unwrap_or_default();
        let found = Self::named(&name);
        found.ok_or_else(|| invalid(format!("`{}` is no log level", modern::LOG_LEVEL)))
    }

    fn named(name: &str) -> Option<Self> {
        let at = LEVELS.iter().position(|it| *it == name)?;
        u8::try_from(at).ok().map(Self)
    }

    pub(super) fn name(self) -> &'static str {
        LEVELS.get(usize::from(self.0)).copied().unwrap_or("emergency")
    }

    /// Whether a log message is as grave.
    pub(super) fn hears(self, log: &Message) -> bool {
        #[derive(Deserialize)]
        struct Logged {
            level: String,
        }
        let level = log.read::<Logged>().ok().and_then(|it| Self::named(&it.level));
        level.is_some_and(|level| self <= level)
    }
}

pub(super) fn invalid(words: impl Into<std::borrow::Cow<'static, str>>) -> RpcError {
    RpcError::new(RpcError::INVALID_PARAMS, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clients_can_do_is_kept_within_a_bound() {
        let cans = Cans::default();
        let of = |text: &str| {
            let raw = RawValue::from_string(text.to_owned()).unwrap();
            cans.of(Some(&raw))
        };
        let roots = of(r#"{"roots":{}}"#).unwrap();
        assert!(
            roots.has_roots() && Arc::ptr_eq(&roots.declared, &cans_of(&cans, "roots").declared)
        );
        for n in 0..3 * CANS_MAX {
            of(&format!(r#"{{"experimental":{{"x{n}":{{}}}}}}"#)).unwrap();
            assert!(cans.known().len() <= CANS_MAX);
        }
        assert!(of(r#"{"roots":{}}"#).unwrap().has_roots());
        assert!(of("[]").is_err());
        let before = cans.known().len();
        assert!(of(&format!(r#"{{"x":"{}"}}"#, "y".repeat(CAPABILITIES_LEN_MAX))).is_err());
        assert_eq!(cans.known().len(), before, "what is refused is not kept");
    }

    fn cans_of(cans: &Cans, name: &str) -> Can {
        cans.known().get(&*format!(r#"{{"{name}":{{}}}}"#)).unwrap().clone()
    }
}
