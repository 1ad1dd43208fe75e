//! A client of OpenAPI, for what offers tools that way: one POST for each call, and no session.

use std::net::SocketAddr;

use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use serde_json::value::RawValue;

use super::connection::{Connection, drain, refusal};
use crate::{
    error::{Failure, Result},
    http,
    rpc::{self, Call},
};

/// One client with one connection.
pub(crate) struct Session {
    connection: Connection,
    path: String,
    headers: HeaderMap,
}

impl Session {
    /// Asks what there is: nothing is opened.
    pub(super) async fn open(addr: SocketAddr, path: &str) -> Result<Self> {
        let (mut connection, headers) = (Connection::new(addr), Connection::headers(addr));
        let described = format!("{path}/openapi.json");
        let response = connection.send(Method::GET, &described, &headers, Bytes::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal("the description", response).await);
        }
        drain(response).await?;
        Ok(Self { connection, path: path.to_owned(), headers })
    }

    /// Makes a call and checks what comes of it.
    pub(super) async fn call(&mut self, call: &Call) -> Result<()> {
        let read: Body<'_> = serde_json::from_slice(&call.body)
            .map_err(|cause| Failure::Process(format!("a call of ours: {cause}")))?;
        let body = Bytes::copy_from_slice(read.params.arguments.get().as_bytes());
        let path = format!("{}/{}", self.path, read.params.name);
        let response = self.connection.send(Method::POST, &path, &self.headers, body).await?;
        if response.status() != StatusCode::OK {
            return Err(refusal("a call", response).await);
        }
        let answer = http::whole(response.into_body()).await?;
        let said: rpc::Text<'_> = serde_json::from_slice(&answer).map_err(|_| {
            Failure::Wrong(format!("call {}: no text: {}", call.id, rpc::start(&answer)))
        })?;
        call.check_text(&said.0)
    }

    pub(super) fn rest(&mut self) {
        self.connection.close();
    }
}

#[derive(serde::Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(serde::Deserialize)]
struct Params<'a> {
    name: &'a str,
    #[serde(borrow)]
    arguments: &'a RawValue,
}
