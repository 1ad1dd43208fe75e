//! The upstream over HTTP: Streamable (with sessions) or 2026-07-28 at `/mcp`, or HTTP+SSE at
//! `/sse`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, body::Incoming, header::HeaderValue,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::task::TaskTracker;

use super::{Action, Lie, Tools, unreadable};
use crate::{
    client::Wire,
    error::{Failure, Result},
    http::{self, Reply},
    rpc,
    streams::{Stream, Streams, event, id_in_query, id_of, id_text},
};

/// The header of a session.
pub(crate) const SESSION: &str = "mcp-session-id";

#[derive(Debug)]
struct Upstream {
    wire: Wire,
    tools: Tools,
    /// Sessions of HTTP+SSE: they end with their stream.
    streams: Arc<Streams>,
    /// Sessions of Streamable: they end by DELETE.
    sessions: Sessions,
    /// Where the calls that wait for their callers' answers are answered.
    asking: Mutex<HashMap<u64, mpsc::Sender<Bytes>>>,
    tasks: TaskTracker,
}

/// The sessions of Streamable; as many as [`crate::streams::SESSIONS_MAX`].
#[derive(Debug, Default)]
struct Sessions {
    last: std::sync::atomic::AtomicU64,
    open: std::sync::RwLock<std::collections::HashSet<u64>>,
}

/// Serves one of the HTTP transports on `listener` until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, wire: Wire, lie: Option<Lie>) {
    let upstream = Arc::new(Upstream {
        wire,
        tools: Tools::new(wire.era(), lie),
        streams: Arc::default(),
        sessions: Sessions::default(),
        asking: Mutex::default(),
        tasks: TaskTracker::new(),
    });
    http::serve(listener, || {
        let upstream = Arc::clone(&upstream);
        move |request| {
            let upstream = Arc::clone(&upstream);
            async move { upstream.answer(request).await }
        }
    })
    .await;
}

impl Upstream {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Reply>> {
        match (self.wire, request.method(), request.uri().path()) {
            (Wire::Streamable, &Method::POST, "/mcp") => self.post_mcp(request).await,
            (Wire::Modern, &Method::POST, "/mcp") => self.post_modern(request).await,
            (Wire::Streamable, &Method::GET, "/mcp") => Ok(self.listen(&request)),
            (Wire::Streamable, &Method::DELETE, "/mcp") => Ok(self.end(&request)),
            (Wire::Sse, &Method::GET, "/sse") => Ok(self.open_sse()),
            (Wire::Sse, &Method::POST, "/messages") => self.post_message(request).await,
            (Wire::Streamable | Wire::Modern, _, "/mcp") | (Wire::Sse, _, "/sse" | "/messages") => {
                Ok(http::status(StatusCode::METHOD_NOT_ALLOWED))
            }
            _ => Ok(http::status(StatusCode::NOT_FOUND)),
        }
    }

    // === Streamable HTTP ===

    async fn post_mcp(&self, request: Request<Incoming>) -> Result<Response<Reply>> {
        let (head, body) = request.into_parts();
        let body = http::whole(body).await?;
        let opens = match rpc::Envelope::read(&body) {
            Ok(read) => read.method() == Some("initialize"),
            Err(cause) => return Ok(bad_request(&cause)),
        };
        if opens {
            return Ok(self.open(&body));
        }
        if let Err(refusal) = self.sessions.check(&head.headers) {
            return Ok(http::status(refusal));
        }
        self.act(&body, None).await
    }

    async fn post_modern(&self, request: Request<Incoming>) -> Result<Response<Reply>> {
        let (head, body) = request.into_parts();
        let body = http::whole(body).await?;
        self.act(&body, Some(&head.headers)).await
    }

    async fn act(&self, body: &[u8], fields: Option<&HeaderMap>) -> Result<Response<Reply>> {
        Ok(match self.tools.act(body, fields) {
            Err(cause) => bad_request(&cause),
            Ok(Action::Nothing) => http::status(StatusCode::ACCEPTED),
            Ok(Action::Refuse(answer)) => {
                let mut response = http::json(answer);
                *response.status_mut() = StatusCode::BAD_REQUEST;
                response
            }
            Ok(Action::Ask(number, question)) => {
                let (sender, stream) = Stream::alone();
                // Room for one event there is.
                if sender.try_send(event("message", &question)).is_err() {
                    return Ok(http::status(StatusCode::INTERNAL_SERVER_ERROR));
                }
                self.asking().insert(number, sender);
                http::events(stream)
            }
            Ok(Action::GoOn(number, answer)) => {
                let sender = self.asking().remove(&number);
                if let Some(sender) = sender {
                    send_all(sender, Vec::new(), answer).await;
                }
                http::status(StatusCode::ACCEPTED)
            }
            Ok(Action::Answer(answer)) => http::json(answer),
            Ok(Action::AnswerAfter(pause, answer)) => {
                tokio::time::sleep(pause).await;
                http::json(answer)
            }
            Ok(Action::AnswerBehind(notes, answer)) => {
                let (sender, stream) = Stream::alone();
                self.tasks.spawn(send_all(sender, notes, answer));
                http::events(stream)
            }
        })
    }

    fn asking(&self) -> MutexGuard<'_, HashMap<u64, mpsc::Sender<Bytes>>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, body: &[u8]) -> Response<Reply> {
        let answer = match self.tools.act(body, None) {
            Ok(Action::Answer(answer)) => answer,
            Ok(_) => return http::status(StatusCode::BAD_REQUEST),
            Err(cause) => return bad_request(&cause),
        };
        let Some(id) = self.sessions.open() else {
            return http::status(StatusCode::SERVICE_UNAVAILABLE);
        };
        let mut response = http::json(answer);
        if let Ok(value) = HeaderValue::try_from(id_text(id)) {
            response.headers_mut().insert(SESSION, value);
        }
        response
    }

    /// A stream on which nothing comes: this server has nothing to say unasked.
    fn listen(&self, request: &Request<Incoming>) -> Response<Reply> {
        if let Err(refusal) = self.sessions.check(request.headers()) {
            return http::status(refusal);
        }
        let Some((_, sender, stream)) = self.streams.open() else {
            return http::status(StatusCode::SERVICE_UNAVAILABLE);
        };
        // A comment, so that the head leaves at once whatever stands in between.
        if sender.try_send(Bytes::from_static(b": open\n\n")).is_err() {
            return http::status(StatusCode::SERVICE_UNAVAILABLE);
        }
        http::events(stream)
    }

    fn end(&self, request: &Request<Incoming>) -> Response<Reply> {
        match self.sessions.check(request.headers()) {
            Ok(id) => {
                self.sessions.close(id);
                http::status(StatusCode::OK)
            }
            Err(refusal) => http::status(refusal),
        }
    }

    // === HTTP+SSE ===

    fn open_sse(&self) -> Response<Reply> {
        let Some((id, sender, stream)) = self.streams.open() else {
            return http::status(StatusCode::SERVICE_UNAVAILABLE);
        };
        let endpoint = format!("/messages?sessionId={}", id_text(id));
        if sender.try_send(event("endpoint", endpoint.as_bytes())).is_err() {
            return http::status(StatusCode::SERVICE_UNAVAILABLE);
        }
        http::events(stream)
    }

    async fn post_message(&self, request: Request<Incoming>) -> Result<Response<Reply>> {
        let session = id_in_query(request.uri().query());
        let Some(sender) = session.and_then(|id| self.streams.find(id)) else {
            return Ok(http::status(StatusCode::NOT_FOUND));
        };
        let body = http::whole(request.into_body()).await?;
        match self.tools.act(&body, None) {
            Err(cause) => return Ok(bad_request(&cause)),
            Ok(Action::Nothing) => {}
            Ok(
                Action::Answer(answer)
                | Action::Refuse(answer)
                | Action::Ask(_, answer)
                | Action::GoOn(_, answer),
            ) => {
                let full = sender.try_send(event("message", &answer)).err();
                if let Some(mpsc::error::TrySendError::Full(event)) = full {
                    self.tasks.spawn(async move { drop(sender.send(event).await) });
                }
            }
            Ok(Action::AnswerAfter(pause, answer)) => {
                self.tasks.spawn(async move {
                    tokio::time::sleep(pause).await;
                    send_all(sender, Vec::new(), answer).await;
                });
            }
            Ok(Action::AnswerBehind(notes, answer)) => {
                self.tasks.spawn(send_all(sender, notes, answer));
            }
        }
        let mut response = http::status(StatusCode::ACCEPTED);
        *response.body_mut() = Reply::Full(Some(Bytes::from_static(b"Accepted")));
        Ok(response)
    }
}

impl Sessions {
    fn open(&self) -> Option<u64> {
        let id = self.last.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let mut open = self.open.write().ok()?;
        (open.len() < crate::streams::SESSIONS_MAX && open.insert(id)).then_some(id)
    }

    /// The session of a request; 400 without one, 404 for one that is not open.
    fn check(&self, headers: &HeaderMap) -> Result<u64, StatusCode> {
        let id = headers.get(SESSION).ok_or(StatusCode::BAD_REQUEST)?;
        let id = id.to_str().ok().and_then(id_of).ok_or(StatusCode::NOT_FOUND)?;
        let open = self.open.read().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
        if open.contains(&id) { Ok(id) } else { Err(StatusCode::NOT_FOUND) }
    }

    fn close(&self, id: u64) {
        if let Ok(mut open) = self.open.write() {
            open.remove(&id);
        }
    }
}

/// Stops at the first that the reader does not want any more.
async fn send_all(sender: mpsc::Sender<Bytes>, notes: Vec<Bytes>, answer: Bytes) {
    for message in notes.into_iter().chain([answer]) {
        if sender.send(event("message", &message)).await.is_err() {
            return;
        }
    }
}

fn bad_request(cause: &Failure) -> Response<Reply> {
    let mut response = http::json(unreadable(cause));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}
