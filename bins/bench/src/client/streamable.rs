//! A session over Streamable HTTP.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};

use super::{
    connection::{Connection, drain, refusal},
    is_answer,
};
use crate::{
    error::{Failure, Result},
    http, rpc,
    sse::Splitter,
};

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";

/// An open session.
pub(crate) struct Session {
    connection: Connection,
    path: String,
    headers: HeaderMap,
    /// The connection of the listening stream and its body, read only by who waits for news.
    stream: Option<(Connection, Response<Incoming>)>,
    addr: SocketAddr,
}

impl Session {
    pub(super) async fn open(
        addr: SocketAddr,
        path: &str,
        token: Option<&'static str>,
        revision: &str,
    ) -> Result<Self> {
        let mut headers = Connection::headers(addr);
        let token = token.and_then(|it| HeaderValue::try_from(format!("Bearer {it}")).ok());
        headers.extend(token.map(|it| (AUTHORIZATION, it)));
        let connection = Connection::new(addr);
        let mut session = Self { connection, path: path.to_owned(), headers, stream: None, addr };
        let response = session.post(rpc::initialize_in(revision, 0)).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal("initialize", response).await);
        }
        if let Some(id) = response.headers().get(SESSION).cloned() {
            session.headers.insert(SESSION, id);
        }
        let (answer, _) = answer_of(response).await?;
        let revision = rpc::check_initialize(&answer, 0)?;
        let revision = HeaderValue::try_from(revision)
            .map_err(|_| Failure::Wrong("a revision that fits no header".to_owned()))?;
        session.headers.insert(VERSION, revision);
        let response = session.post(rpc::initialized()).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(refusal("notifications/initialized", response).await);
        }
        drain(response).await?;
        Ok(session)
    }

    pub(super) async fn ask(&mut self, body: Bytes) -> Result<(Bytes, u32)> {
        let response = self.post(body).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal("a call", response).await);
        }
        answer_of(response).await
    }

    pub(super) async fn listen(&mut self) -> Result<()> {
        let mut connection = Connection::new(self.addr);
        let response =
            connection.send(Method::GET, &self.path, &self.headers, Bytes::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal("the listening stream", response).await);
        }
        self.stream = Some((connection, response));
        Ok(())
    }

    pub(super) async fn hears(&mut self, what: &str) -> Result<()> {
        let none = || Failure::Process("nobody listens".to_owned());
        let (_, response) = self.stream.as_mut().ok_or_else(none)?;
        let mut splitter = Splitter::default();
        while let Some(chunk) = http::chunk(response.body_mut()).await? {
            splitter.push(&chunk)?;
            while let Some(event) = splitter.next_event() {
                if event.data.windows(what.len()).any(|it| it == what.as_bytes()) {
                    return Ok(());
                }
            }
        }
        Err(Failure::Process("the listening stream ended".to_owned()))
    }

    pub(super) fn rest(&mut self) {
        self.connection.close();
    }

    /// Asks, and reads no more of the answer than its head.
    pub(super) async fn stall(&mut self, body: Bytes) -> Result<()> {
        let mut connection = Connection::new(self.addr);
        let response = connection.send(Method::POST, &self.path, &self.headers, body).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal("a call", response).await);
        }
        self.stream = Some((connection, response));
        Ok(())
    }

    pub(super) async fn close(mut self) -> Result<()> {
        if !self.headers.contains_key(SESSION) {
            return Ok(());
        }
        let response =
            self.connection.send(Method::DELETE, &self.path, &self.headers, Bytes::new()).await?;
        // A server may refuse to end sessions on request.
        if response.status().is_success() || response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return drain(response).await;
        }
        Err(refusal("ending a session", response).await)
    }

    async fn post(&mut self, body: Bytes) -> Result<Response<Incoming>> {
        self.connection.send(Method::POST, &self.path, &self.headers, body).await
    }
}

/// The answer in a response, alone or at the end of a stream, and the notifications before it.
pub(super) async fn answer_of(response: Response<Incoming>) -> Result<(Bytes, u32)> {
    let kind = response.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !kind.starts_with(b"text/event-stream") {
        return Ok((http::whole(response.into_body()).await?, 0));
    }
    let mut body = response.into_body();
    let mut splitter = Splitter::default();
    let (mut answer, mut notes) = (None, 0);
    // To the end, also behind the answer: only then can the connection be used again.
    while let Some(chunk) = http::chunk(&mut body).await? {
        splitter.push(&chunk)?;
        while let Some(event) = splitter.next_event() {
            // An event without data only carries an id to resume from.
            if event.data.is_empty() {
                continue;
            }
            if !is_answer(&event.data)? {
                notes += 1;
            } else if answer.replace(event.data).is_some() {
                return Err(Failure::Wrong("two answers to one request".to_owned()));
            }
        }
    }
    let answer = answer.ok_or_else(|| Failure::Wrong("a stream without an answer".to_owned()))?;
    Ok((answer, notes))
}
