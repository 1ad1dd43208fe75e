//! Tests of sessions that outlive their process: what one server gave out, another takes up.

use std::{collections::HashSet, sync::atomic::Ordering};

use futures::{FutureExt, StreamExt, future::join_all};
use mcp_jsonrpc::transport::ErrorKind;
use seal::{Clock, Key, Keyring};
use store::{Memory, RecordKey, Saving, Store, StoreError};

use super::*;
use crate::double::{Client, Double};

const NONE: &str = "{}";
const ROOTS: &str = r#"{"roots":{}}"#;
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// What two processes share: keys, records, the time.
struct Shared {
    clock: Clock,
    keyring: Keyring,
    store: Arc<Memory>,
}

impl Shared {
    fn new() -> Self {
        let clock = Clock::still(1_000_000);
        let keyring = Keyring::fresh(clock.clone()).unwrap();
        Self { store: Arc::new(Memory::new(clock.clone(), 1 << 20)), clock, keyring }
    }

    fn keeping(&self) -> Keeping {
        let (keyring, store) = (self.keyring.clone(), Arc::clone(&self.store) as Arc<dyn Store>);
        Keeping { keyring, store, age_max: AGE_MAX }
    }

    /// One of the processes.
    fn server(&self, double: &Arc<Double>) -> Server {
        let server = double.server(lazy());
        server.keep(self.keeping());
        server
    }

    fn another(&self) -> Server {
        self.server(&Double::new())
    }
}

fn lazy() -> Options {
    Options { startup: Startup::Lazy, ..Options::default() }
}

fn id_of(client: &Client) -> SessionId {
    client.session.endpoint().session.unwrap()
}

/// The session under an id, as its client would go on with it.
fn again(server: &Server, id: &SessionId, caller: &str) -> Client {
    let found = server.find(id, &Caller::named(caller));
    Client::of(found.unwrap_or_else(|error| panic!("{error}")), caller)
}

#[track_caller]
fn nothing(server: &Server, id: &SessionId, caller: &Caller) {
    let error = server.find(id, caller).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NoSession);
    // The same words for all: what is wrong with an id is nobody's business.
    let made_up = SessionId::new("made-up").unwrap();
    let other = server.find(&made_up, caller).unwrap_err();
    assert_eq!(error.said().to_string(), other.said().to_string());
}

#[tokio::test(start_paused = true)]
async fn an_id_is_all_it_takes() {
    let shared = Shared::new();
    let before = shared.another();
    let client = Client::greet(&before, "ann", ROOTS).await;
    let id = id_of(&client);
    assert_eq!(id_of(&client), id);
    assert!(id.as_str().len() < 300, "{}", id.as_str().len());

    // Another process, without a goodbye.
    let double = Double::new();
    let after = shared.server(&double);
    let client = again(&after, &id, "ann");
    let mut news = client.listen().await;
    assert!(client.call(1, "echo").await.unwrap().contains(r#""id":1"#));
    assert_eq!(double.heard()[..2], ["0 initialize", "0 notifications/initialized"]);
    assert_eq!(id_of(&client), id);
    assert_eq!((after.status().sessions, after.status().links), (1, 1));
    assert_eq!(news.next().await.unwrap(), "notifications/tools/list_changed");
}

#[tokio::test(start_paused = true)]
async fn what_an_id_does_not_say_is_in_a_record() {
    let shared = Shared::new();
    let before = shared.another();
    let client = Client::greet(&before, "ann", ROOTS).await;
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"error"}}"#,
        r#"{"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"mem://a"}}"#,
        r#"{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"mem://b"}}"#,
        r#"{"jsonrpc":"2.0","id":4,"method":"resources/unsubscribe","params":{"uri":"mem://a"}}"#,
    ] {
        client.send(text).await.unwrap();
    }
    let double = Double::new();
    let after = shared.server(&double);
    let client = again(&after, &id_of(&client), "ann");
    // Whoever only listens hears of it all the same.
    let mut unasked = client.listen().await;
    double.hears("0 resources/subscribe").await;
    let expect = ["initialize", "notifications/initialized", "logging/setLevel"];
    let expect =
        expect.map(|it| format!("0 {it}")).into_iter().chain(["0 resources/subscribe".to_owned()]);
    assert_eq!(double.heard(), expect.collect::<Vec<_>>());
    assert_eq!(unasked.next().await.unwrap(), "notifications/tools/list_changed");
    double.talk(0).say("notifications/resources/updated", None);
    assert_eq!(unasked.next().await.unwrap(), "notifications/resources/updated");
}

/// HTTP+SSE announces an id before there is anything to say in it.
#[tokio::test(start_paused = true)]
async fn an_id_that_was_given_out_first() {
    let shared = Shared::new();
    let before = shared.another();
    let client = Client::open(&before, "ann").await;
    let id = id_of(&client);
    // Before it says anything there is nothing to go on with.
    nothing(&shared.another(), &id, &Caller::named("ann"));
    client.initialize("2025-03-26", ROOTS).await.unwrap();
    assert_eq!(id_of(&client), id);

    let double = Double::new();
    let after = shared.server(&double);
    again(&after, &id, "ann").call(1, "echo").await.unwrap();
    assert_eq!(after.status().protocol_version, Some("2025-03-26"));
    // And once it is closed, there is nothing again.
    again(&after, &id, "ann").session.close().await;
    for server in [&after, &shared.another()] {
        nothing(server, &id, &Caller::named("ann"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_much_to_say_has_a_record() {
    let shared = Shared::new();
    let before = shared.another();
    for (len, is_recorded) in [(500, false), (5_000, true)] {
        let much = format!(r#"{{"roots":{{}},"experimental":{{"x":"{}"}}}}"#, "y".repeat(len));
        let client = Client::open(&before, "ann").await;
        client.initialize("2025-06-18", &much).await.unwrap();
        let id = id_of(&client);
        assert!(id.as_str().len() < 1200, "{}", id.as_str().len());
        let said = shared.keeping();
        let said = said.open("double", &Caller::named("ann"), &id).unwrap();
        assert_eq!(said.hello.is_none(), is_recorded);
        assert_eq!(shared.store.load(&said.key).unwrap().is_some(), is_recorded);
        let after = shared.another();
        again(&after, &id, "ann").call(1, "echo").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_elses() {
    let shared = Shared::new();
    let before = shared.another();
    let id = id_of(&Client::greet(&before, "ann", NONE).await);
    let after = shared.another();
    let elsewhere = Server::new("other", Arc::new(demo_server::transport()), lazy());
    elsewhere.keep(shared.keeping());
    let stranger = Shared::new().another();
    for caller in [Caller::named("bob"), Caller::anonymous(), Caller::named("")] {
        nothing(&after, &id, &caller);
        nothing(&before, &id, &caller);
    }
    nothing(&elsewhere, &id, &Caller::named("ann"));
    nothing(&stranger, &id, &Caller::named("ann"));
    let text = id.as_str();
    for forged in [text.get(4..).unwrap(), &format!("{text}AAAA"), &text.replace('A', "B")] {
        nothing(&after, &SessionId::new(forged).unwrap(), &Caller::named("ann"));
    }
    assert_eq!(after.status().sessions, 0);
    again(&after, &id, "ann");
}

#[tokio::test(start_paused = true)]
async fn what_is_closed_stays_closed() {
    let shared = Shared::new();
    let before = shared.another();
    let client = Client::greet(&before, "ann", NONE).await;
    let id = id_of(&client);
    client.session.close().await;
    nothing(&before, &id, &Caller::named("ann"));
    nothing(&shared.another(), &id, &Caller::named("ann"));
}

#[tokio::test(start_paused = true)]
async fn an_id_gets_old() {
    let shared = Shared::new();
    let before = shared.another();
    let id = id_of(&Client::greet(&before, "ann", NONE).await);
    shared.clock.advance(AGE_MAX - Duration::from_secs(1));
    let after = shared.another();
    again(&after, &id, "ann").call(1, "echo").await.unwrap();
    shared.clock.advance(Duration::from_secs(1));
    nothing(&shared.another(), &id, &Caller::named("ann"));
    // Who is there already is not turned out.
    again(&after, &id, "ann").call(2, "echo").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn keys_turn_and_ids_stay_good() {
    let shared = Shared::new();
    let before = shared.another();
    let id = id_of(&Client::greet(&before, "ann", NONE).await);
    let mut keys = shared.keyring.keys().to_vec();
    keys.push(Key::new(shared.clock.now()).unwrap());
    shared.keyring.replace(keys).unwrap();
    again(&shared.another(), &id, "ann").call(1, "echo").await.unwrap();
}

/// A laptop that slept finds its session where it left it.
#[tokio::test(start_paused = true)]
async fn whoever_is_idle_gives_up_its_place_and_finds_it_again() {
    let shared = Shared::new();
    let double = Double::new();
    let server = shared.server(&double);
    let client = Client::greet(&server, "ann", NONE).await;
    let id = id_of(&client);
    let level =
        r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"error"}}"#;
    client.send(level).await.unwrap();
    tokio::time::sleep(Duration::from_secs(36 * 60)).await;
    assert_eq!((server.status().sessions, server.status().links), (0, 0));
    again(&server, &id, "ann").call(2, "echo").await.unwrap();
    assert_eq!(server.status().sessions, 1);
    let levels = double.heard().iter().filter(|it| it.ends_with("logging/setLevel")).count();
    assert_eq!(levels, 2, "{:?}", double.heard());
}

/// A gateway that is told to end closes nobody's session.
#[tokio::test(start_paused = true)]
async fn an_orderly_end_is_no_goodbye() {
    let shared = Shared::new();
    let before = shared.another();
    let named = Client::greet(&before, "ann", NONE).await;
    let early = Client::open(&before, "ann").await;
    let ids = [id_of(&named), id_of(&early)];
    early.initialize("2025-06-18", NONE).await.unwrap();
    before.shut_down(Duration::ZERO, "it ends").await;
    // As a server half does when its stream ends.
    early.session.close().await;
    let error = before.find(&ids[0], &Caller::named("ann")).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable { .. }), "{error}");
    let after = shared.another();
    for id in ids {
        again(&after, &id, "ann").call(1, "echo").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn many_at_once_take_up_one_session() {
    let shared = Shared::new();
    let before = shared.another();
    let id = id_of(&Client::greet(&before, "ann", ROOTS).await);
    let double = Double::new();
    let after = shared.server(&double);
    let calls = (1..=20).map(|number| {
        let client = again(&after, &id, "ann");
        async move { client.call(number, "echo").await.unwrap() }
    });
    assert_eq!(join_all(calls).await.len(), 20);
    assert_eq!((after.status().sessions, after.status().links), (1, 1));
    assert_eq!(double.opened.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_table_is_full_for_old_sessions_too() {
    let shared = Shared::new();
    let before = shared.another();
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(id_of(&Client::greet(&before, "ann", NONE).await));
    }
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3);
    let after = Double::new().server(Options { session_max: 2, ..lazy() });
    after.keep(shared.keeping());
    let first = again(&after, &ids[0], "ann");
    again(&after, &ids[1], "ann");
    let error = after.find(&ids[2], &Caller::named("ann")).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Exhausted);
    assert!(error.said().to_string().contains("`sessionMax`"), "{}", error.said());
    first.session.close().await;
    again(&after, &ids[2], "ann").call(1, "echo").await.unwrap();
}

/// A store whose writes wait until they are let go.
#[derive(Debug)]
struct Slow {
    inner: Arc<Memory>,
    gate: Arc<tokio::sync::Semaphore>,
}

impl Store for Slow {
    fn load(&self, key: &RecordKey) -> Result<Option<bytes::Bytes>, StoreError> {
        self.inner.load(key)
    }

    fn save(&self, key: RecordKey, record: bytes::Bytes, expires: u64) -> Saving {
        let (inner, gate) = (Arc::clone(&self.inner), Arc::clone(&self.gate));
        async move {
            gate.acquire().await.unwrap().forget();
            inner.save(key, record, expires).await
        }
        .boxed()
    }

    fn remove(&self, key: RecordKey) -> Saving {
        self.inner.remove(key)
    }
}

/// Between a goodbye and the disk's confirmation nobody slips in.
#[tokio::test(start_paused = true)]
async fn a_session_is_closed_once_that_is_kept() {
    let shared = Shared::new();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let store = Arc::new(Slow { inner: Arc::clone(&shared.store), gate: Arc::clone(&gate) });
    let server = Double::new().server(lazy());
    server.keep(Keeping { store, ..shared.keeping() });
    let client = Client::greet(&server, "ann", NONE).await;
    let id = id_of(&client);
    let mut closing = client.session.close();
    assert!((&mut closing).now_or_never().is_none());
    nothing(&server, &id, &Caller::named("ann"));
    gate.add_permits(1);
    closing.await;
    nothing(&server, &id, &Caller::named("ann"));
    assert_eq!(server.status().sessions, 0);
}

/// A record that cannot be written is nobody's failure.
#[tokio::test(start_paused = true)]
async fn a_broken_store_breaks_no_session() {
    #[derive(Debug)]
    struct Broken;
    fn on_fire() -> StoreError {
        StoreError::Unavailable("the disk is on fire".into())
    }
    impl Store for Broken {
        fn load(&self, _: &RecordKey) -> Result<Option<bytes::Bytes>, StoreError> {
            Err(on_fire())
        }
        fn save(&self, _: RecordKey, _: bytes::Bytes, _: u64) -> Saving {
            async { Err(on_fire()) }.boxed()
        }
        fn remove(&self, _: RecordKey) -> Saving {
            async { Err(on_fire()) }.boxed()
        }
    }
    let shared = Shared::new();
    let broken = || {
        let server = Double::new().server(lazy());
        server.keep(Keeping { store: Arc::new(Broken), ..shared.keeping() });
        server
    };
    let before = broken();
    let client = Client::greet(&before, "ann", NONE).await;
    let level =
        r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"error"}}"#;
    client.send(level).await.unwrap();
    let id = id_of(&client);
    again(&broken(), &id, "ann").call(1, "echo").await.unwrap();
    client.session.close().await;
    assert_eq!(before.status().sessions, 0);
}

/// Whoever uses such a session keeps it itself.
#[tokio::test(start_paused = true)]
async fn what_somebody_else_keeps_is_written_nowhere() {
    /// One in which nobody writes.
    #[derive(Debug)]
    struct Sealed;
    impl Store for Sealed {
        fn load(&self, _: &RecordKey) -> Result<Option<bytes::Bytes>, StoreError> {
            panic!("nothing is looked for");
        }
        fn save(&self, _: RecordKey, _: bytes::Bytes, _: u64) -> Saving {
            panic!("nothing is written");
        }
        fn remove(&self, _: RecordKey) -> Saving {
            panic!("nothing is removed");
        }
    }
    let shared = Shared::new();
    let server = Double::new().server(lazy());
    server.keep(Keeping { store: Arc::new(Sealed), ..shared.keeping() });
    let opening = Opening { caller: Caller::named("ann"), version: None, at: "".into() };
    let session = server.unkept().open(opening).await.unwrap();
    let client = Client::of(session, "ann");
    client.initialize("2025-06-18", ROOTS).await.unwrap();
    let level = r#"{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}"#;
    client.send(level).await.unwrap();
    client.call(2, "echo").await.unwrap();
    client.session.close().await;
    assert_eq!(server.status().sessions, 0);
}
