//! Tests: servers that speak both eras, change them, or are let go of.

use super::*;

/// A server that says that it speaks these, and counts what is opened and closed.
#[derive(Debug, Default)]
pub(super) struct Server {
    pub(super) speaks: Mutex<Vec<&'static str>>,
    /// What answers a call in the place of a result.
    pub(super) refuses: Mutex<Option<RpcError>>,
    /// It takes long to answer a discovery, as a process does that has just been started.
    slow: std::sync::atomic::AtomicBool,
    /// It says nothing about its handshake.
    pub(super) hides: std::sync::atomic::AtomicBool,
    /// It begins no session at a handshake.
    pub(super) keeps_none: std::sync::atomic::AtomicBool,
    /// What it does at a handshake that it does not speak of.
    pub(super) manners: Mutex<Manners>,
    /// How long it takes to answer a discovery or a handshake, in milliseconds.
    pub(super) took_ms: std::sync::atomic::AtomicU64,
    opened: AtomicUsize,
    closed: AtomicUsize,
    heard: Mutex<Vec<String>>,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Manners {
    #[default]
    Answers,
    SaysNothing,
    Ends,
    Fails(ErrorKind),
}

#[derive(Debug)]
struct Line {
    server: Arc<Server>,
    over: std::sync::atomic::AtomicBool,
    /// It has answered `server/discover`, and takes no handshake any more.
    modern: std::sync::atomic::AtomicBool,
}

#[derive(Clone, Debug)]
pub(super) struct To(pub(super) Arc<Server>);

impl Server {
    pub(super) fn that_speaks(speaks: &[&'static str]) -> Arc<Self> {
        let server = Self::default();
        *server.speaks.lock().unwrap() = speaks.to_vec();
        Arc::new(server)
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        (self.opened.load(Ordering::Relaxed), self.closed.load(Ordering::Relaxed))
    }

    pub(super) fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }

    fn answer(&self, message: &Message) -> Message {
        let (id, speaks) = (message.id().unwrap(), self.speaks.lock().unwrap().clone());
        let refused = |code| Message::error(Some(id), &RpcError::new(code, "no")).unwrap();
        let legacy = speaks.iter().any(|it| *it != VERSION.as_str());
        match message.method().unwrap() {
            modern::DISCOVER if speaks.contains(&VERSION.as_str()) => {
                let hides = self.hides.load(Ordering::Relaxed);
                let said = if hides { vec![VERSION.as_str()] } else { speaks };
                let found = json!({ "supportedVersions": said, "capabilities": {} });
                Message::response(id, &found).unwrap()
            }
            "initialize" if legacy => {
                let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {} });
                Message::response(id, &hello).unwrap()
            }
            modern::DISCOVER | "initialize" => refused(-32601),
            _ => match &*self.refuses.lock().unwrap() {
                Some(error) => Message::error(Some(id), error).unwrap(),
                None => Message::response(id, &json!({ "resultType": "complete" })).unwrap(),
            },
        }
    }
}

impl Transport for To {
    fn open(&self, _: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        self.0.opened.fetch_add(1, Ordering::Relaxed);
        let line = Line { server: Arc::clone(&self.0), over: false.into(), modern: false.into() };
        async { Ok(Arc::new(line) as Arc<dyn Session>) }.boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        Err(TransportError::new(ErrorKind::NoSession, "none"))
    }
}

impl Session for Line {
    fn endpoint(&self) -> mcp_jsonrpc::transport::Endpoint {
        let keeps_none = self.server.keeps_none.load(Ordering::Relaxed);
        let session = SessionId::new("one").filter(|_| !keeps_none);
        mcp_jsonrpc::transport::Endpoint { uri: Arc::from("x:"), session }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        let message = exchange.message;
        self.server.heard.lock().unwrap().push(message.method().unwrap_or("-").to_owned());
        let mut answer = self.server.answer(&message);
        if message.method() == Some(modern::DISCOVER) && answer.kind() == Kind::Response {
            self.modern.store(true, Ordering::Relaxed);
        }
        if message.method() == Some("initialize") && self.modern.load(Ordering::Relaxed) {
            let late = RpcError::new(RpcError::UNSUPPORTED_VERSION, "2026-07-28 is spoken here");
            answer = Message::error(message.id(), &late).unwrap();
        }
        let is_slow = self.server.slow.load(Ordering::Relaxed);
        let took = Duration::from_millis(self.server.took_ms.load(Ordering::Relaxed));
        let manners = self.server.manners.lock().unwrap().clone();
        async move {
            tokio::time::sleep(took).await;
            match manners {
                _ if message.method() != Some("initialize") => (),
                Manners::Answers => (),
                Manners::SaysNothing => std::future::pending().await,
                Manners::Ends => {
                    self.over.store(true, Ordering::Relaxed);
                    return Err(TransportError::new(ErrorKind::Closed, "it ended"));
                }
                Manners::Fails(kind) => return Err(TransportError::new(kind, "not now")),
            }
            if is_slow && message.method() == Some(modern::DISCOVER) {
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
            Ok(Reply::Single(answer))
        }
        .boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async { Err(TransportError::new(ErrorKind::Unsupported, "nothing")) }.boxed()
    }

    fn is_open(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.over.store(true, Ordering::Relaxed);
        self.server.closed.fetch_add(1, Ordering::Relaxed);
        async {}.boxed()
    }
}

pub(super) async fn modern_call(session: &Arc<dyn Session>) -> Result<Reply, TransportError> {
    let params = json!({ "name": "x", "_meta": own_meta() });
    let call = Message::request(&Id::from(1), "tools/call", &params).unwrap();
    let mut exchange = Exchange::new(call, Caller::anonymous());
    exchange.version = Some(VERSION);
    session.send(exchange).await
}

/// Each client gets its own kind; the process that was asked is nobody's loss.
#[tokio::test(start_paused = true)]
async fn a_server_of_both_eras_is_spoken_to_as_each_client_speaks() {
    for is_child in [true, false] {
        let server = Server::that_speaks(&["2026-07-28", "2025-11-25"]);
        let options = BehindOptions { is_child, ..BehindOptions::default() };
        let behind = behind_of(To(Arc::clone(&server)), options);
        let (_legacy, hello) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
        assert_eq!(hello["result"]["protocolVersion"], "2025-11-25");
        assert_eq!(server.heard(), ["server/discover", "initialize"]);
        // The SDK for Python takes no handshake where it has answered a discovery.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(server.counts(), (2, 1));
        assert!(!behind.is_light(), "a session with it is its own");
        let session = behind.open(opening(Some(VERSION))).await.unwrap();
        modern_call(&session).await.unwrap();
        assert_eq!(server.heard(), ["server/discover", "tools/call"]);
        assert_eq!(behind.era(), Some(Era::Modern));
    }
}

/// A process that has not answered in time is greeted; if it has gone over to 2026-07-28 by then,
/// another one is.
#[tokio::test(start_paused = true)]
async fn a_slow_server_of_both_eras_is_started_once_more() {
    let server = Server::that_speaks(&["2026-07-28", "2025-11-25"]);
    server.slow.store(true, Ordering::Relaxed);
    let options = BehindOptions { is_child: true, ..BehindOptions::default() };
    let behind = behind_of(To(Arc::clone(&server)), options);
    let (legacy, hello) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(server.heard(), ["server/discover", "initialize", "initialize"]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.counts(), (2, 1));
    // It is known now that it speaks both.
    server.slow.store(false, Ordering::Relaxed);
    let session = behind.open(opening(Some(VERSION))).await.unwrap();
    modern_call(&session).await.unwrap();
    let (_, hello) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25");
    drop(legacy);
}

/// One that lists what it does not have costs its first client an error, and no more.
#[tokio::test(start_paused = true)]
async fn what_a_server_lists_and_does_not_have_is_made() {
    let server = Server::that_speaks(&["2026-07-28", "2025-11-25"]);
    let behind = behind_of(To(Arc::clone(&server)), BehindOptions::default());
    behind.open(opening(Some(VERSION))).await.unwrap();
    *server.speaks.lock().unwrap() = vec!["2026-07-28"];
    let (_, hello) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    assert_eq!(hello["error"]["code"], -32601);
    let (_, hello) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25");
    assert!(behind.is_light());
}

/// The way to a server is everybody's: it ends with the last who has it.
#[tokio::test(start_paused = true)]
async fn the_last_one_ends_the_server() {
    let server = Server::that_speaks(&["2026-07-28"]);
    let behind = behind_of(To(Arc::clone(&server)), BehindOptions::default());
    let standing = behind.open(opening(Some(VERSION))).await.unwrap();
    let (one, _) = Client::of(&behind, ProtocolVersion::V2025_11_25, all()).await;
    let (other, _) = Client::of(&behind, ProtocolVersion::V2025_06_18, all()).await;
    drop(one.session.listen(None).await.unwrap());
    // Another one was greeted, in vain, and once for all.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(server.counts(), (2, 1));
    assert_eq!(server.heard().iter().filter(|it| *it == "initialize").count(), 1);
    standing.close().await;
    standing.close().await;
    one.session.close().await;
    assert_eq!(server.counts(), (2, 1));
    assert!(!standing.is_open() && !one.session.is_open() && other.session.is_open());
    other.session.close().await;
    assert_eq!(server.counts(), (2, 2));
    // The next begins anew.
    let again = behind.open(opening(Some(VERSION))).await.unwrap();
    modern_call(&again).await.unwrap();
    assert_eq!(server.counts(), (3, 2));
}

/// What was started to ask for the era, and is nobody's, ends after a while, or with the rest.
#[tokio::test(start_paused = true)]
async fn a_spare_does_not_live_for_ever() {
    let server = Server::that_speaks(&["2025-11-25"]);
    let options = BehindOptions { is_child: true, ..BehindOptions::default() };
    let behind = behind_of(To(Arc::clone(&server)), options.clone());
    behind.open(opening(Some(VERSION))).await.unwrap_err();
    assert_eq!(server.counts(), (1, 0));
    tokio::time::sleep(SPARE_TIMEOUT + Duration::from_secs(1)).await;
    assert_eq!(server.counts(), (1, 1));
    let behind = behind_of(To(Arc::clone(&server)), options);
    behind.open(opening(Some(VERSION))).await.unwrap_err();
    behind.shut_down().await;
    assert_eq!(server.counts(), (2, 2));
}

/// Nobody hears of what is between the gateway and a server (G-H62).
#[tokio::test(start_paused = true)]
async fn what_is_about_the_gateways_own_words_is_never_relayed() {
    let server = Server::that_speaks(&["2026-07-28"]);
    let behind = behind_of(To(Arc::clone(&server)), BehindOptions::default());
    let session = behind.open(opening(Some(VERSION))).await.unwrap();
    let refuse = |code| *server.refuses.lock().unwrap() = Some(RpcError::new(code, "so it is"));
    refuse(RpcError::HEADER_MISMATCH);
    let Reply::Single(answer) = modern_call(&session).await.unwrap() else { panic!() };
    let answer = value(&answer);
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("so it is"), "{answer}");
    // What is missing is the client's own.
    refuse(RpcError::MISSING_CLIENT_CAPABILITY);
    let Reply::Single(answer) = modern_call(&session).await.unwrap() else { panic!() };
    assert_eq!(value(&answer)["error"]["code"], -32021);
    refuse(RpcError::UNSUPPORTED_VERSION);
    let error = modern_call(&session).await.unwrap_err();
    assert!(error.is_unsent() && !session.is_open(), "{error}");
    assert_eq!(behind.era(), None, "it is asked again");
    *server.refuses.lock().unwrap() = None;
    *server.speaks.lock().unwrap() = vec!["2025-11-25"];
    let error = behind.open(opening(Some(VERSION))).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unsupported);
}
