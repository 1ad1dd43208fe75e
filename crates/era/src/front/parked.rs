//! Calls that wait for their clients' answers.
//!
//! A call that waits has a task which reads what the server goes on to say, and gives up when its
//! time is over.  It is taken up again by whoever holds its state, once.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use mcp_jsonrpc::{
    Kind, Message,
    transport::{Caller, TransportError},
};
use tokio::{sync::oneshot, time::Instant};
use tracing::debug;

use super::{Inner, leg::Leg, question::Question, unasked::taken_back};

/// How much of what a server says to a call that waits is kept.
const KEPT_MAX: usize = 32;

/// A call that waits, or can.
#[derive(Default)]
pub(super) struct Parked {
    /// None where the server has refused it, and it will be sent again.
    pub(super) leg: Option<Leg>,
    pub(super) questions: Vec<Question>,
    /// What was said to it meanwhile.
    pub(super) kept: VecDeque<Result<Message, TransportError>>,
    /// How many keys it has given out.
    pub(super) keys: u32,
    /// How often it has asked.
    pub(super) rounds: u32,
    /// How far it has come.
    pub(super) progress: Option<f64>,
    /// Whether the server itself says so.
    pub(super) counts: bool,
    /// What its task said of itself the last time.
    pub(super) words: Option<Box<str>>,
    /// Whether it was sent as one that is a task.
    pub(super) as_task: bool,
    /// How often the result of its task was asked for once more.
    pub(super) asked_later: u32,
    /// Until when it is asked about, once it is.
    pub(super) asked_until: Option<Instant>,
}

/// All that wait.
pub(super) struct Table {
    entries: Mutex<Entries>,
    /// Another one in each process, and for each front.
    instance: Option<[u8; 16]>,
}

#[derive(Default)]
struct Entries {
    last: u64,
    by_id: HashMap<u64, Entry>,
    by_caller: HashMap<Option<Arc<str>>, usize>,
}

struct Entry {
    nonce: u64,
    subject: Option<Arc<str>>,
    asked: Arc<[Asked]>,
    claim: oneshot::Sender<oneshot::Sender<Parked>>,
}

/// What a client was asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) key: Box<str>,
    pub(super) method: Box<str>,
}

/// A place among those that wait.
pub(super) struct Berth {
    pub(super) id: u64,
    pub(super) nonce: u64,
    claimed: oneshot::Receiver<oneshot::Sender<Parked>>,
}

// === impl Table ===

impl Table {
    pub(super) fn new() -> Self {
        let mut instance = [0; 16];
        let instance = getrandom::fill(&mut instance).ok().map(|()| instance);
        Self { entries: Mutex::default(), instance }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// What sets this table apart from all others; none where there is no randomness.
    pub(super) fn instance(&self) -> Option<&[u8; 16]> {
        self.instance.as_ref()
    }

    /// Takes a place for a call.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn enter(
        &self,
        caller: &Caller,
        asked: Arc<[Asked]>,
        max: (usize, usize),
    ) -> Result<Berth, &'static str> {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(|_| "there is no randomness")?;
        let nonce = u64::from_ne_bytes(nonce);
        let (claim, claimed) = oneshot::channel();
        let (parked_max, per_caller_max) = max;
        let mut entries = self.lock();
        if parked_max <= entries.by_id.len() {
            return Err("too many calls wait for their clients' answers");
        }
        let own = entries.by_caller.get(&caller.subject).copied().unwrap_or_default();
        if per_caller_max <= own {
            return Err("too many calls of this caller wait for answers");
        }
        entries.by_caller.insert(caller.subject.clone(), own + 1);
        entries.last += 1;
        let id = entries.last;
        let subject = caller.subject.clone();
        entries.by_id.insert(id, Entry { nonce, subject, asked, claim });
        Ok(Berth { id, nonce, claimed })
    }

    /// What the client of a call was asked; none where that was answered, or is over.
    pub(super) fn asked(&self, id: u64, nonce: u64, caller: &Caller) -> Option<Arc<[Asked]>> {
        let entries = self.lock();
        let entry = entries.by_id.get(&id)?;
        let is_it = entry.nonce == nonce && entry.subject == caller.subject;
        is_it.then(|| Arc::clone(&entry.asked))
    }

    /// Takes a call up again: once.
    pub(super) async fn claim(&self, id: u64, nonce: u64) -> Option<Parked> {
        let (to, parked) = oneshot::channel();
        {
            let mut entries = self.lock();
            entries.by_id.get(&id).filter(|entry| entry.nonce == nonce)?;
            let entry = entries.remove(id)?;
            entry.claim.send(to).ok()?;
        }
        parked.await.ok()
    }

    /// Takes back the calls of those who may not be here any more.
    pub(super) fn review(&self, stays: impl Fn(&Caller) -> bool) {
        let gone: Vec<Entry> = {
            let mut entries = self.lock();
            let is_gone = |subject: &Option<Arc<str>>| {
                !stays(&Caller { subject: subject.clone(), ..Caller::anonymous() })
            };
            let gone = entries.by_id.iter().filter(|(_, entry)| is_gone(&entry.subject));
            let gone: Vec<u64> = gone.map(|(id, _)| *id).collect();
            gone.into_iter().filter_map(|id| entries.remove(id)).collect()
        };
        if !gone.is_empty() {
            debug!(count = gone.len(), "calls that waited for their clients are taken back");
        }
    }

    /// Gives up a place.
    pub(super) fn forget(&self, id: u64) {
        drop(self.remove(id));
    }

    fn remove(&self, id: u64) -> Option<Entry> {
        self.lock().remove(id)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.by_id.remove(&id)?;
        if let Some(own) = self.by_caller.get_mut(&entry.subject) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                self.by_caller.remove(&entry.subject);
            }
        }
        Some(entry)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("parked", &self.len()).finish_non_exhaustive()
    }
}

// === impl Parked ===

impl Parked {
    /// Waits for the client, for as long as it may.
    pub(super) fn wait(self, front: &Arc<Inner>, berth: Berth) {
        let until = Instant::now() + front.options().parked_timeout;
        let waiting = self.keep(Arc::clone(front), berth, until);
        front.tasks.spawn(waiting);
    }

    async fn keep(mut self, front: Arc<Inner>, berth: Berth, until: Instant) {
        let Berth { id, mut claimed, .. } = berth;
        let late = tokio::time::sleep_until(until);
        tokio::pin!(late);
        let why = loop {
            tokio::select! {
                biased;
                to = &mut claimed => return self.hand_to(to.ok()),
                () = &mut late => break "its client did not answer in time",
                () = front.stop.cancelled() => break "the gateway is being shut down",
                said = Self::next(&mut self.leg) => self.hear(said).await,
            }
        };
        if front.parked.remove(id).is_none() {
            // Somebody was faster, by a moment.
            return self.hand_to(claimed.await.ok());
        }
        if !front.stop.is_cancelled() {
            front.expired.fetch_add(1, Ordering::Relaxed);
        }
        debug!(why, "a call that waited for its client is given up");
        self.give_up(&front, why).await;
    }

    fn hand_to(self, to: Option<oneshot::Sender<Self>>) {
        // Dropped where nobody waits for it any more: that cancels it.
        if let Some(to) = to {
            drop(to.send(self));
        }
    }

    /// Answers in the client's stead, and takes the call back.
    pub(super) async fn give_up(mut self, front: &Arc<Inner>, why: &str) {
        let Some(leg) = self.leg.take() else { return };
        let pooled = Arc::clone(&leg.place.pooled);
        for question in self.questions.iter().filter(|it| !it.withdrawn) {
            if let Some(asked) = &question.asked {
                pooled.refuse(front, asked, why).await;
            }
        }
    }

    async fn next(leg: &mut Option<Leg>) -> Result<Message, TransportError> {
        match leg {
            Some(leg) if !leg.is_done() => leg.next().await,
            _ => std::future::pending().await,
        }
    }

    async fn hear(&mut self, said: Result<Message, TransportError>) {
        let pooled = self.leg.as_ref().map(|leg| Arc::clone(&leg.place.pooled));
        match (said, pooled) {
            // Whoever asks that waits for nobody but the gateway.
            (Ok(ping), Some(pooled)) if ping.method() == Some("ping") => pooled.pong(&ping).await,
            (said, _) => self.keep_said(said),
        }
    }

    /// Keeps what is said meanwhile: the last progress, and so much of the rest.
    fn keep_said(&mut self, said: Result<Message, TransportError>) {
        let Ok(message) = said else { return self.kept.push_back(said) };
        if let Some(id) = taken_back(&message) {
            let its = |it: &&mut Question| it.asked.as_ref().and_then(Message::id) == Some(&id);
            if let Some(question) = self.questions.iter_mut().find(its) {
                question.withdrawn = true;
                return;
            }
        }
        if message.method() == Some("notifications/progress") {
            let is_progress = |it: &Result<Message, TransportError>| {
                it.as_ref().is_ok_and(|it| it.method() == Some("notifications/progress"))
            };
            self.kept.retain(|it| !is_progress(it));
        } else if KEPT_MAX <= self.kept.len() && message.kind() == Kind::Notification {
            return debug!(?message, "dropped: its client is away");
        }
        self.kept.push_back(Ok(message.detached()));
    }
}
