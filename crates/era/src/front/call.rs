//! A client's request while a session carries it: until its answer, or until it has to wait for
//! its client's.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, stream};
use mcp_jsonrpc::{
    Id, Kind, Message, RpcError, modern,
    params::Progress,
    transport::{ErrorKind, Event, Exchange, Reply, TransportError},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use tokio::time::Instant;
use tracing::debug;
use translate::modern::up;

use super::{
    Inner,
    late::Held,
    leg::Leg,
    listen::News,
    parked::{Asked, Parked},
    pool::Who,
    pooled::{Known, Pooled, unwritten},
    question::Question,
    state::{self, State},
    unasked::taken_back,
    wants::Wants,
};

/// A client's request, and the leg that carries it.
pub(super) struct Call {
    pub(super) front: Arc<Inner>,
    who: Who,
    request: Exchange,
    id: Id,
    pub(super) wants: Wants,
    parks: bool,
    pub(super) parked: Parked,
    pub(super) known: Option<Arc<Known>>,
    /// The answer, while it waits for what may be logged after it.
    pub(super) held: Option<Box<Held>>,
    /// When to stop waiting for further questions.
    gathered: Option<Instant>,
    spoken: bool,
    tried_again: bool,
    pub(super) done: bool,
}

// === impl Call ===

impl Call {
    /// A request that is to be sent.
    ///
    /// # Errors
    ///
    /// There is no session to send it in.
    pub(super) async fn begin(
        front: &Arc<Inner>,
        who: Who,
        request: Exchange,
        wants: Wants,
    ) -> Result<Self, TransportError> {
        let parked = Parked::default();
        let mut call = Self::of(front, who, request, wants, parked)?;
        call.leave().await?;
        Ok(call)
    }

    /// A request that goes on, since its client has answered.
    pub(super) fn of(
        front: &Arc<Inner>,
        who: Who,
        request: Exchange,
        wants: Wants,
        parked: Parked,
    ) -> Result<Self, TransportError> {
        let id = request.message.id().cloned().ok_or_else(TransportError::unanswered)?;
        let parks = modern::ASKING.contains(&request.message.method().unwrap_or_default());
        Ok(Self {
            front: Arc::clone(front),
            who,
            request,
            id,
            wants,
            parks,
            known: parked.leg.as_ref().map(|leg| Arc::clone(&leg.place.pooled.known)),
            parked,
            held: None,
            gathered: None,
            spoken: false,
            tried_again: false,
            done: false,
        })
    }

    /// Finds a session, and sends the request, unless something is to be asked before.
    pub(super) async fn leave(&mut self) -> Result<(), TransportError> {
        let (can, info) = (&self.wants.can, self.wants.client_info.as_deref());
        let what = (self.parks, self.wants.level);
        let place = self.front.place(&self.who, can, info, what).await?;
        let pooled = Arc::clone(&place.pooled);
        self.known = Some(Arc::clone(&pooled.known));
        pooled.raise(self.wants.level).await;
        let ours = Id::from(place.id);
        let mut message = up::request(&self.request.message, &ours).map_err(unwritten)?;
        self.parked.as_task = pooled.wants_task(&message).await;
        if self.parked.as_task {
            message = up::as_task(&message).map_err(unwritten)?;
        }
        let mut exchange = pooled.exchange(message);
        // Who opened the session may have called from elsewhere.
        exchange.caller.clone_from(&self.request.caller);
        let fields = self.request.carried.iter();
        // Those of 2026-07-28 mirror a body that is another one now.
        let others = fields.filter(|(name, _)| !name.to_ascii_lowercase().starts_with("mcp-"));
        exchange.carried = others.cloned().collect();
        let mut leg = Leg::new(place, exchange);
        let early = match self.parks && can.has_roots() {
            true => self.early_roots(&pooled).await,
            false => None,
        };
        match early {
            Some(question) => self.parked.questions.push(question),
            None => leg.send(),
        }
        self.parked.leg = Some(leg);
        Ok(())
    }

    /// A new session's server may ask for roots at once: its client is asked before anything
    /// is done that may depend on them.
    async fn early_roots(&mut self, pooled: &Pooled) -> Option<Question> {
        tokio::time::sleep_until(pooled.opened + self.front.options().gather_timeout).await;
        let asked = pooled.take_held()?;
        let key = self.key();
        Question::of(key, asked)
    }

    fn key(&mut self) -> Box<str> {
        self.parked.keys += 1;
        format!("q{}", self.parked.keys).into()
    }

    /// Waits for the first thing said: mostly the answer, and no stream need be opened.
    pub(super) async fn reply(mut self) -> Result<Reply, TransportError> {
        match self.step().await {
            Some(Ok(message)) if message.is_answer() => Ok(Reply::Single(message)),
            Some(Ok(first)) => {
                let rest = stream::unfold(self, async |mut call| {
                    let said = call.step().await?;
                    Some((said.map(Event::from), call))
                });
                Ok(Reply::Stream(stream::iter([Ok(Event::from(first))]).chain(rest).boxed()))
            }
            Some(Err(error)) => Err(error),
            None => Err(TransportError::unanswered()),
        }
    }

    /// What the client hears next.
    async fn step(&mut self) -> Option<Result<Message, TransportError>> {
        loop {
            if self.done {
                return None;
            }
            if self.held.is_some() {
                // In a box: rare, and large beside the future of a call.
                return Box::pin(self.late()).await;
            }
            let is_unsent = self.parked.leg.as_ref().is_some_and(Leg::is_unsent);
            let said = match self.parked.kept.pop_front() {
                Some(said) => said,
                None if is_unsent => match self.park().await {
                    Some(answer) => return Some(answer),
                    None => continue,
                },
                None => match self.heard().await {
                    Some(said) => said,
                    None => match self.park().await {
                        Some(answer) => return Some(answer),
                        None => continue,
                    },
                },
            };
            match said {
                Ok(message) if message.is_answer() => {
                    if let Some(answer) = self.answered(message).await {
                        return Some(answer);
                    }
                }
                Ok(message) => {
                    if let Some(message) = self.pass(message).await {
                        self.spoken = true;
                        return Some(Ok(message));
                    }
                }
                Err(error) => match self.again(error).await {
                    Ok(()) => (),
                    Err(error) => {
                        self.done = true;
                        return Some(Err(error));
                    }
                },
            }
        }
    }

    /// What the server says next; none when it is time to ask the client.
    async fn heard(&mut self) -> Option<Result<Message, TransportError>> {
        let Some(leg) = &mut self.parked.leg else {
            return Some(Err(TransportError::unanswered()));
        };
        match self.gathered {
            None => Some(leg.next().await),
            Some(until) => tokio::time::timeout_at(until, leg.next()).await.ok(),
        }
    }

    /// Sends the request once more, where it has certainly not arrived in a session that is over.
    async fn again(&mut self, error: TransportError) -> Result<(), TransportError> {
        if *error.kind() != ErrorKind::NoSession && self.ask_later() {
            debug!(%error, "the result of a task did not come: it is asked about");
            return Ok(());
        }
        let Some(leg) = self.parked.leg.take() else { return Err(error) };
        let pooled = Arc::clone(&leg.place.pooled);
        drop(leg);
        let is_over = *error.kind() == ErrorKind::NoSession || !pooled.is_open();
        if is_over {
            debug!(%error, "a session with the server is over");
            pooled.condemn();
            self.front.doubt();
        }
        let is_new = !self.spoken && !self.tried_again && self.parked.rounds == 0;
        if !(is_over && error.is_unsent() && is_new) {
            return Err(error);
        }
        self.tried_again = true;
        self.parked.questions.clear();
        self.gathered = None;
        self.leave().await
    }

    /// The server's answer, as the client hears it; none where the call goes on.
    async fn answered(&mut self, answer: Message) -> Option<Result<Message, TransportError>> {
        let answer = self.settled(answer).await?;
        let was_task = match &mut self.parked.leg {
            Some(leg) if leg.place.task.is_some() => {
                leg.place.task = None;
                true
            }
            Some(leg) if self.parked.as_task => match wait_for(leg, &answer) {
                Ok(None) => false,
                Ok(Some(words)) => {
                    let said = self.words(&words?)?;
                    self.spoken = true;
                    return Some(Ok(said));
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error));
                }
            },
            _ => false,
        };
        // What a task ends with is no refusal: it was begun.
        let entries = up::url_entries(&answer).filter(|_| self.parks && !was_task);
        self.refuse_all("the request it belongs to was answered").await;
        if let Some(entries) = entries {
            if !self.wants.can.url {
                self.done = true;
                return Some(self.lacks(&json!({ "elicitation": { "url": {} } })));
            }
            for entry in entries.into_iter().take(self.front.options().questions_max) {
                let key = self.key();
                self.parked.questions.push(Question::url(key, entry));
            }
            self.parked.leg = None;
            if let Some(asked) = self.park().await {
                return Some(asked);
            }
        }
        let info = self.known.as_ref().and_then(|known| known.server_info.as_deref());
        let method = self.request.message.method().unwrap_or_default();
        let answer = up::answer(method, &answer, &self.id, info);
        let answer = self.tell_or_hold(answer);
        self.done = answer.is_some();
        answer.map(Ok)
    }

    fn lacks(&self, capabilities: &Value) -> Result<Message, TransportError> {
        let words = "the server wants its user to visit an address, which this client did not declare it can";
        let error = RpcError::new(RpcError::MISSING_CLIENT_CAPABILITY, words)
            .with_data(&json!({ "requiredCapabilities": capabilities }));
        Message::error(Some(&self.id), &error).map_err(unwritten)
    }

    /// What is said before the answer, as the client hears it.
    pub(super) async fn pass(&mut self, message: Message) -> Option<Message> {
        if message.kind() == Kind::Request {
            self.ask(message).await;
            return None;
        }
        let leg = self.parked.leg.as_ref()?;
        if message.method() == Some("notifications/tools/list_changed") {
            leg.place.pooled.task_tools.forget();
        }
        if let Some(news) = News::of(&message) {
            leg.place.pooled.tell_all(&self.front, &news, &message);
            return None;
        }
        match message.method().unwrap_or_default() {
            "notifications/progress" => self.progress(&message),
            "notifications/message" => {
                self.wants.level.is_some_and(|level| level.hears(&message)).then_some(message)
            }
            "notifications/cancelled" => {
                let id = taken_back(&message)?;
                let is_it = |it: &Question| it.asked.as_ref().and_then(Message::id) == Some(&id);
                self.parked.questions.retain(|it| !is_it(it));
                None
            }
            "notifications/elicitation/complete" => None,
            "notifications/tasks/status" => {
                let (task, words) = up::status(&message)?;
                (leg.place.task.as_ref() == Some(&task)).then(|| self.words(&words))?
            }
            _ => Some(message),
        }
    }

    /// What is said of a task in words, as progress: as long as it has no other.
    fn words(&mut self, words: &str) -> Option<Message> {
        let token = self.wants.token.as_deref().filter(|_| !self.parked.counts)?;
        if self.parked.words.as_deref() == Some(words) {
            return None;
        }
        self.parked.words = Some(words.into());
        let step = self.parked.progress.unwrap_or_default().floor() + 1.0;
        let params = json!({ "progressToken": token, "progress": step, "message": words });
        self.parked.progress = Some(step);
        Message::notification("notifications/progress", &params).ok()
    }

    /// Progress under the client's own token, if there is any.
    fn progress(&mut self, message: &Message) -> Option<Message> {
        #[derive(Deserialize)]
        struct Made {
            progress: f64,
        }
        let token = self.wants.token.as_deref()?;
        let said: Progress<'_> = message.read().ok()?;
        let made = message.read::<Made>().ok()?.progress;
        let ours = self.parked.leg.as_ref()?.place.id.to_string();
        if said.progress_token.get() != ours
            || self.parked.progress.is_some_and(|last| made <= last)
        {
            debug!("progress of something else, or going backwards: dropped");
            return None;
        }
        (self.parked.progress, self.parked.counts) = (Some(made), true);
        message.with_part(said.progress_token, &token).ok()
    }

    /// A question of the server's: the client's if it may be asked, and refused otherwise.
    async fn ask(&mut self, question: Message) {
        let Some(leg) = &self.parked.leg else { return };
        let pooled = Arc::clone(&leg.place.pooled);
        let why = match question.method() {
            Some("ping") => return pooled.pong(&question).await,
            _ if !self.wants.can.allows(&question) => "its client did not declare that it can",
            _ if !self.parks => "what its client asked cannot be answered with questions",
            _ if self.front.options().questions_max <= self.parked.questions.len() => {
                "too many questions at once"
            }
            _ => {
                self.front.pool.note_question(&question);
                let key = self.key();
                match Question::of(key, question.clone()) {
                    Some(question) => {
                        self.parked.questions.push(question);
                        let until = Instant::now() + self.front.options().gather_timeout;
                        self.gathered.get_or_insert(until);
                        return;
                    }
                    None => "it is malformed",
                }
            }
        };
        pooled.refuse(&self.front, &question, why).await;
    }

    async fn refuse_all(&mut self, why: &str) {
        self.gathered = None;
        let questions = std::mem::take(&mut self.parked.questions);
        let Some(leg) = &self.parked.leg else { return };
        let pooled = Arc::clone(&leg.place.pooled);
        for question in questions.iter().filter(|it| !it.withdrawn) {
            match (question.reply(pooled.version), &question.asked) {
                (Some(reply), _) => pooled.tell(reply).await,
                (None, Some(asked)) => pooled.refuse(&self.front, asked, why).await,
                (None, None) => (),
            }
        }
    }

    /// Answers with the questions there are, and waits; none where that cannot be, and all of
    /// them were refused.
    pub(super) async fn park(&mut self) -> Option<Result<Message, TransportError>> {
        self.gathered = None;
        self.parked.questions.retain(|question| !question.withdrawn);
        let why = match self.try_to_park() {
            Ok(Some(answer)) => {
                self.done = true;
                return Some(Ok(answer));
            }
            Ok(None) => "",
            Err(why) => why,
        };
        self.refuse_all(why).await;
        // What waited for answers goes on without.
        if let Some(leg) = &mut self.parked.leg {
            leg.send();
        }
        None
    }

    fn try_to_park(&mut self) -> Result<Option<Message>, &'static str> {
        let options = &self.front.options();
        let open: Vec<&Question> = self.parked.questions.iter().filter(|it| it.is_open()).collect();
        if open.is_empty() {
            return Ok(None);
        }
        if options.rounds_max <= self.parked.rounds {
            return Err("its call has asked too often");
        }
        let requests = open.iter().map(|it| (&*it.key, &*it.entry)).collect();
        let asked = open.iter().map(|it| Asked { key: it.key.clone(), method: it.method.clone() });
        let asked: Arc<[Asked]> = asked.collect();
        let instance = self.front.parked.instance().ok_or("there is no randomness")?;
        let keyring = self.front.keyring().map_err(|_| "there is no key to seal with")?;
        let max = (options.parked_max, options.parked_per_caller_max);
        let berth = self.front.parked.enter(&self.who.caller, asked, max)?;
        let seconds = options.parked_timeout.as_secs().max(1);
        let state = State {
            instance: *instance,
            parked: berth.id,
            nonce: berth.nonce,
            until: keyring.clock().now().saturating_add(seconds),
            digest: state::digest(&self.request.message),
        };
        let sealed = state.seal(keyring, &self.who.caller).map_err(|_| "it could not be sealed");
        let answer = sealed.and_then(|sealed| self.input_required(&requests, &sealed));
        let answer = answer.inspect_err(|_| self.front.parked.forget(berth.id))?;
        let mut parked = std::mem::take(&mut self.parked);
        parked.rounds += 1;
        parked.wait(&self.front, berth);
        Ok(Some(answer))
    }

    fn input_required(
        &self,
        requests: &BTreeMap<&str, &RawValue>,
        state: &str,
    ) -> Result<Message, &'static str> {
        let info = self.known.as_ref().and_then(|known| known.server_info.as_deref());
        let meta = info.map(|info| BTreeMap::from([(modern::SERVER_INFO, info)]));
        let result = InputRequired {
            result_type: "input_required",
            input_requests: requests,
            request_state: state,
            meta,
        };
        Message::response(&self.id, &result).map_err(|_| "it could not be written")
    }
}

/// Asks for the result of the task that a call was answered with; what is said of it in words.
fn wait_for(leg: &mut Leg, answer: &Message) -> Result<Option<Option<String>>, TransportError> {
    let Some((task, words)) = up::begun(answer) else { return Ok(None) };
    let pooled = Arc::clone(&leg.place.pooled);
    let params = json!({ "taskId": task });
    let asked = Message::request(&pooled.another_id(), "tasks/result", &params);
    leg.wait_for(task, pooled.exchange(asked.map_err(unwritten)?));
    Ok(Some(words))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InputRequired<'a> {
    result_type: &'static str,
    input_requests: &'a BTreeMap<&'a str, &'a RawValue>,
    request_state: &'a str,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<BTreeMap<&'a str, &'a RawValue>>,
}
