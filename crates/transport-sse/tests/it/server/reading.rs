//! A client's stream, read as a client does: events, however they were put into frames.

use std::pin::Pin;

use futures::future;
use hyper::{Request, body::Body};
use mcp_jsonrpc::transport::Caller;
use serde_json::Value;
use transport_sse::{body::Outgoing, server::Server};

/// An open stream, read by hand.
pub(super) struct Stream {
    body: Outgoing,
    /// What has come and is not taken yet: a frame may hold several events, and part of one.
    text: String,
    pub(super) post_to: String,
    /// The id of the last event.
    pub(super) last: Option<String>,
}

/// The value of a field of an event.
fn field<'a>(event: &'a str, name: &str) -> Option<&'a str> {
    event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

impl Stream {
    pub(super) async fn open(server: &Server) -> Self {
        Self::open_as(server, Caller::anonymous()).await
    }

    pub(super) async fn open_as(server: &Server, caller: Caller) -> Self {
        Self::get(server, caller, &[]).await
    }

    /// A client that lost its stream, and is there again.
    pub(super) async fn again(server: &Server, last: &str) -> Self {
        Self::get(server, Caller::anonymous(), &[("last-event-id", last)]).await
    }

    pub(super) async fn get(server: &Server, caller: Caller, fields: &[(&str, &str)]) -> Self {
        let mut request = Request::get("/a/sse");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Outgoing::empty()).unwrap();
        let response = server.handle_stream(request, caller, "/a/message").await;
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["cache-control"], "no-cache, no-transform");
        assert_eq!(headers["x-accel-buffering"], "no");
        let (text, post_to) = (String::new(), String::new());
        let mut stream = Self { body: response.into_body(), text, post_to, last: None };
        assert_eq!(stream.next().await.unwrap(), ": \n\n");
        let endpoint = stream.next().await.unwrap();
        assert!(endpoint.starts_with("event: endpoint\ndata: "), "{endpoint}");
        stream.post_to = field(&endpoint, "data").unwrap().to_owned();
        stream
    }

    /// The next event or comment; none at the end, which comes in the middle of neither.
    pub(super) async fn next(&mut self) -> Option<String> {
        while !self.text.contains("\n\n") {
            let Some(frame) = future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await
            else {
                assert_eq!(self.text, "");
                return None;
            };
            let bytes = frame.unwrap().into_data().unwrap();
            self.text += std::str::from_utf8(&bytes).unwrap();
        }
        let rest = self.text.split_off(self.text.find("\n\n").unwrap() + 2);
        let chunk = std::mem::replace(&mut self.text, rest);
        self.last = field(&chunk, "id").map(str::to_owned).or_else(|| self.last.take());
        Some(chunk)
    }

    /// The next message.
    pub(super) async fn message(&mut self) -> Value {
        loop {
            let chunk = self.next().await.unwrap();
            if chunk.starts_with("event: message\n") {
                return serde_json::from_str(field(&chunk, "data").unwrap()).unwrap();
            }
            assert!(chunk.starts_with(':'), "{chunk}");
        }
    }
}
