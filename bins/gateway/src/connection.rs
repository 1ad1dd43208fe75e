//! Connections: how many, how long they may take to say what they want, and by which HTTP.

use std::{convert::Infallible, fmt, future::Future, io, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use gateway_config::{Limits, Timeouts};
use hyper::{
    Method, Request, Response, Version,
    body::{Body, Incoming},
    header::EXPECT,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use mcp_jsonrpc::{Era, ProtocolVersion};
use tokio::{io::AsyncReadExt, sync::Semaphore, time::timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};
use transport_sse::body::Outgoing;
use transport_streamable::header::PROTOCOL_VERSION;

use crate::{
    head::{self, HeadMax},
    house::House,
    lent::Lent,
    listen::{Listener, Stream},
    watched::{Noted, Patience, Watched},
};

/// How long to wait when no connection can be accepted, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to end when all has been said.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// How every HTTP/2 connection begins (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much is read to tell one HTTP from the other.
const FIRST_READ_LEN_MAX: usize = 2048;

/// How connections are treated.
#[derive(Clone)]
pub struct Connections {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    head_max: HeadMax,
    patience: Patience,
    write_timeout: Duration,
    connection_max: usize,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
}

// === impl Connections ===

impl Connections {
    /// Within these limits, with TLS if there is an acceptor.
    pub fn new(limits: &Limits, timeouts: &Timeouts, tls: Option<TlsAcceptor>) -> Self {
        let head_max = HeadMax { len: limits.header_len_max, count: limits.header_count_max };
        let patience = Patience {
            head_timeout: timeouts.header_read_timeout,
            idle_timeout: timeouts.connection_idle_timeout,
        };
        let mut http1 = http1::Builder::new();
        // Heads are read before hyper reads them, which would have no words for what is wrong.
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_headers(limits.header_count_max)
            .max_buf_size(limits.header_len_max.max(8192).saturating_mul(2))
            // A client that has nothing more to say is still waiting for its answer.
            .half_close(true);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            // Somewhat more than is allowed is read, so that it can be refused in words.
            .max_header_list_size(
                u32::try_from(limits.header_len_max.saturating_mul(2)).unwrap_or(u32::MAX),
            )
            .max_concurrent_streams(256)
            .keep_alive_interval(Some(Duration::from_secs(30)))
            .keep_alive_timeout(Duration::from_secs(20));
        Self {
            http1,
            http2,
            tls,
            head_max,
            patience,
            write_timeout: timeouts.write_timeout,
            connection_max: limits.connection_max,
            room: Arc::new(Semaphore::new(limits.connection_max)),
            tasks: TaskTracker::new(),
        }
    }

    /// The same, for connections that come after those of `old`, which was within `limits`: the
    /// count goes on.
    pub(crate) fn after(self, old: &Self, limits: &Limits) -> Self {
        let (room, tasks) = (Arc::clone(&old.room), old.tasks.clone());
        let (was, max) = (limits.connection_max, self.connection_max);
        match max.checked_sub(was) {
            Some(more) => room.add_permits(more),
            // As connections end, their places are not given again.
            None => {
                let fewer = u32::try_from(was - max).unwrap_or(u32::MAX);
                let taking = Arc::clone(&room).acquire_many_owned(fewer);
                self.tasks.spawn(async move {
                    if let Ok(places) = taking.await {
                        places.forget();
                    }
                });
            }
        }
        Self { room, tasks, ..self }
    }

    /// Answers what comes in, each as connections are treated at that time, until told to stop.
    pub async fn serve(
        now: Arc<ArcSwap<Self>>,
        listener: Listener,
        house: Arc<House>,
        stop: CancellationToken,
    ) {
        let graceful = GracefulShutdown::new();
        loop {
            let next = async {
                let this = now.load_full();
                let room = Arc::clone(&this.room).acquire_owned().await;
                (room, listener.accept(this.write_timeout).await)
            };
            let (room, stream) = tokio::select! {
                next = next => next,
                () = stop.cancelled() => break,
            };
            let (stream, from) = match stream {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, as like as not: others need time to close theirs.
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let this = now.load_full();
            let (house, watcher) = (Arc::clone(&house), graceful.watcher());
            // Only who writes it down wants it as text.
            let from = from.filter(|_| house.door().audit.is_some());
            let from: Option<Arc<str>> = from.map(|from| from.to_string().into());
            this.tasks.clone().spawn(async move {
                match Box::pin(this.connection(stream, (house, from), watcher)).await {
                    Ok(()) => (),
                    Err(error) => debug!(%error, "a connection ended badly"),
                }
                drop(room);
            });
        }
        // What is being written is written; an idle connection ends at once.
        if timeout(END_TIMEOUT, graceful.shutdown()).await.is_err() {
            debug!("some connections did not end in time");
        }
    }

    async fn connection(
        &self,
        stream: Stream,
        (house, from): (Arc<House>, Option<Arc<str>>),
        watcher: Watcher,
    ) -> Result<(), ConnectionError> {
        // In boxes, here and below, so that what an HTTP/1 connection needs is all it costs.
        let (first, stream) = Box::pin(self.begin(stream)).await?;
        let is_http2 = first.starts_with(PREFACE);
        let max = (!is_http2).then_some(self.head_max);
        let (stream, noted) = Watched::new(&first, stream, max, self.patience);
        // What it was read into is longer than it, and would be kept as long as the connection.
        drop(first);
        let (stream, head_max) = (TokioIo::new(stream), self.head_max);
        let service = service_fn(move |request| {
            let of = (Arc::clone(&house), from.clone());
            answer(of, request, noted.clone(), head_max)
        });
        let served = match is_http2 {
            false => Box::pin(watcher.watch(self.http1.serve_connection(stream, service))).await,
            true => Box::pin(watcher.watch(self.http2.serve_connection(stream, service))).await,
        };
        served.map_err(ConnectionError::Http)
    }

    /// What is there before a request is: TLS, and the bytes that tell one HTTP from the other.
    async fn begin(&self, stream: Stream) -> Result<(BytesMut, Stream), ConnectionError> {
        let stream = match &self.tls {
            None => stream,
            Some(tls) => match timeout(self.patience.head_timeout, tls.accept(stream)).await {
                Ok(stream) => Box::new(stream.map_err(ConnectionError::Tls)?),
                Err(_) => return Err(ConnectionError::Slow("TLS handshake")),
            },
        };
        first_bytes(stream, self.patience).await
    }
}

/// Why a connection was not served to its end.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("no TLS came of it: {0}")]
    Tls(io::Error),
    #[error("the {0} did not come in time")]
    Slow(&'static str),
    #[error("it broke: {0}")]
    Read(io::Error),
    #[error("{0}")]
    Http(hyper::Error),
}

/// One answer, in a box: hyper keeps room for the future as long as the connection lives, and
/// most connections are idle most of the time.
fn answer(
    (house, from): (Arc<House>, Option<Arc<str>>),
    request: Request<Incoming>,
    noted: Noted,
    max: HeadMax,
) -> impl Future<Output = Result<Response<Outgoing>, Infallible>> {
    Box::pin(async move {
        let door = house.door();
        if let Some(unreadable) = noted.next() {
            return Ok(door.refuse(unreadable));
        }
        if request.version() == Version::HTTP_2
            && let Err(unreadable) =
                head::check_fields(request.method(), request.uri(), request.headers(), &max)
        {
            return Ok(door.refuse(&unreadable));
        }
        let gets = request.method() == Method::GET;
        if is_modern(&request) {
            // Who closes its end takes the request back, answered or not.
            noted.listens();
        }
        let is_http2 = request.version() == Version::HTTP_2;
        // Who waits to be told to go on has not sent its body, and is not to.
        let waits = request.headers().contains_key(EXPECT);
        let (parts, body) = request.into_parts();
        let (body, rest) = Lent::new(body);
        let mut response = door.answer_to(from, Request::from_parts(parts, body)).await;
        if let Some(rest) = rest.filter(|_| !is_http2) {
            rest.settle(waits, &mut response).await;
        }
        if gets && !response.body().is_end_stream() && response.body().as_whole().is_none() {
            noted.listens();
        }
        Ok(response)
    })
}

/// Whether a request says that it is in a revision without sessions.
fn is_modern(request: &Request<Incoming>) -> bool {
    let version = request.headers().get(PROTOCOL_VERSION).and_then(|it| it.to_str().ok());
    let version = version.and_then(|it| it.trim().parse::<ProtocolVersion>().ok());
    request.method() == Method::POST && version.is_some_and(|it| it.era() == Era::Modern)
}

/// Reads until it is clear which HTTP this is.
async fn first_bytes(
    mut stream: Stream,
    patience: Patience,
) -> Result<(BytesMut, Stream), ConnectionError> {
    let mut first = BytesMut::with_capacity(FIRST_READ_LEN_MAX);
    let slow = |_| ConnectionError::Slow("first byte");
    let mut wait = patience.idle_timeout;
    loop {
        let read = timeout(wait, stream.read_buf(&mut first)).await.map_err(slow)?;
        let read = read.map_err(ConnectionError::Read)?;
        let undecided = first.len() < PREFACE.len() && PREFACE.starts_with(&first);
        if read == 0 || !undecided {
            return Ok((first, stream));
        }
        wait = patience.head_timeout;
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("tls", &self.tls.is_some())
            .field("room", &self.room.available_permits())
            .finish_non_exhaustive()
    }
}
