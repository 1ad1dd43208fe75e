//! The events of a response, as a client half reads them.

use std::time::Duration;

use futures::future;
use http_body_util::BodyExt;
use hyper::Response;
use mcp_jsonrpc::{
    Limits,
    transport::{ErrorKind, EventId, TransportError},
};

use crate::{
    http::{self, HttpTarget, Incoming},
    wire::{self, Decoder, Item},
};

/// The events of a response.  Who does not ask is not sent more than the connection's buffers
/// hold.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    decoder: Decoder,
    idle_timeout: Option<Duration>,
}

impl Events {
    /// The events of this response; `idle_timeout` is how long it may stay without a byte.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if it is no event stream.
    pub fn of(
        target: &HttpTarget,
        response: Response<Incoming>,
        limits: Limits,
        idle_timeout: Option<Duration>,
    ) -> Result<Self, TransportError> {
        if !http::is_type(&response, wire::CONTENT_TYPE) {
            return Err(http::not_events(target, &response));
        }
        Ok(Self { body: response.into_body(), decoder: Decoder::new(limits), idle_timeout })
    }

    /// The next item; none when the stream has ended.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] when the connection breaks, [`ErrorKind::Timeout`] after
    /// `idle_timeout` without a byte.
    pub async fn next(&mut self, target: &HttpTarget) -> Result<Option<Item>, TransportError> {
        loop {
            if let Some(item) = self.decoder.next_item() {
                return Ok(Some(item));
            }
            let frame = match self.idle_timeout {
                Some(limit) => tokio::time::timeout(limit, self.body.frame()).await,
                None => future::ready(Ok(self.body.frame().await)).await,
            };
            match frame {
                Ok(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.decoder.feed(chunk);
                    }
                }
                Ok(Some(Err(error))) => return Err(http::broken(target, error)),
                Ok(None) => return Ok(None),
                Err(elapsed) => {
                    let what = "its event stream was silent for too long";
                    return Err(TransportError::new(ErrorKind::Timeout, what)
                        .of(target.name())
                        .hint("it does not even send keep-alive comments")
                        .because(elapsed));
                }
            }
        }
    }

    /// The id after which the stream can be resumed, if it named one.
    pub fn last_event_id(&self) -> Option<&EventId> {
        self.decoder.last_event_id()
    }
}
