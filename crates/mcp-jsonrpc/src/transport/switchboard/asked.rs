//! What a peer says to one request, and what the board says in its own name.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{Stream, StreamExt, stream};
use serde_json::value::RawValue;

use super::{Switchboard, Waiting};
use crate::{
    Message, RpcError,
    transport::{ErrorKind, Event, Inbox, Reply, TransportError, reason},
};

/// What a peer says to one request.  Dropping it before the response abandons the request.
pub struct Asked {
    pub(super) ours: i64,
    pub(super) inbox: Arc<Inbox>,
    pub(super) board: Switchboard,
    pub(super) is_alone: bool,
    pub(super) done: bool,
}

// === impl Asked ===

impl Asked {
    /// Whether nobody else waited for an answer when it was asked.
    pub fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Waits for the first thing said: mostly the response, and no stream need be opened.
    pub async fn reply(mut self) -> Result<Reply, TransportError> {
        match self.next().await {
            Some(Ok(Event::Message { message, .. })) if message.is_answer() => {
                Ok(Reply::Single(message))
            }
            Some(Ok(first)) => Ok(Reply::Stream(stream::iter([Ok(first)]).chain(self).boxed())),
            Some(Err(error)) => Err(error),
            None => Err(TransportError::new(ErrorKind::Closed, "no answer will come")),
        }
    }
}

impl Stream for Asked {
    type Item = Result<Event, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.done {
            return Poll::Ready(None);
        }
        let next = ready!(self.inbox.poll_next(cx));
        self.done = match &next {
            Some(Ok(Event::Message { message, .. })) => message.is_answer(),
            Some(Ok(_)) => false,
            Some(Err(_)) | None => true,
        };
        Poll::Ready(next)
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("ours", &self.ours).finish_non_exhaustive()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // An `initialize` cannot be cancelled (basic/utilities/cancellation): it is forgotten.
        let Some(Waiting { cancellable: true, wants, .. }) = self.board.remove(self.ours) else {
            return;
        };
        let is_modern = self.board.is_modern();
        if is_modern {
            let mut state = self.board.state();
            let last = state.last;
            state.doubts.add(self.ours, wants, last);
        }
        if !self.board.write(cancellation(self.ours)) && is_modern {
            self.board.state().doubts.untold(self.ours);
        }
    }
}

/// What is said to a request that nobody takes.
pub(super) fn refusal(request: &Message) -> Option<Message> {
    let id = request.id()?;
    if request.method() == Some("ping") {
        return Message::response(id, &serde_json::json!({})).ok();
    }
    let error = RpcError::new(RpcError::INTERNAL, "no client listens to requests of this session");
    Message::error(Some(id), &error).ok()
}

/// A cancellation under an id of ours, in its caller's words.
pub(super) fn renamed(cancelled: &Message, ours: i64) -> Option<Message> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Raw<'a> {
        #[serde(borrow)]
        request_id: &'a RawValue,
    }
    let raw: Raw<'_> = cancelled.read().ok()?;
    cancelled.with_part(raw.request_id, &ours).ok()
}

pub(super) fn cancellation(ours: i64) -> Option<Message> {
    let mut params = serde_json::json!({ "requestId": ours });
    if let (Some(reason), Some(params)) = (reason(), params.as_object_mut()) {
        params.insert("reason".to_owned(), (*reason).into());
    }
    Message::notification("notifications/cancelled", &params).ok()
}
