//! Progress tokens on a shared link: one of ours for each request, used once.
//!
//! Clients pick the same tokens, and a server may report on a request that has long been
//! cancelled: a token that is used twice would carry one client's progress to another.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use mcp_jsonrpc::{
    Message,
    params::{AnyParams, PROGRESS_TOKEN, Progress},
    quick::QuickMap,
};
use serde_json::value::RawValue;

/// How many tokens of tasks are kept: a task reports after its request was answered.
const KEPT_MAX: usize = 4096;

/// The tokens in use on one link, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    last: AtomicU64,
    open: Mutex<QuickMap<u64, Token>>,
}

#[derive(Debug)]
struct Token {
    session: u64,
    theirs: Box<RawValue>,
}

// === impl Tokens ===

impl Tokens {
    /// Writes a token of ours in the place of the client's; its number, if there is one.
    pub(crate) fn enter(&self, session: u64, message: &Message) -> Option<(u64, Message)> {
        if !message.has(&PROGRESS_TOKEN) {
            return None;
        }
        let params: AnyParams<'_> = message.read().ok()?;
        let theirs = params.meta.progress?;
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let edited = message.with_part(theirs, &written(number)).ok()?;
        let mut open = self.lock();
        if KEPT_MAX <= open.len()
            && let Some(oldest) = open.keys().min().copied()
        {
            open.remove(&oldest);
        }
        open.insert(number, Token { session, theirs: theirs.to_owned() });
        Some((number, edited))
    }

    /// Nothing more will be said of this.
    pub(crate) fn leave(&self, number: u64) {
        self.lock().remove(&number);
    }

    /// Whose progress this is, and as it knows it.
    pub(crate) fn restore(&self, message: &Message) -> Option<(u64, Message)> {
        let Progress { progress_token } = message.read().ok()?;
        let number = read(progress_token)?;
        let open = self.lock();
        let token = open.get(&number)?;
        let message = message.with_part(progress_token, &&*token.theirs).ok()?;
        Some((token.session, message))
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, QuickMap<u64, Token>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn written(number: u64) -> String {
    format!("gateway-{number}")
}

fn read(token: &RawValue) -> Option<u64> {
    let text: &str = serde_json::from_str(token.get()).ok()?;
    text.strip_prefix("gateway-")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_its_sessions_own_and_used_once() {
        let tokens = Tokens::default();
        let call = Message::parse(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"progressToken":7, "x":1e400}}}"#,
        )
        .unwrap();
        let (one, out_one) = tokens.enter(1, &call).unwrap();
        let (two, out_two) = tokens.enter(2, &call).unwrap();
        assert!(out_one.body().unwrap().contains(r#""progressToken":"gateway-1", "x":1e400"#));
        assert!(out_two.body().unwrap().contains(r#""gateway-2""#));
        let said = |token: &str| {
            let params = json!({ "progressToken": token, "progress": 1 });
            Message::notification("notifications/progress", &params).unwrap()
        };
        for (token, session) in [("gateway-1", 1), ("gateway-2", 2)] {
            let (whose, message) = tokens.restore(&said(token)).unwrap();
            assert_eq!(whose, session);
            assert!(message.body().unwrap().contains(r#""progressToken":7"#), "{message:?}");
        }
        for unknown in ["gateway-3", "7", "gateway-x"] {
            assert!(tokens.restore(&said(unknown)).is_none());
        }
        tokens.leave(one);
        assert!(tokens.restore(&said("gateway-1")).is_none());
        tokens.leave(two);
        let none = Message::parse(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).unwrap();
        assert!(tokens.enter(1, &none).is_none());
    }

    #[test]
    fn so_many_are_kept() {
        let tokens = Tokens::default();
        let call = Message::parse(
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"progressToken":7}}}"#,
        )
        .unwrap();
        for _ in 0..KEPT_MAX + 10 {
            tokens.enter(1, &call).unwrap();
        }
        assert_eq!(tokens.lock().len(), KEPT_MAX);
    }
}
