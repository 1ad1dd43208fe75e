//! What servers ask of one client, under ids that tell the servers apart.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use mcp_jsonrpc::{
    Id, Message,
    params::{AnyParams, Cancelled, Progress},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::link::Link;

/// The questions that one client has not answered yet.
#[derive(Debug, Default)]
pub(crate) struct Questions(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    last: i64,
    open: HashMap<Id, Question>,
}

#[derive(Debug)]
struct Question {
    link: Weak<Link>,
    theirs: Id,
    /// Under which its server wants to hear of progress, as written.
    token: Option<Box<RawValue>>,
}

// === impl Questions ===

impl Questions {
    /// A server's question as the client is to hear it; none if as many are open as may be.
    pub(crate) fn ask(&self, link: &Arc<Link>, question: &Message, max: usize) -> Option<Message> {
        let theirs = question.id()?.clone();
        let token = question
            .mentions("progressToken")
            .then(|| question.read::<AnyParams<'_>>().ok()?.meta.progress.map(ToOwned::to_owned))
            .flatten();
        let mut it = self.lock();
        if max <= it.open.len() {
            it.open.retain(|_, question| question.link.upgrade().is_some_and(|it| it.is_open()));
        }
        if max <= it.open.len() {
            return None;
        }
        it.last += 1;
        let ours = Id::from(it.last);
        it.open.insert(ours.clone(), Question { link: Arc::downgrade(link), theirs, token });
        Some(question.with_id(ours))
    }

    /// Whom a client's answer is for, and as it is expected there; none if nobody waits for it.
    pub(crate) fn answer(&self, answer: &Message) -> Option<(Arc<Link>, Message)> {
        let question = self.lock().open.remove(answer.id()?)?;
        let link = question.link.upgrade().filter(|link| link.is_open())?;
        Some((link, answer.with_id(question.theirs)))
    }

    /// Whom a client's word of progress is for: the server whose question named its token.  Of
    /// several that chose the same, the one that asked last.
    pub(crate) fn progress(&self, progress: &Message) -> Option<Arc<Link>> {
        let token = progress.read::<Progress<'_>>().ok()?.progress_token;
        let it = self.lock();
        let named = |it: &&Question| it.token.as_ref().is_some_and(|it| it.get() == token.get());
        let mut asked: Vec<_> = it.open.iter().filter(|(_, it)| named(it)).collect();
        asked.sort_by_key(|(ours, _)| match ours {
            Id::Number(number) => Some(*number),
            Id::Text(_) => None,
        });
        asked.last()?.1.link.upgrade()
    }

    /// A server's word that it does not wait for an answer any more, as the client is to hear it;
    /// none if the client was not asked, or has answered.
    pub(crate) fn cancel(&self, link: &Arc<Link>, cancelled: &Message) -> Option<Message> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw<'a> {
            #[serde(borrow)]
            request_id: &'a RawValue,
        }
        let theirs = cancelled.read::<Cancelled>().ok()?.request_id;
        let mut it = self.lock();
        let asked = |it: &Question| it.theirs == theirs && it.is_of(link);
        let ours = it.open.iter().find(|(_, it)| asked(it)).map(|(ours, _)| ours.clone())?;
        it.open.remove(&ours);
        drop(it);
        let raw: Raw<'_> = cancelled.read().ok()?;
        cancelled.with_part(raw.request_id, &ours).ok()
    }

    /// Takes back all that a server has asked and that is still open: what the client is to hear.
    pub(crate) fn over(&self, link: &Arc<Link>) -> Vec<Message> {
        let mut over = Vec::new();
        self.lock().open.retain(|ours, question| {
            let its = question.is_of(link);
            if its {
                over.push(ours.clone());
            }
            !its
        });
        let why = "the server that asked has ended";
        let cancelled = |ours| json!({ "requestId": ours, "reason": why });
        let message =
            |ours| Message::notification("notifications/cancelled", &cancelled(ours)).ok();
        over.into_iter().filter_map(message).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    fn is_of(&self, link: &Arc<Link>) -> bool {
        std::ptr::eq(self.link.as_ptr(), Arc::as_ptr(link))
    }
}
