//! Servers of which only the URL is known.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, StreamExt, future, future::BoxFuture, stream};
use hyper::StatusCode;
use mcp_jsonrpc::{
    RpcError,
    transport::{
        Caller, Endpoint, ErrorKind, EventId, EventStream, Exchange, Opening, Reply, Session,
        SessionId, Transport, TransportError,
    },
};
use tokio::sync::watch;
use tracing::info;
use transport_sse::client as sse;

use super::{Connect, Conversation};

/// A transport to a server of which only the URL is known (2025-11-25, transports, "Backwards
/// Compatibility").
///
/// The first `initialize` is posted, as over Streamable HTTP.  Where the server answers with 400,
/// 404 or 405, it is tried over HTTP+SSE.  What works is remembered until it works no more.
///
/// A session of 2026-07-28 is always one of Streamable HTTP, and tries nothing else; it is
/// [`Unsupported`](ErrorKind::Unsupported) of a server that has turned out to speak HTTP+SSE.
#[derive(Clone, Debug)]
pub struct Auto(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    streamable: Connect,
    sse: sse::Connect,
    verdict: Mutex<Option<Verdict>>,
}

/// What a server has turned out to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Streamable,
    Sse,
}

/// A session that becomes one of either kind with its first request.
struct Undecided {
    auto: Arc<Inner>,
    opening: Opening,
    decided: watch::Sender<Option<Arc<dyn Session>>>,
}

// === impl Auto ===

impl Auto {
    /// A transport to one server, by either of these.
    pub fn new(streamable: Connect, sse: sse::Connect) -> Self {
        Self(Arc::new(Inner { streamable, sse, verdict: Mutex::new(None) }))
    }
}

impl Transport for Auto {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        let verdict = self.0.verdict();
        if let Err(error) = opening.with_handshake() {
            // Nothing to be found out: only one of the two has such a revision.  What becomes of
            // the first request says whether the server has it, and decides nothing else.
            return match verdict {
                Some(Verdict::Sse) => future::ready(Err(error)).boxed(),
                Some(Verdict::Streamable) | None => self.0.streamable.open(opening),
            };
        }
        match verdict {
            Some(Verdict::Streamable) => self.0.streamable.open(opening),
            Some(Verdict::Sse) => async {
                let opened = self.0.sse.open(opening).await;
                if opened.as_ref().is_err_and(|error| is_wrong_kind(error.kind())) {
                    self.0.decide(None);
                }
                opened
            }
            .boxed(),
            None => {
                let (decided, _) = watch::channel(None);
                let session = Undecided { auto: Arc::clone(&self.0), opening, decided };
                future::ready(Ok(Arc::new(session) as Arc<dyn Session>)).boxed()
            }
        }
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        match self.0.verdict() {
            Some(Verdict::Sse) => self.0.sse.find(id, caller),
            _ => self.0.streamable.find(id, caller),
        }
    }
}

// === impl Inner ===

impl Inner {
    fn verdict(&self) -> Option<Verdict> {
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, verdict: Option<Verdict>) {
        let mut current = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if *current != verdict {
            info!(server = &**self.streamable.0.target.name(), ?verdict, "kind of transport");
        }
        *current = verdict;
    }
}

// === impl Undecided ===

impl Undecided {
    fn decided(&self) -> Option<Arc<dyn Session>> {
        self.decided.borrow().clone()
    }

    fn decide(&self, verdict: Verdict, session: Arc<dyn Session>) {
        self.auto.decide(Some(verdict));
        self.decided.send_replace(Some(session));
    }

    /// Finds out what the server speaks by asking what was to be asked anyway.
    async fn probe(&self, exchange: Exchange) -> Result<Reply, TransportError> {
        let conversation = self.auto.streamable.conversation(self.opening.version, None);
        match conversation.0.exchange(exchange.clone()).await {
            Ok((status, reply)) if status.is_success() || !falls_back(status, &reply) => {
                self.keep(conversation);
                Ok(reply)
            }
            // The server's own words, should it not speak HTTP+SSE either.
            Ok((_, reply)) => self.fall_back(exchange, |_| Ok(reply)).await,
            Err(error) if is_wrong_kind(error.kind()) => {
                self.fall_back(exchange, |sse| {
                    let (posted, got) = (error.said(), sse.said().to_string());
                    let what = format!("neither Streamable HTTP ({posted}) nor HTTP+SSE ({got})");
                    Err(TransportError::new(error.kind().clone(), what)
                        .of(self.auto.streamable.0.target.name())
                        .hint("check the path of the server's URL")
                        .because(sse))
                })
                .await
            }
            Err(error) => Err(error),
        }
    }

    fn keep(&self, conversation: Conversation) {
        self.decide(Verdict::Streamable, Arc::new(conversation));
    }

    async fn fall_back(
        &self,
        exchange: Exchange,
        otherwise: impl FnOnce(TransportError) -> Result<Reply, TransportError> + Send,
    ) -> Result<Reply, TransportError> {
        match self.auto.sse.open(self.opening.clone()).await {
            Ok(session) => {
                self.decide(Verdict::Sse, Arc::clone(&session));
                session.send(exchange).await
            }
            Err(error) => otherwise(error),
        }
    }
}

impl Session for Undecided {
    fn endpoint(&self) -> Endpoint {
        match self.decided() {
            Some(session) => session.endpoint(),
            None => Endpoint { uri: Arc::clone(&self.auto.streamable.0.uri), session: None },
        }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            match self.decided() {
                Some(session) => session.send(exchange).await,
                None if exchange.message.method() == Some("initialize") => {
                    self.probe(exchange).await
                }
                None => {
                    let kind = ErrorKind::Invalid(RpcError::INVALID_REQUEST);
                    let what = "a session begins with `initialize`";
                    let name = self.auto.streamable.0.target.name();
                    Err(TransportError::new(kind, what).of(name))
                }
            }
        }
        .boxed()
    }

    fn listen(&self, after: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async move {
            if let Some(session) = self.decided() {
                return session.listen(after).await;
            }
            let mut decided = self.decided.subscribe();
            let later = async move {
                let session = match decided.wait_for(Option::is_some).await {
                    Ok(session) => session.clone(),
                    Err(_) => None,
                };
                let Some(session) = session else { return stream::empty().boxed() };
                match session.listen(after).await {
                    Ok(events) => events,
                    Err(error) => stream::iter([Err(error)]).boxed(),
                }
            };
            Ok(later.flatten_stream().boxed())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            if let Some(session) = self.decided() {
                session.close().await;
            }
        }
        .boxed()
    }
}

impl fmt::Debug for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecided").field("decided", &self.decided()).finish_non_exhaustive()
    }
}

/// Whether a status and a JSON-RPC error leave room for the other transport: an error of a modern
/// server does not.
fn falls_back(status: StatusCode, reply: &Reply) -> bool {
    let Reply::Single(message) = reply else { return false };
    let code = message.read::<RpcError>().map(|error| error.code);
    let is_modern = matches!(
        code,
        Ok(RpcError::HEADER_MISMATCH
            | RpcError::MISSING_CLIENT_CAPABILITY
            | RpcError::UNSUPPORTED_VERSION)
    );
    matches!(status.as_u16(), 400 | 404 | 405) && !is_modern
}

/// Whether an error may mean that the server speaks the other transport.
fn is_wrong_kind(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Status(400 | 404 | 405))
}
