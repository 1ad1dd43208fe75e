//! Questions that were asked in the place of a result, until their answers come with a retry
//! (2026-07-28, multi round-trip requests).

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use mcp_jsonrpc::{Message, RpcError, modern::Retry, params::CallTool};
use serde_json::{Map, Value};

use crate::random_hex;

/// How many are remembered; one more makes the oldest forgotten.
const ASKED_MAX: usize = 1000;

/// The questions that were asked.
#[derive(Default)]
pub(crate) struct Asked(Mutex<Table>);

#[derive(Default)]
struct Table {
    /// Which request each state was given to: a retry has to be the same.
    of: HashMap<String, String>,
    order: VecDeque<String>,
}

/// What a request brings along.
pub(crate) enum Answers {
    /// Nothing: it is the first try.
    None,
    /// Answers by the keys of their questions.
    Given(Map<String, Value>),
    /// What must not be: why.
    Refused(RpcError),
}

impl Asked {
    /// Remembers a request; what is to come back with its retry.  None without randomness.
    pub(crate) fn remember(&self, message: &Message) -> Option<String> {
        let state = random_hex().ok()?;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while ASKED_MAX <= table.order.len() {
            let oldest = table.order.pop_front()?;
            table.of.remove(&oldest);
        }
        table.order.push_back(state.clone());
        table.of.insert(state.clone(), what(message));
        Some(state)
    }

    /// The answers a request brings.  Its state is good once.
    pub(crate) fn answers(&self, message: &Message) -> Answers {
        let refused =
            |what: &'static str| Answers::Refused(RpcError::new(RpcError::INVALID_PARAMS, what));
        let Ok(retry) = message.read::<Retry<'_>>() else { return Answers::None };
        let state = match retry.request_state.map(|raw| serde_json::from_str(raw.get())) {
            None if retry.input_responses.is_none() => return Answers::None,
            Some(Ok(state)) => state,
            _ => return refused("answers need the `requestState` that came with the questions"),
        };
        let state: String = state;
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = table.of.remove(&state);
        table.order.retain(|it| *it != state);
        drop(table);
        if of.is_none_or(|of| of != what(message)) {
            return refused("`requestState` is none of this request, or was used before");
        }
        let given = retry.input_responses.map_or("{}", |raw| raw.get());
        match serde_json::from_str(given) {
            Ok(answers) => Answers::Given(answers),
            Err(_) => refused("`inputResponses` is an object"),
        }
    }
}

/// Which tool with which arguments.
fn what(message: &Message) -> String {
    let call: Option<CallTool<'_>> = message.read().ok();
    let (name, arguments) = call.map(|it| (it.name, it.arguments)).unwrap_or_default();
    let arguments: Value =
        arguments.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    format!("{name} {arguments}")
}
