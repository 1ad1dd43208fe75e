//! Tests: requests that know no session, and servers that know none.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use mcp_jsonrpc::{
    Era, Id, Kind, Message, ProtocolVersion, RpcError, modern,
    transport::{
        Caller, Endpoint, ErrorKind, Event, EventId, EventStream, Exchange, Inbox, InboxMax,
        Opening, Reply, Session, SessionId, Transport, TransportError,
    },
};
use serde_json::json;

use super::{Fate, Options, Server};
use crate::{double::Double, status::State};

const AT: &str = "/double/mcp";

/// Both eras are told apart.
fn all() -> Options {
    Options { modern: true, ..Options::default() }
}

/// A server of 2026-07-28.
#[derive(Debug, Default)]
struct Modern {
    heard: Mutex<Vec<String>>,
    opened: AtomicUsize,
    dead: Arc<AtomicBool>,
    dropped: Arc<AtomicUsize>,
    /// Whether it never starts.
    stuck: AtomicBool,
    /// Done while it is asked who it is.
    meanwhile: Mutex<Option<Meanwhile>>,
    closed: AtomicUsize,
    listens: Mutex<Vec<Arc<Inbox>>>,
}

struct Meanwhile(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

#[derive(Debug)]
struct Way(Arc<Modern>);

#[derive(Debug)]
struct Talk {
    server: Arc<Modern>,
    dead: Arc<AtomicBool>,
}

/// Counts a reply that was dropped before its end.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Transport for Way {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        let is_modern = opening.version.is_some_and(|it| it.era() == Era::Modern);
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        self.0.dead.store(false, Ordering::Relaxed);
        let talk = Talk { server: Arc::clone(&self.0), dead: Arc::clone(&self.0.dead) };
        async move {
            if talk.server.stuck.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            match is_modern {
                true => Ok(Arc::new(talk) as Arc<dyn Session>),
                false => Err(TransportError::new(ErrorKind::Protocol, "it knows no handshake")),
            }
        }
        .boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(TransportError::new(ErrorKind::NoSession, "there are none"))
    }
}

impl Session for Talk {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: "modern:".into(), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        let message = exchange.message;
        let method = message.method().unwrap_or("(answer)").to_owned();
        assert_eq!(exchange.version, Some(ProtocolVersion::V2026_07_28), "{method}");
        self.server.heard.lock().unwrap().push(method.clone());
        async move {
            if self.dead.load(Ordering::Relaxed) {
                return Err(TransportError::new(ErrorKind::Closed, "the process exited").unsent());
            }
            if message.kind() == Kind::Notification {
                return Ok(Reply::Accepted);
            }
            let id = message.id().unwrap();
            match &*method {
                modern::DISCOVER => {
                    let meanwhile = self.server.meanwhile.lock().unwrap().take();
                    if let Some(Meanwhile(meanwhile)) = meanwhile {
                        meanwhile();
                    }
                    Ok(Reply::Single(answer(
                        id,
                        &json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"],
                            "capabilities": {}, "ttlMs": 0, "cacheScope": "public" }),
                    )))
                }
                modern::LISTEN => {
                    let inbox = Inbox::new(InboxMax::default());
                    self.server.listens.lock().unwrap().push(Arc::clone(&inbox));
                    let ack = Message::notification(modern::ACKNOWLEDGED, &json!({})).unwrap();
                    inbox.push(ack.into()).unwrap();
                    let dropped = Dropped(Arc::clone(&self.server.dropped));
                    let events = stream::poll_fn(move |cx| {
                        _ = &dropped;
                        inbox.poll_next(cx)
                    });
                    Ok(Reply::Stream(events.boxed()))
                }
                "never" => {
                    let _dropped = Dropped(Arc::clone(&self.server.dropped));
                    std::future::pending().await
                }
                _ => Ok(Reply::Single(answer(id, &json!({ "resultType": "complete" })))),
            }
        }
        .boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async { Err(TransportError::new(ErrorKind::Unsupported, "nothing unasked")) }.boxed()
    }

    fn is_open(&self) -> bool {
        !self.dead.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.server.closed.fetch_add(1, Ordering::Relaxed);
        async {}.boxed()
    }
}

fn answer(id: &Id, result: &serde_json::Value) -> Message {
    Message::response(id, result).unwrap()
}

fn server(options: Options) -> (Arc<Modern>, Server) {
    let modern = Arc::<Modern>::default();
    let server = Server::new("modern", Arc::new(Way(Arc::clone(&modern))), options);
    (modern, server)
}

async fn open(server: &Server, caller: Caller) -> Result<Arc<dyn Session>, TransportError> {
    let version = Some(ProtocolVersion::V2026_07_28);
    server.open(Opening { caller, version, at: AT.into() }).await
}

fn request(id: impl Into<Id>, method: &str) -> Exchange {
    let message = Message::request(&id.into(), method, &json!({ "_meta": {} })).unwrap();
    let mut exchange = Exchange::new(message, Caller::anonymous());
    exchange.version = Some(ProtocolVersion::V2026_07_28);
    exchange
}

async fn ask(server: &Server, exchange: Exchange) -> Result<Reply, TransportError> {
    open(server, exchange.caller.clone()).await?.send(exchange).await
}

async fn next(events: &mut EventStream) -> Message {
    match events.next().await {
        Some(Ok(Event::Message { message, .. })) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn equal_ids_of_many_go_over_one_link_untouched() {
    let (modern, server) = server(all());
    let asked = (0..100).map(async |_| {
        let exchange = request(7, "tools/list");
        let Reply::Single(answer) = ask(&server, exchange).await.unwrap() else { panic!() };
        assert_eq!(answer.id(), Some(&Id::from(7)));
    });
    futures::future::join_all(asked).await;
    assert_eq!(modern.opened.load(Ordering::Relaxed), 1);
    let status = server.status();
    assert_eq!((status.state, status.in_flight, status.links), (State::Ready, 0, 1));
    assert_eq!((status.sessions, status.protocol_version), (0, Some("2026-07-28")));
}

#[tokio::test(start_paused = true)]
async fn a_server_with_a_handshake_says_so_and_has_not_failed() {
    let double = Double::new();
    let server = double.server(all());
    let error = open(&server, Caller::anonymous()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
    assert_eq!(server.status().restarts, 0);
    server
        .open(Opening { caller: Caller::anonymous(), version: None, at: AT.into() })
        .await
        .unwrap();
    assert_ne!(server.state(), State::Backoff);
    let pinned = Options { version: Some(ProtocolVersion::V2025_06_18), ..all() };
    let (modern, server) = self::server(pinned);
    let error = open(&server, Caller::anonymous()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
    assert_eq!(modern.opened.load(Ordering::Relaxed), 0, "a pin wins over everything");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_reply_cancels_it() {
    let (modern, server) = server(all());
    let session = open(&server, Caller::anonymous()).await.unwrap();
    let mut asking = session.send(request(1, "never"));
    assert!((&mut asking).now_or_never().is_none());
    assert_eq!(server.status().in_flight, 1);
    drop(asking);
    assert_eq!(modern.dropped.load(Ordering::Relaxed), 1);
    assert_eq!(server.status().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_in_time_and_a_stream_that_listens_does_not() {
    let (modern, server) = server(all());
    let Reply::Stream(mut listening) = ask(&server, request("l", modern::LISTEN)).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(next(&mut listening).await.method(), Some(modern::ACKNOWLEDGED));
    let error = ask(&server, request(1, "never")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(server.status().listening, 1);
    let news = Message::notification("notifications/tools/list_changed", &json!({})).unwrap();
    modern.listens.lock().unwrap()[0].push(news.into()).unwrap();
    assert_eq!(next(&mut listening).await.method(), Some("notifications/tools/list_changed"));
    drop(listening);
    assert_eq!((server.status().listening, modern.dropped.load(Ordering::Relaxed)), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_a_result_where_the_server_goes_or_rights_do() {
    let (_modern, server) = server(all());
    let mut streams = Vec::new();
    for name in ["ann", "bob"] {
        let mut exchange = request(name, modern::LISTEN);
        exchange.caller = Caller::named(name);
        let Reply::Stream(mut events) = ask(&server, exchange).await.unwrap() else { panic!() };
        next(&mut events).await;
        streams.push(events);
    }
    let is_ann = |caller: &Caller| caller.subject.as_deref() == Some("ann");
    let fate = |caller: &Caller| if is_ann(caller) { Fate::Ends } else { Fate::Stays };
    server.review("her token was revoked", fate).await;
    let end = next(&mut streams[0]).await;
    assert_eq!(end.id(), Some(&Id::from("ann")));
    assert!(end.mentions(r#""io.modelcontextprotocol/subscriptionId":"ann""#), "{end:?}");
    assert!(streams[1].next().now_or_never().is_none());
    server.shut_down(Duration::from_secs(1), "over").await;
    assert_eq!(next(&mut streams[1]).await.id(), Some(&Id::from("bob")));
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_is_opened_again_by_the_next_request() {
    let (modern, server) = server(all());
    ask(&server, request(1, "tools/list")).await.unwrap();
    modern.dead.store(true, Ordering::Relaxed);
    ask(&server, request(1, "tools/list")).await.unwrap();
    assert_eq!(modern.opened.load(Ordering::Relaxed), 2);
    // And noticed where nobody asks.
    modern.dead.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(server.status().last_error.is_some());
    assert_eq!(server.status().links, 1, "eager: started again");
}

#[tokio::test(start_paused = true)]
async fn there_is_a_bound_on_how_many_are_answered() {
    let (_modern, server) = server(Options { stateless_max: 2, ..all() });
    let session = open(&server, Caller::anonymous()).await.unwrap();
    let mut asking: Vec<_> = (0..2).map(|id| session.send(request(id, "never"))).collect();
    for asking in &mut asking {
        assert!(asking.now_or_never().is_none());
    }
    let error = session.send(request(3, "never")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Exhausted);
    // Configured anew, it holds at once.
    server.reconfigure(Options { stateless_max: 3, ..all() });
    let mut third = Box::pin(session.send(request(3, "never")));
    assert!((&mut third).now_or_never().is_none());
    server.reconfigure(Options { stateless_max: 2, ..all() });
    drop(third);
    let error = session.send(request(3, "never")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Exhausted);
    drop(asking);
    session.send(request(3, "tools/list")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lazy_servers_link_ends_when_nobody_has_used_it_for_long() {
    let options = Options { startup: super::Startup::Lazy, ..all() };
    let (modern, server) = server(options);
    ask(&server, request(1, "tools/list")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(305)).await;
    assert_eq!(server.status().links, 0);
    ask(&server, request(1, "tools/list")).await.unwrap();
    assert_eq!(modern.opened.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn replacing_the_server_lets_what_runs_come_to_its_end() {
    let (old, server) = server(all());
    ask(&server, request(1, "tools/list")).await.unwrap();
    let new = Arc::<Modern>::default();
    let replaced = server.replace(Arc::new(Way(Arc::clone(&new))), all(), Duration::from_secs(5));
    ask(&server, request(2, "tools/call")).await.unwrap();
    replaced.await;
    assert_eq!(*old.heard.lock().unwrap(), ["server/discover", "tools/list"]);
    assert!(new.heard.lock().unwrap().contains(&"tools/call".to_owned()));
    assert_eq!(server.status().links, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_unasked_and_answers_are_for_nobody() {
    let (modern, server) = server(all());
    let session = open(&server, Caller::anonymous()).await.unwrap();
    let error = session.listen(None).await.err().unwrap();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
    assert!(session.endpoint().session.is_none());
    let mut stray = request(1, "x");
    stray.message = Message::error(Some(&Id::from(1)), &RpcError::new(1, "x")).unwrap();
    assert!(matches!(session.send(stray).await.unwrap(), Reply::Accepted));
    assert_eq!(*modern.heard.lock().unwrap(), ["server/discover"]);
}

/// However slowly the old one starts.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_server_that_starts_is_answered_by_the_one_in_its_place() {
    let options = || Options { startup: super::Startup::Lazy, ..all() };
    let (old, server) = server(options());
    old.stuck.store(true, Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    let new = Arc::<Modern>::default();
    let replacing = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let way = Arc::new(Way(Arc::clone(&new)));
        server.replace(way, options(), Duration::from_secs(5)).await;
    };
    let (answered, ()) = tokio::join!(ask(&server, request(1, "tools/list")), replacing);
    answered.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert_eq!(old.opened.load(Ordering::Relaxed), 1);
    assert_eq!(*new.heard.lock().unwrap(), ["server/discover", "tools/list"]);
}

/// Also where whoever drains the old one has looked before.
#[tokio::test(start_paused = true)]
async fn a_link_that_comes_too_late_is_given_up() {
    let options = || Options { startup: super::Startup::Lazy, ..all() };
    let (old, server) = server(options());
    let new = Arc::<Modern>::default();
    let (way, at) = (Arc::new(Way(Arc::clone(&new))), server.clone());
    *old.meanwhile.lock().unwrap() = Some(Meanwhile(Box::new(move || {
        drop(at.replace(way, options(), Duration::from_secs(5)));
    })));
    ask(&server, request(1, "tools/list")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(*old.heard.lock().unwrap(), ["server/discover"]);
    assert_eq!(old.closed.load(Ordering::Relaxed), 1);
    assert_eq!(*new.heard.lock().unwrap(), ["server/discover", "tools/list"]);
}

/// Also where no more is to be opened at all.
#[tokio::test(start_paused = true)]
async fn a_link_that_comes_after_the_end_is_given_up() {
    let (old, server) = server(Options { startup: super::Startup::Lazy, ..all() });
    let at = server.clone();
    *old.meanwhile.lock().unwrap() = Some(Meanwhile(Box::new(move || {
        assert!(at.shut_down(Duration::ZERO, "it is over").now_or_never().is_some());
    })));
    drop(ask(&server, request(1, "tools/list")).await);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(old.heard.lock().unwrap().first().unwrap(), "server/discover");
    assert_eq!(old.closed.load(Ordering::Relaxed), 1);
}
