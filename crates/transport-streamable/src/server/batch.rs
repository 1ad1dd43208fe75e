//! Several messages in one POST, which 2025-03-26 alone has.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{
    FutureExt, StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use hyper::{Response, StatusCode, header::CONTENT_TYPE, header::HeaderValue};
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion, batch,
    transport::{Caller, Event, Exchange, Session},
};
use transport_sse::{body::Outgoing, note::Note, respond};

use super::{
    Head, Server,
    answer::{self, Asking},
    refuse,
    streams::{self, Manner},
};
use crate::{
    era,
    header::{self, Accept},
    refusal::{Refusal, Stage},
};

impl Server {
    /// Answers a batch: with an array when all its answers come alone, with a stream otherwise.
    ///
    /// What nobody answers goes out first and in order; then all requests at once.
    pub(super) async fn batch(
        &self,
        head: Head,
        messages: Vec<Message>,
        note: &mut Note,
    ) -> Result<Response<Outgoing>, Refusal> {
        let Head { fields, accept, caller } = head;
        note.rpc_method = messages.iter().find_map(Message::method).map(Into::into);
        if self.options.modern
            && fields.version == header::Version::Known(ProtocolVersion::V2026_07_28)
        {
            let words = "2026-07-28 has no batches; post one request or notification at a time";
            return Err(refuse(StatusCode::BAD_REQUEST, words));
        }
        let version = era::legacy(&fields)?;
        let objects = |version| match batch::objection(version, &messages) {
            Some(words) => Err(refuse(StatusCode::BAD_REQUEST, words)),
            None => Ok(()),
        };
        objects(version)?;
        let session = self.session_for(&fields.session, &caller, version, note).await?;
        // What was agreed on counts; what a request says of it may be left out.
        objects(session.version())?;
        note.carried = true;

        let (mut asked, mut ids) = (Vec::new(), Vec::new());
        for message in messages {
            let (caller, carried) = (caller.clone(), fields.carried.clone());
            let exchange = Exchange { message, caller, version, carried };
            match Asking::new(&session, &exchange, accept, &self.options) {
                Some(asking) => {
                    ids.push(asking.id.clone());
                    asked.push(events(asking, exchange));
                }
                None => {
                    let sent = session.send(exchange).await;
                    sent.map_err(|error| Refusal::of(&error, Stage::Telling))?;
                }
            }
        }
        if asked.is_empty() {
            return Ok(respond::empty(StatusCode::ACCEPTED));
        }
        let asked = stream::select_all(asked);
        let gathering = Gathering { asked, ids, session, caller, accept };
        Ok(gathering.respond(self.options.keep_alive).await)
    }
}

/// What one request of a batch comes to; begins when polled.
fn events(asking: Asking, exchange: Exchange) -> BoxStream<'static, Event> {
    let session = Arc::clone(&asking.session);
    async move { asking.into_events(session.send(exchange).await) }.flatten_stream().boxed()
}

struct Gathering {
    asked: SelectAll<BoxStream<'static, Event>>,
    ids: Vec<Id>,
    session: Arc<dyn Session>,
    caller: Caller,
    accept: Accept,
}

impl Gathering {
    async fn respond(mut self, keep_alive: std::time::Duration) -> Response<Outgoing> {
        let mut gathered = Vec::new();
        let patience = tokio::time::sleep(keep_alive);
        tokio::pin!(patience);
        loop {
            let next = tokio::select! {
                next = self.asked.next() => next,
                () = &mut patience, if self.accept.events => break,
            };
            match next {
                Some(event) if answer::is_answer(&event) => gathered.push(event),
                Some(event) if self.accept.events => {
                    gathered.push(event);
                    break;
                }
                Some(Event::Message { message, .. }) => {
                    answer::decline(&self.session, message, &self.caller).await;
                }
                Some(Event::Pause { .. }) => (),
                None if self.accept.json => return array(&gathered),
                None => break,
            }
        }
        let events = stream::iter(gathered).chain(self.asked);
        // Revisions with batches have no priming events.
        let manner = Manner { primes: false, keep_alive };
        streams::keep(&self.session, &self.ids, events, manner)
    }
}

fn array(answers: &[Event]) -> Response<Outgoing> {
    let mut out = BytesMut::from(&b"["[..]);
    for event in answers {
        let Event::Message { message, .. } = event else { continue };
        if 1 < out.len() {
            out.put_u8(b',');
        }
        out.extend_from_slice(message.as_bytes());
    }
    out.put_u8(b']');
    let mut response = Response::new(Outgoing::whole(Bytes::from(out)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
