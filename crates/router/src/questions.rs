//! What servers ask of one client, under ids of the gateway's.
//!
//! A session outlives its links, and a server that is started again counts from the beginning:
//! an answer that a client gives late must not be taken for the answer to another question.  So a
//! client hears each question under an id that its session never uses twice, and its answer goes
//! to the link that asked, or nowhere.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use mcp_jsonrpc::{Id, Message, params::Cancelled};
use serde_json::{json, value::RawValue};
use tokio::time::Instant;

use crate::link::Link;

/// How many questions may be open with one client.
const QUESTIONS_MAX: usize = 256;

/// For how long an open question is a reason for its server to be silent: a person may have to be
/// found who answers it, and there are clients that never will.
const THINKING_TIMEOUT: Duration = Duration::from_secs(600);

/// The questions that one client has not answered yet.
#[derive(Debug)]
pub(crate) struct Questions(Mutex<Open>);

#[derive(Debug)]
struct Open {
    last: i64,
    open: HashMap<Id, Question>,
}

#[derive(Debug)]
struct Question {
    link: Weak<Link>,
    theirs: Id,
    asked: Instant,
}

// === impl Questions ===

impl Questions {
    /// None yet.  The first id is a random one, so that no answer to an earlier life of the same
    /// session fits.
    pub(crate) fn new() -> Self {
        let mut random = [0; 4];
        // Without randomness the count begins at 1, as everybody's does.
        let first = getrandom::fill(&mut random).map_or(0, |()| u32::from_le_bytes(random));
        Self(Mutex::new(Open { last: i64::from(first), open: HashMap::new() }))
    }

    /// A server's question as the client is to hear it; none if as many are open as may be.
    pub(crate) fn ask(&self, link: &Arc<Link>, question: &Message) -> Option<Message> {
        let theirs = question.id()?.clone();
        let mut it = self.lock();
        if QUESTIONS_MAX <= it.open.len() {
            it.open.retain(|_, question| question.link.upgrade().is_some_and(|it| it.is_open()));
        }
        if QUESTIONS_MAX <= it.open.len() {
            return None;
        }
        it.last += 1;
        let ours = Id::from(it.last);
        let entry = Question { link: Arc::downgrade(link), theirs, asked: Instant::now() };
        it.open.insert(ours.clone(), entry);
        Some(question.with_id(ours))
    }

    /// Whom a client's answer is for, and as it is expected there; none if nobody waits for it.
    pub(crate) fn answer(&self, answer: &Message) -> Option<(Arc<Link>, Message)> {
        let question = self.lock().open.remove(answer.id()?)?;
        let link = question.link.upgrade().filter(|link| link.is_open())?;
        Some((link, answer.with_id(question.theirs)))
    }

    /// A server's word that it does not wait for an answer any more, as the client is to hear it;
    /// none if the client was not asked, or has answered.
    pub(crate) fn cancel(&self, link: &Arc<Link>, cancelled: &Message) -> Option<Message> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw<'a> {
            #[serde(borrow)]
            request_id: &'a RawValue,
        }
        let theirs = cancelled.read::<Cancelled>().ok()?.request_id;
        let mut it = self.lock();
        let ours = it.open.iter().find(|(_, question)| {
            question.theirs == theirs && std::ptr::eq(question.link.as_ptr(), Arc::as_ptr(link))
        });
        let ours = ours.map(|(ours, _)| ours.clone())?;
        it.open.remove(&ours);
        drop(it);
        let raw: Raw<'_> = cancelled.read().ok()?;
        cancelled.with_part(raw.request_id, &ours).ok()
    }

    /// Takes back all that a link has asked and that is still open: what its client is to hear.
    pub(crate) fn over(&self, link: &Arc<Link>, why: &str) -> Vec<Message> {
        let mut over = Vec::new();
        self.lock().open.retain(|ours, question| {
            let its = std::ptr::eq(question.link.as_ptr(), Arc::as_ptr(link));
            if its {
                over.push(ours.clone());
            }
            !its
        });
        let cancelled = |ours| json!({ "requestId": ours, "reason": why });
        let message =
            |ours| Message::notification("notifications/cancelled", &cancelled(ours)).ok();
        over.into_iter().filter_map(message).collect()
    }

    /// Whether a link waits for an answer.
    pub(crate) fn waits(&self, link: &Arc<Link>) -> bool {
        let it = self.lock();
        it.open.values().any(|it| std::ptr::eq(it.link.as_ptr(), Arc::as_ptr(link)))
    }

    /// Whether a server that is there waits for an answer, and has not for too long.
    pub(crate) fn keep_waiting(&self) -> bool {
        self.lock().open.values().any(|it| {
            it.asked.elapsed() < THINKING_TIMEOUT
                && it.link.upgrade().is_some_and(|it| it.is_open())
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
