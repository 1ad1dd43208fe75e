//! A client of 2026-07-28 over HTTP: no session, and all about itself in each request.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode};

use super::{
    connection::{Connection, refusal},
    streamable::answer_of,
};
use crate::{
    error::Result,
    modern::{check_discovered, fields, request},
};

/// One client with one connection.
pub(crate) struct Session {
    connection: Connection,
    path: String,
    /// The fields of every request.
    headers: HeaderMap,
    /// Those of calls of the tool that was called last.
    of_tool: Option<(&'static str, HeaderMap)>,
}

impl Session {
    /// Asks the server what it speaks: nothing is opened.
    pub(super) async fn open(addr: SocketAddr, path: &str) -> Result<Self> {
        let (connection, headers) = (Connection::new(addr), Connection::headers(addr));
        let mut session = Self { connection, path: path.to_owned(), headers, of_tool: None };
        let body = request(0, "server/discover");
        let (answer, _) = session.request("server/discover", body).await?;
        check_discovered(&answer, 0)?;
        Ok(session)
    }

    /// The answer to a call of `tool`, or to `tools/list`.
    pub(super) async fn ask(
        &mut self,
        body: Bytes,
        tool: Option<&'static str>,
    ) -> Result<(Bytes, u32)> {
        let Some(tool) = tool else { return self.request("tools/list", body).await };
        let headers = match self.of_tool.take() {
            Some((name, headers)) if name == tool => headers,
            _ => {
                let mut headers = self.headers.clone();
                fields(&mut headers, "tools/call", Some(tool));
                headers
            }
        };
        let answer = self.send(&headers, body).await;
        self.of_tool = Some((tool, headers));
        answer
    }

    pub(super) fn rest(&mut self) {
        self.connection.close();
    }

    async fn request(&mut self, method: &'static str, body: Bytes) -> Result<(Bytes, u32)> {
        let mut headers = self.headers.clone();
        fields(&mut headers, method, None);
        self.send(&headers, body).await
    }

    async fn send(&mut self, headers: &HeaderMap, body: Bytes) -> Result<(Bytes, u32)> {
        let response = self.connection.send(Method::POST, &self.path, headers, body).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal("a request", response).await);
        }
        answer_of(response).await
    }
}
