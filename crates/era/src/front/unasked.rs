//! What a server says unasked in a session of many requests, and whom it is for.
//!
//! News go to those who listen.  Questions and logs go to the only request that can have caused
//! them, or to nobody: it is never guessed.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::StreamExt;
use mcp_jsonrpc::{
    Id, Kind, Message,
    params::{Cancelled, Progress},
    transport::{ErrorKind, Event, EventStream, Inbox},
};
use serde_json::{json, value::RawValue};
use tokio::time::Instant;
use tracing::debug;
use translate::modern::up;

use super::{Inner, listen::News, pooled::Pooled};

/// How long to wait before listening again where a stream ended and its session did not.
const LISTEN_AGAIN_MIN: Duration = Duration::from_secs(1);
const LISTEN_AGAIN_MAX: Duration = Duration::from_secs(60);

impl Pooled {
    /// Hears what the server says unasked, for as long as the session lasts.
    pub(super) async fn hear(self: Arc<Self>, mut events: EventStream) {
        let over = self.over.clone();
        let mut pause = LISTEN_AGAIN_MIN;
        let listening = async {
            loop {
                while let Some(event) = events.next().await {
                    match event {
                        Ok(Event::Message { message, .. }) => {
                            pause = LISTEN_AGAIN_MIN;
                            let Some(front) = self.front.upgrade() else { return };
                            self.route(&front, message).await;
                        }
                        Ok(Event::Pause { .. }) => (),
                        Err(error) => {
                            debug!(%error, "a stream of what a server says unasked broke");
                            break;
                        }
                    }
                }
                loop {
                    if !self.session.is_open() {
                        return self.condemn();
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LISTEN_AGAIN_MAX);
                    match self.session.listen(None).await {
                        Ok(another) => {
                            events = another;
                            break;
                        }
                        Err(error) if matches!(error.kind(), ErrorKind::NoSession) => {
                            return self.condemn();
                        }
                        Err(error) if matches!(error.kind(), ErrorKind::Unsupported) => return,
                        Err(error) => debug!(%error, "cannot listen to a server"),
                    }
                }
                // Something may have been missed meanwhile.
                self.tell_hearers(|hearer| hearer.missed());
            }
        };
        tokio::select! {
            () = listening => (),
            () = over.cancelled() => (),
        }
        self.state().held = None;
    }

    /// Passes on what no request's own stream is known for.
    pub(super) async fn route(self: &Arc<Self>, front: &Arc<Inner>, message: Message) {
        if message.is_answer() {
            return debug!(?message, "an answer to nothing: dropped");
        }
        if message.kind() == Kind::Request {
            return self.asked(front, message).await;
        }
        let method = message.method().unwrap_or_default().to_owned();
        if method == "notifications/tools/list_changed" {
            self.task_tools.forget();
        }
        if let Some(news) = News::of(&message) {
            return self.tell_all(front, &news, &message);
        }
        match &*method {
            "notifications/progress" => {
                let token = message.read::<Progress<'_>>().ok();
                let id = token.and_then(|it| it.progress_token.get().parse::<i64>().ok());
                let state = self.state();
                match id.and_then(|id| state.calls.get(&id)) {
                    Some(call) => drop(call.inbox.push(message.into())),
                    None => debug!("progress of nothing: dropped"),
                }
            }
            "notifications/cancelled" => self.withdrawn(&message),
            "notifications/tasks/status" => {
                // Whose task it is knows the call alone.
                for call in self.state().calls.values().filter(|call| call.parks) {
                    drop(call.inbox.push(message.clone().into()));
                }
            }
            "notifications/elicitation/complete" => {
                debug!(method, "dropped: 2026-07-28 does not have it");
            }
            _ => {
                let state = self.state();
                let is_late = method == "notifications/message" && state.is_late_log();
                if is_late {
                    front.lateness.was_late();
                }
                let mut calls = state.calls.values();
                match (calls.next(), calls.next()) {
                    (Some(only), None) => drop(only.inbox.push(message.into())),
                    // Nobody wants to hear a log.
                    _ if method == "notifications/message"
                        && !is_late
                        && state.calls.values().all(|call| call.level.is_none()) => {}
                    _ => front.dropped(&method, "it can be for several requests, or for none"),
                }
            }
        }
    }

    /// Passes on news.  A list is that of all sessions of this caller and client: whoever listens
    /// does so in one of them, and calls may run in others, with processes of their own behind.
    pub(super) fn tell_all(self: &Arc<Self>, front: &Inner, news: &News, message: &Message) {
        if !news.is_of_list() {
            return self.tell_hearers(|hearer| hearer.hear(news, message));
        }
        for session in front.pool.beside(self) {
            session.tell_hearers(|hearer| hearer.hear(news, message));
        }
    }

    /// A question that came down no request's own stream.
    async fn asked(self: &Arc<Self>, front: &Arc<Inner>, question: Message) {
        if question.method() == Some("ping") {
            return self.pong(&question).await;
        }
        if !self.can.allows(&question) {
            return self.refuse(front, &question, "its client did not declare that it can").await;
        }
        front.pool.note_question(&question);
        let is_roots = question.method() == Some("roots/list");
        let why = {
            let mut state = self.state();
            let now = Instant::now();
            let mut parking = state.calls.values().filter(|call| call.parks);
            let first = parking.next().map(|call| Arc::clone(&call.inbox));
            let is_only = parking.next().is_none();
            drop(parking);
            let is_late = state.may_ask_late();
            match first {
                Some(only) if is_only && !is_late => match only.push(question.clone().into()) {
                    Ok(()) => return,
                    Err(_) => "more is said than its client reads",
                },
                None if is_roots && state.held.is_none() && self.roots(front, &state).is_none() => {
                    state.held = Some((question.detached(), now));
                    return;
                }
                None => "no request runs that its client could be asked in",
                Some(_) => "it can be for several requests",
            }
        };
        self.refuse(front, &question, why).await;
    }

    /// Takes `roots/list` that waits for somebody who can be asked.
    pub(super) fn take_held(&self) -> Option<Message> {
        self.state().held.take().map(|(question, _)| question)
    }

    /// Keeps what a client answered to `roots/list`.
    pub(super) fn keep_roots(&self, answer: &RawValue) {
        self.state().roots = Some((answer.to_owned(), Instant::now()));
    }

    fn roots(&self, front: &Inner, state: &super::pooled::State) -> Option<Box<RawValue>> {
        let (roots, since) = state.roots.as_ref()?;
        (since.elapsed() < front.options().roots_timeout).then(|| roots.clone())
    }

    /// Answers a question that no client can be asked.
    pub(super) async fn refuse(
        self: &Arc<Self>,
        front: &Arc<Inner>,
        question: &Message,
        why: &str,
    ) {
        let method = question.method().unwrap_or_default();
        let kept = match method {
            "roots/list" => self.roots(front, &self.state()),
            _ => None,
        };
        let answer = match (kept, question.id()) {
            (Some(roots), Some(id)) => Message::response(id, &roots),
            _ => {
                front.refused(method, why);
                up::refusal(question, &front.options().roots, why)
            }
        };
        match answer {
            Ok(answer) => self.tell(answer).await,
            Err(error) => debug!(%error, "an answer could not be written"),
        }
    }

    pub(super) async fn pong(&self, ping: &Message) {
        let Some(id) = ping.id() else { return };
        if let Ok(pong) = Message::response(id, &json!({})) {
            self.tell(pong).await;
        }
    }

    /// The server takes a question back.
    fn withdrawn(&self, message: &Message) {
        let Ok(Cancelled { request_id, .. }) = message.read() else { return };
        let mut state = self.state();
        let is_it = |held: &Message| held.id() == Some(&request_id);
        if state.held.take_if(|(held, _)| is_it(held)).is_some() {
            return;
        }
        // Whose question it was knows the call alone.
        for call in state.calls.values().filter(|call| call.parks) {
            drop(call.inbox.push(message.clone().into()));
        }
    }

    /// Questions that were given to a request which has ended meanwhile.
    pub(super) fn left_in(inbox: &Inbox) -> Vec<Message> {
        let mut left = Vec::new();
        let cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(event))) = inbox.poll_next(&cx) {
            if let Event::Message { message, .. } = event
                && message.kind() == Kind::Request
            {
                left.push(message);
            }
        }
        left
    }
}

/// The id of the question that a server takes back.
pub(super) fn taken_back(message: &Message) -> Option<Id> {
    let named = message.method() == Some("notifications/cancelled");
    named.then(|| message.read::<Cancelled>().ok().map(|it| it.request_id))?
}
