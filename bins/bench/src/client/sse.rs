//! A session over HTTP+SSE: one connection for the stream, one for the messages.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::{
    HeaderMap, Method, StatusCode,
    body::Incoming,
    header::{HeaderName, HeaderValue},
};

use super::{
    connection::{Connection, drain, refusal},
    is_answer,
};
use crate::{
    error::{Failure, Result},
    http, rpc,
    sse::{Event, Splitter},
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An open session; dropped, it ends, because its stream does.
pub(crate) struct Session {
    stream: Stream,
    posts: Posts,
    addr: SocketAddr,
    path: String,
}

struct Stream {
    _connection: Connection,
    body: Incoming,
    splitter: Splitter,
    /// Of the last event that had one.
    last: Option<Bytes>,
}

struct Posts {
    connection: Connection,
    endpoint: String,
    headers: HeaderMap,
}

impl Session {
    pub(super) async fn open(addr: SocketAddr, path: &str) -> Result<Self> {
        let headers = Connection::headers(addr);
        let (stream, endpoint) = Stream::open(addr, path, &headers).await?;
        let posts = Posts { connection: Connection::new(addr), endpoint, headers };
        let mut session = Self { stream, posts, addr, path: path.to_owned() };
        let (answer, _) = session.ask(rpc::initialize(0)).await?;
        rpc::check_initialize(&answer, 0)?;
        session.posts.post(rpc::initialized()).await?;
        Ok(session)
    }

    /// Both at once: a server may answer on the stream before it accepts the message.
    pub(super) async fn ask(&mut self, body: Bytes) -> Result<(Bytes, u32)> {
        let Self { stream, posts, .. } = self;
        let ((), answer) = tokio::try_join!(posts.post(body), stream.answer())?;
        Ok(answer)
    }

    /// Opens the stream again, and sees to it that it is the same session's.
    pub(super) async fn come_back(&mut self) -> Result<()> {
        let mut headers = self.posts.headers.clone();
        let last = self.stream.last.as_deref().and_then(|it| HeaderValue::from_bytes(it).ok());
        headers.extend(last.map(|last| (LAST_EVENT_ID, last)));
        let (mut stream, endpoint) = Stream::open(self.addr, &self.path, &headers).await?;
        if endpoint != self.posts.endpoint {
            return Err(Failure::Wrong("the endpoint of another session".to_owned()));
        }
        stream.last = stream.last.or_else(|| self.stream.last.take());
        self.stream = stream;
        self.posts.connection.close();
        Ok(())
    }

    pub(super) fn rest(&mut self) {
        self.posts.connection.close();
    }
}

impl Posts {
    async fn post(&mut self, body: Bytes) -> Result<()> {
        let Self { connection, endpoint, headers } = self;
        let response = connection.send(Method::POST, endpoint, headers, body).await?;
        if !response.status().is_success() {
            return Err(refusal("a message", response).await);
        }
        drain(response).await
    }
}

impl Stream {
    /// Opens it; returns also where messages go.
    async fn open(addr: SocketAddr, path: &str, headers: &HeaderMap) -> Result<(Self, String)> {
        let mut connection = Connection::new(addr);
        let response = connection.send(Method::GET, path, headers, Bytes::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal("the event stream", response).await);
        }
        let (body, splitter) = (response.into_body(), Splitter::default());
        let mut stream = Self { _connection: connection, body, splitter, last: None };
        let first = stream.event().await?;
        if first.name != "endpoint" {
            return Err(Failure::Wrong(format!("the first event is {:?}", first.name)));
        }
        let endpoint = endpoint(addr, path, &first.data)?;
        Ok((stream, endpoint))
    }

    async fn answer(&mut self) -> Result<(Bytes, u32)> {
        let mut notes = 0;
        loop {
            let event = self.event().await?;
            if is_answer(&event.data)? {
                return Ok((event.data, notes));
            }
            notes += 1;
        }
    }

    async fn event(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.splitter.next_event() {
                if event.id.is_some() {
                    self.last.clone_from(&event.id);
                }
                return Ok(event);
            }
            let chunk = http::chunk(&mut self.body).await?;
            let ended = || Failure::Peer("the event stream ended".to_owned());
            self.splitter.push(&chunk.ok_or_else(ended)?)?;
        }
    }
}

/// Where messages go: a path, a path relative to the stream's, or a URL of the same origin.
fn endpoint(addr: SocketAddr, path: &str, data: &[u8]) -> Result<String> {
    let given = str::from_utf8(data).map_err(|_| Failure::Wrong("an endpoint".to_owned()))?;
    if let Some(rest) = given.strip_prefix("http://") {
        let rest = rest.strip_prefix(&addr.to_string()).filter(|it| it.starts_with('/'));
        let other = || Failure::Wrong(format!("an endpoint of another origin: {given}"));
        return rest.map(str::to_owned).ok_or_else(other);
    }
    if given.starts_with('/') {
        return Ok(given.to_owned());
    }
    if given.starts_with('?') {
        return Ok(format!("{path}{given}"));
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    Ok(format!("{folder}/{given}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_resolved_within_their_origin() {
        let addr: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let resolve = |given: &str| endpoint(addr, "/up/sse", given.as_bytes());
        assert_eq!(resolve("/up/messages?sessionId=1").unwrap(), "/up/messages?sessionId=1");
        assert_eq!(resolve("messages?s=1").unwrap(), "/up/messages?s=1");
        assert_eq!(resolve("?s=1").unwrap(), "/up/sse?s=1");
        assert_eq!(resolve("http://127.0.0.1:8080/m").unwrap(), "/m");
        assert!(resolve("http://127.0.0.1:80801/m").is_err());
        assert!(resolve("http://example.org/m").is_err());
    }
}
