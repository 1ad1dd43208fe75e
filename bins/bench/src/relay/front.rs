//! The front of the relay with a shared child: the least of Streamable HTTP, and of HTTP+SSE.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header::HeaderValue};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};

use super::child::{Shared, Way};
use crate::{
    error::{Failure, Result},
    http::{self, Reply},
    modern::Era,
    rpc::Envelope,
    streams::{Streams, event, id_in_query, id_text},
};

const SESSION: &str = "mcp-session-id";

struct Front {
    child: Shared,
    streams: Arc<Streams>,
    last: AtomicU64,
}

/// Serves both HTTP transports with one child behind, until the future is dropped.
///
/// # Errors
/// [`Failure`] when the child does not start or open its session.
pub(crate) async fn serve(
    listener: TcpListener,
    era: Era,
    program: PathBuf,
    args: &[String],
) -> Result<()> {
    let (child, _kill_on_drop) = Shared::start(era, &program, args).await?;
    let front = Front { child, streams: Arc::default(), last: AtomicU64::new(0) };
    let front = Arc::new(front);
    http::serve(listener, || {
        let front = Arc::clone(&front);
        move |request| {
            let front = Arc::clone(&front);
            async move { front.answer(request).await }
        }
    })
    .await;
    Ok(())
}

impl Front {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Reply>> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, "/mcp") => self.post_mcp(request).await,
            (&Method::DELETE, "/mcp") => Ok(http::status(StatusCode::OK)),
            (&Method::GET, "/sse") => Ok(self.open_sse()),
            (&Method::POST, "/messages") => self.post_message(request).await,
            (_, "/mcp" | "/sse" | "/messages") => Ok(http::status(StatusCode::METHOD_NOT_ALLOWED)),
            _ => Ok(http::status(StatusCode::NOT_FOUND)),
        }
    }

    async fn post_mcp(&self, request: Request<Incoming>) -> Result<Response<Reply>> {
        let body = http::whole(request.into_body()).await?;
        let read = Envelope::read(&body)?;
        let Some(id) = read.id.filter(|_| read.method().is_some()) else {
            self.forward_note(&read, &body).await?;
            return Ok(http::status(StatusCode::ACCEPTED));
        };
        let id = id.get().as_bytes();
        if read.method() == Some("initialize") {
            let mut response = http::json(self.child.opened(id)?);
            let session = id_text(self.last.fetch_add(1, Ordering::Relaxed));
            if let Ok(session) = HeaderValue::try_from(session) {
                response.headers_mut().insert(SESSION, session);
            }
            return Ok(response);
        }
        let (sender, answer) = oneshot::channel();
        self.child.ask(&body, id, Way::Once(sender)).await?;
        let gone = |_| Failure::Process("the child has ended".to_owned());
        Ok(http::json(answer.await.map_err(gone)?))
    }

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
        self.forward(body, sender).await?;
        let mut response = http::status(StatusCode::ACCEPTED);
        *response.body_mut() = Reply::Full(Some(Bytes::from_static(b"Accepted")));
        Ok(response)
    }

    async fn forward(&self, body: Bytes, sender: mpsc::Sender<Bytes>) -> Result<()> {
        let read = Envelope::read(&body)?;
        let Some(id) = read.id.filter(|_| read.method().is_some()) else {
            return self.forward_note(&read, &body).await;
        };
        let id = id.get().as_bytes();
        if read.method() == Some("initialize") {
            let opened = event("message", &self.child.opened(id)?);
            let gone = |_| Failure::Peer("the stream is gone".to_owned());
            return sender.send(opened).await.map_err(gone);
        }
        self.child.ask(&body, id, Way::Stream(sender)).await
    }

    /// The child's session is open already: that it is, it need not hear from every client.
    async fn forward_note(&self, read: &Envelope<'_>, body: &Bytes) -> Result<()> {
        if read.method() == Some("notifications/initialized") {
            return Ok(());
        }
        self.child.tell(body.clone()).await
    }
}
