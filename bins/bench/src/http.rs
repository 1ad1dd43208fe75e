//! HTTP as upstream, relays and generator share it: bodies with a limit, a serving loop.

use std::{
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::task::TaskTracker;

use crate::{
    error::{Failure, Result},
    streams::Stream,
};

/// A body may hold this many bytes.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A server of ours holds this many connections; further ones wait.
const CONNECTIONS_MAX: usize = 16_000;
/// Ports given by us lie below those the system hands out, so that neither takes the other's.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A body of ours.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Whole; `None` once taken.
    Full(Option<Bytes>),
    /// Events as they come.
    Stream(Stream),
    /// What another server sends.
    Relayed(Incoming),
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|it| Ok(Frame::data(it)))),
            Self::Stream(stream) => {
                let event = ready!(stream.events.poll_recv(cx));
                Poll::Ready(event.map(|it| Ok(Frame::data(it))))
            }
            Self::Relayed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Stream(_) => false,
            Self::Relayed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Stream(_) => SizeHint::default(),
            Self::Relayed(body) => body.size_hint(),
        }
    }
}

/// A JSON answer.
pub(crate) fn json(body: Bytes) -> Response<Reply> {
    typed("application/json", Reply::Full(Some(body)))
}

/// An event stream.
pub(crate) fn events(stream: Stream) -> Response<Reply> {
    typed("text/event-stream", Reply::Stream(stream))
}

/// An answer that is only a status.
pub(crate) fn status(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::Full(None));
    *response.status_mut() = status;
    response
}

fn typed(kind: &'static str, body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The whole of a body; one chunk is not copied.
///
/// # Errors
/// [`Failure::Peer`] beyond [`BODY_BYTES_MAX`], [`Failure::Http`] when the connection breaks.
pub(crate) async fn whole(mut body: Incoming) -> Result<Bytes> {
    let Some(first) = chunk(&mut body).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() {
        return Ok(first);
    }
    let Some(second) = chunk(&mut body).await? else { return Ok(first) };
    let expected = usize::try_from(body.size_hint().lower()).unwrap_or(0).min(BODY_BYTES_MAX);
    let mut all = BytesMut::with_capacity(first.len() + second.len() + expected);
    all.extend_from_slice(&first);
    all.extend_from_slice(&second);
    while let Some(next) = chunk(&mut body).await? {
        if BODY_BYTES_MAX < all.len() + next.len() {
            return Err(Failure::Peer(format!("a body beyond {BODY_BYTES_MAX} bytes")));
        }
        all.extend_from_slice(&next);
    }
    Ok(all.freeze())
}

/// The next chunk of a body, `None` at its end.
///
/// # Errors
/// [`Failure::Http`] when the connection breaks.
pub(crate) async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(Failure::http("reading a body"))?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Binds a loopback port; 0 takes a free one below the system's own range.
///
/// # Errors
/// [`Failure::Io`] when the port is taken.
pub(crate) async fn bind(port: u16) -> Result<TcpListener> {
    if port != 0 {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        return TcpListener::bind(wanted).await.map_err(Failure::io(format!("{wanted}")));
    }
    let span = u32::from(PORTS.end - PORTS.start);
    // Processes of one run start at different places, and step over what is taken.
    let start = std::process::id().wrapping_mul(7919);
    for step in 0..span {
        let offset = start.wrapping_add(step.wrapping_mul(13)) % span;
        let port = PORTS.start + u16::try_from(offset).unwrap_or(0);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return Ok(listener);
        }
    }
    Err(Failure::Process(format!("no free port in {PORTS:?}")))
}

/// Serves every connection of `listener` until the future is dropped.
pub(crate) async fn serve<S, H, F>(listener: TcpListener, per_connection: S)
where
    S: Fn() -> H,
    H: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output = Result<Response<Reply>>> + Send + 'static,
{
    let tasks = TaskTracker::new();
    let slots = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(slot) = std::sync::Arc::clone(&slots).acquire_owned().await else { return };
        let Some(stream) = accept(&listener).await else { continue };
        let handle = per_connection();
        let service = service_fn(handle);
        tasks.spawn(async move {
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away is its own affair: the generator judges what it got.
            drop(serving.await);
            drop(slot);
        });
    }
}

async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => stream.set_nodelay(true).is_ok().then_some(stream),
        Err(_) => {
            // Out of descriptors, most likely: wait for some to come back.
            tokio::time::sleep(Duration::from_millis(10)).await;
            None
        }
    }
}

/// Returns when standard input ends: whoever started us is gone, or wants us gone.
pub(crate) async fn input_ended() {
    let mut input = tokio::io::stdin();
    let mut buffer = [0; 256];
    while matches!(input.read(&mut buffer).await, Ok(1..)) {}
}
