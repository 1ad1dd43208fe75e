//! Streams of a server's, and how they go on when they break.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use mcp_jsonrpc::transport::{ErrorKind, Event, EventId, EventStream, Reply, TransportError};
use tokio::{runtime::Handle, time::Instant};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};
use transport_sse::{events::Events, wire::Item};

use super::{
    Inner, Server,
    exchange::{Abandoning, restored},
};

/// A stream that lived this long did not fail to begin.
const LIFE_MIN: Duration = Duration::from_secs(5);

/// How long the end of a stream is waited for after the answer.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// What a stream is for.
#[derive(Debug)]
enum Purpose {
    /// It holds the answer to a request, and ends with it.
    Answer(Abandoning),
    /// It holds what nobody asked for, and has no end.
    Listen(Arc<Inner>),
    /// All has been said.
    Over,
}

#[derive(Debug)]
struct Answers {
    purpose: Purpose,
    /// None once all has been said.
    events: Option<Events>,
    opened: Instant,
    /// Where to go on after a break.
    after: Option<EventId>,
    /// How long the server wants to be left alone before.
    retry: Option<Duration>,
    /// How often in a row resuming has come to nothing.
    tries: u32,
}

/// The reply to a request that is answered with a stream: no stream if nothing precedes the
/// answer.
///
/// Where to resume from says nothing to a caller that has its answer, so a stream that begins
/// with that, as those of many servers do, is waited with until it says more.
pub(super) async fn reply(abandoning: Abandoning, events: Events) -> Result<Reply, TransportError> {
    let mut answers = Answers::new(Purpose::Answer(abandoning), events, None);
    let mut pause = None;
    loop {
        match answers.next().await {
            Some(Ok(Event::Message { message, .. })) if message.is_answer() => {
                return Ok(Reply::Single(message));
            }
            Some(Ok(event @ Event::Pause { .. })) => pause = Some(event),
            Some(Ok(event)) => {
                let first = stream::iter(pause.into_iter().chain([event]).map(Ok));
                return Ok(Reply::Stream(first.chain(answers.stream()).boxed()));
            }
            Some(Err(error)) => return Err(error),
            None => return Err(TransportError::new(ErrorKind::Closed, "no answer will come")),
        }
    }
}

/// What a server says unasked.
pub(super) fn listen(inner: Arc<Inner>, events: Events, after: Option<EventId>) -> EventStream {
    Answers::new(Purpose::Listen(inner), events, after).stream()
}

// === impl Answers ===

impl Answers {
    fn new(purpose: Purpose, events: Events, after: Option<EventId>) -> Self {
        Self { purpose, events: Some(events), opened: Instant::now(), after, retry: None, tries: 0 }
    }

    fn stream(self) -> EventStream {
        stream::unfold(self, async |mut answers| Some((answers.next().await?, answers))).boxed()
    }

    /// The next event; an error is the last.
    async fn next(&mut self) -> Option<Result<Event, TransportError>> {
        loop {
            let inner = match &self.purpose {
                Purpose::Answer(abandoning) => Arc::clone(&abandoning.inner),
                Purpose::Listen(inner) => Arc::clone(inner),
                Purpose::Over => return None,
            };
            let events = self.events.as_mut()?;
            let went_on = match events.next(&inner.server.target).await {
                Ok(Some(item)) => {
                    self.tries = 0;
                    if let Some(id) = events.last_event_id() {
                        self.after = Some(id.clone());
                    }
                    match self.take(item, &inner) {
                        Ok(Some(event)) => return Some(Ok(event)),
                        Ok(None) => Ok(()),
                        Err(error) => Err(error),
                    }
                }
                Ok(None) => self.resume(&inner, None).await,
                Err(error) => self.resume(&inner, Some(error)).await,
            };
            if let Err(error) = went_on {
                self.end();
                return Some(Err(error));
            }
        }
    }

    /// What an item comes to: an event to pass on, or nothing.
    fn take(&mut self, item: Item, inner: &Arc<Inner>) -> Result<Option<Event>, TransportError> {
        let server = &**inner.server.target.name();
        match (item, &self.purpose) {
            (Item::Event(Event::Message { id, message }), Purpose::Answer(asked))
                if message.is_answer() =>
            {
                let Some(answer) = restored(&message, &asked.id) else {
                    debug!(server, ?message, "answer to another request: dropped");
                    return Ok(None);
                };
                inner.learn(&answer);
                self.end();
                if let Some(rest) = self.events.take() {
                    finish(&inner.server, &inner.tasks, rest);
                }
                Ok(Some(Event::Message { id, message: answer }))
            }
            (Item::Event(event), _) => {
                if let Event::Pause { retry: Some(retry), .. } = &event {
                    self.retry = Some(*retry);
                }
                Ok(Some(event))
            }
            (Item::Malformed { id, asks: false, error }, Purpose::Answer(asked))
                if id.as_ref().is_none_or(|id| *id == asked.id) =>
            {
                Err(inner.server.unread("it answered with what is no message", error))
            }
            (Item::Malformed { error, .. }, _) => {
                warn!(server, %error, "it sent what is no message");
                Ok(None)
            }
            // The other transport's word.
            (Item::Endpoint(_), _) => Ok(None),
        }
    }

    /// Goes on with a stream that has ended too early, by GET.
    async fn resume(
        &mut self,
        inner: &Inner,
        mut why: Option<TransportError>,
    ) -> Result<(), TransportError> {
        let options = &inner.server.options;
        if LIFE_MIN <= self.opened.elapsed() {
            self.tries = 0;
        }
        loop {
            let can = self.after.is_some() || matches!(self.purpose, Purpose::Listen(_));
            if !can || options.resume_tries_max <= self.tries {
                return Err(broken(inner, why));
            }
            let doubled = options.resume_wait.saturating_mul(1 << self.tries.min(16));
            self.tries += 1;
            let wait = self.retry.unwrap_or(doubled).min(options.resume_wait_max);
            tokio::time::sleep(wait).await;
            match inner.get(self.after.as_ref()).await {
                Ok(events) => {
                    (self.events, self.opened) = (Some(events), Instant::now());
                    return Ok(());
                }
                Err(error) if *error.kind() == ErrorKind::NoSession => {
                    // A request that was being answered has arrived, whatever was forgotten since.
                    return Err(match &self.purpose {
                        Purpose::Listen(_) => error,
                        Purpose::Answer(_) | Purpose::Over => broken(inner, Some(error)),
                    });
                }
                Err(error) if *error.kind() == ErrorKind::Unsupported => {
                    return Err(broken(inner, why));
                }
                Err(error) => {
                    debug!(%error, "stream not resumed");
                    why = Some(error);
                }
            }
        }
    }

    /// All has been said: to be dropped now means nothing.
    fn end(&mut self) {
        if let Purpose::Answer(asked) = &mut self.purpose {
            asked.armed = false;
        }
        self.purpose = Purpose::Over;
    }
}

/// Reads a stream to its end after the answer, which is mostly right there: a connection whose
/// response has not been read to the end cannot be used again.
pub(super) fn finish(server: &Arc<Server>, tasks: &TaskTracker, mut rest: Events) {
    let server = Arc::clone(server);
    let mut finishing = Box::pin(async move {
        while let Ok(Some(item)) = rest.next(&server.target).await {
            debug!(server = &**server.target.name(), ?item, "came after the answer: dropped");
        }
    });
    if (&mut finishing).now_or_never().is_none()
        && let Ok(runtime) = Handle::try_current()
    {
        let finishing = tokio::time::timeout(FINISH_TIMEOUT, finishing);
        tasks.spawn_on(finishing.map(drop), &runtime);
    }
}

fn broken(inner: &Inner, why: Option<TransportError>) -> TransportError {
    let what = "its event stream ended before the answer came";
    let error = TransportError::new(ErrorKind::Closed, what)
        .of(inner.server.target.name())
        .hint("what the server did until then is not known");
    match why {
        Some(why) => error.because(why),
        None => error,
    }
}
