//! A day of sessions that open, idle, half-close, vanish and close: nothing of them is left.
//!
//! The day is simulated: tokio's clock stands still and jumps.  What is counted is all there is to
//! count: sessions and links that are alive, tasks of the runtime, what their trackers hold, what
//! was started behind and not ended, and what the rings and tables of a session and a shared link
//! hold that live through all of it.

use std::{
    sync::{Weak, atomic::Ordering},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream};
use mcp_jsonrpc::{
    Id, Message,
    transport::{Caller, Event, EventId, EventStream, Exchange, Reply, TransportError},
};
use serde_json::json;
use tokio::{runtime::Handle, time::Instant};

use super::*;
use crate::{
    double::{Client, Double},
    link::Link,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A session begins so often, and does one of `WAYS` things.
const PACE: Duration = Duration::from_secs(150);
const WAYS: u32 = 9;
/// Long enough for every wait there is: a call's 1 h, a session's 30 min, a link's 5 min.
const REST: Duration = Duration::from_secs(2 * 3600);

/// So often it is looked what is over: nothing here ends within less, and a day of looks at each
/// second is what these tests would do most.
const LOOK: Duration = Duration::from_secs(15);

const ROOTS: &str = r#"{"roots":{}}"#;

/// What is kept of everything that ever was, without keeping it alive.
#[derive(Default)]
struct Traces {
    sessions: Vec<Weak<ClientSession>>,
    links: Vec<Weak<Link>>,
}

impl Traces {
    fn note(&mut self, server: &Server) {
        for session in server.0.inner.sessions.all() {
            self.links.extend(session.links().iter().map(Arc::downgrade));
            self.sessions.push(Arc::downgrade(&session));
        }
        self.sessions.sort_by_key(Weak::as_ptr);
        self.sessions.dedup_by(|a, b| a.ptr_eq(b));
        self.links.sort_by_key(Weak::as_ptr);
        self.links.dedup_by(|a, b| a.ptr_eq(b));
    }

    /// How many of them are alive.
    fn alive(&self) -> (usize, usize) {
        let sessions = self.sessions.iter().filter(|it| it.strong_count() > 0).count();
        (sessions, self.links.iter().filter(|it| it.strong_count() > 0).count())
    }
}

/// A day with one server.
struct Day {
    double: Arc<Double>,
    server: Server,
    traces: Traces,
    /// Streams that a client holds and does not read, until their time is over.
    held: Vec<(Instant, EventStream)>,
}

impl Day {
    /// One client, from its coming to its going.
    async fn one(&mut self, n: u32) {
        let caller = if n.is_multiple_of(2) { "ann" } else { "bob" };
        let capabilities = if n.is_multiple_of(3) { ROOTS } else { "{}" };
        if n.is_multiple_of(WAYS) {
            // Says nothing at all, and is gone.
            drop(Client::open(&self.server, caller).await);
            return self.traces.note(&self.server);
        }
        let client = Client::greet(&self.server, caller, capabilities).await;
        self.traces.note(&self.server);
        match n % WAYS {
            1 => {
                client.call(1, "who").await.unwrap();
                client.session.close().await;
            }
            // Vanishes between two requests.
            2 => drop(client.call(1, "who").await),
            // Vanishes in the middle of one that is never answered: the end of its time ends it.
            3 => assert!(client.call(1, "gate").now_or_never().is_none()),
            // Listens, and does not read what it is told.
            4 => {
                let unread = client.session.keep(&[], client.session.listen(None).await.unwrap());
                self.say_all("notifications/tools/list_changed", 20);
                self.held.push((Instant::now() + Duration::from_secs(600), unread));
            }
            // Half-closes: what it listened with is gone, what it asked goes on.
            5 => {
                drop(client.session.listen(None).await.unwrap());
                drop(client.call(1, "progress").await.unwrap());
            }
            6 => self.lose_and_resume(&client).await,
            7 => {
                // The server dies under it.
                assert!(client.call(1, "die").await.is_err());
                client.call(2, "who").await.unwrap();
                client.session.close().await;
            }
            // Is asked, and does not answer.
            8 => {
                self.say_all("roots/list", 3);
                drop(client.call(1, "who").await.unwrap());
            }
            _ => unreachable!("of {WAYS} ways"),
        }
    }

    /// Every server that runs says this, so often.
    fn say_all(&self, method: &str, times: i64) {
        let id = (method == "roots/list").then_some(7);
        for number in 0..self.double.opened.load(Ordering::Relaxed) {
            let talk = self.double.talk(number);
            if !talk.is_over() {
                (0..times).for_each(|n| _ = talk.try_say(method, id.map(|id| id + n)));
            }
        }
    }

    /// Loses the stream of a request, goes on with it, and loses it for good.
    async fn lose_and_resume(&self, client: &Client) {
        let request = json!({ "name": "progress", "_meta": { "progressToken": 1 } });
        let request = Message::request(&Id::from(1), "tools/call", &request).unwrap();
        let exchange = Exchange::new(request, Caller::named("x"));
        let events = match client.session.send(exchange).await.unwrap() {
            Reply::Stream(events) => events,
            Reply::Single(answer) => stream::iter([Ok(answer.into())]).boxed(),
            Reply::Accepted => panic!("a request is answered"),
        };
        let mut events = client.session.keep(&[Id::from(1)], events);
        let last = id_of(events.next().await);
        drop(events);
        let mut rest = client.session.listen(Some(last)).await.unwrap();
        let last = id_of(rest.next().await);
        drop(rest);
        drop(client.session.listen(Some(last)).await.unwrap());
    }

    async fn live(&mut self, faithful: Option<&Client>) {
        let end = Instant::now() + DAY;
        let mut n = 0;
        while Instant::now() < end {
            self.one(n).await;
            self.held.retain(|(until, _)| Instant::now() < *until);
            if let Some(faithful) = faithful {
                faithful.call(i64::from(n), "who").await.unwrap();
                faithful.call(i64::from(n), "progress").await.unwrap();
            }
            tokio::time::sleep(PACE).await;
            n += 1;
        }
        self.held.clear();
        // Whoever lives through all this goes on as it was.
        let rest = Instant::now() + REST;
        while Instant::now() < rest {
            if let Some(faithful) = faithful {
                faithful.call(0, "who").await.unwrap();
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

fn id_of(event: Option<Result<Event, TransportError>>) -> EventId {
    match event.unwrap().unwrap() {
        Event::Message { id, .. } => id.unwrap(),
        Event::Pause { id, .. } => id.unwrap(),
    }
}

fn options(isolation: Isolation, wire: Wire) -> Options {
    Options { startup: Startup::Lazy, isolation, wire, ..Options::default() }
}

/// Of whatever kind the server is.
async fn a_day_leaves_nothing_behind(isolation: Isolation, wire: Wire) {
    let metrics = Handle::current().metrics();
    let double = Double::new();
    let server = double.server(options(isolation, wire));
    server.start_and_look_every(LOOK);
    tokio::time::sleep(PACE).await;
    let tasks = metrics.num_alive_tasks();
    let mut day = Day { double, server, traces: Traces::default(), held: Vec::new() };
    day.live(None).await;

    let inner = &day.server.0.inner;
    assert!(500 < day.traces.sessions.len(), "{}", day.traces.sessions.len());
    assert_eq!(day.traces.alive(), (0, 0), "sessions, links");
    assert_eq!(metrics.num_alive_tasks(), tasks);
    assert_eq!((inner.detached.len(), inner.tasks.len()), (0, 1));
    let status = day.server.status();
    let counts = (status.sessions, status.links, status.in_flight, status.waiting);
    assert_eq!(counts, (0, 0, 0, 0));
    assert!(inner.sessions.is_empty());
    let opened = day.double.opened.load(Ordering::Relaxed);
    let running = (0..opened).filter(|it| !day.double.talk(*it).is_over()).count();
    assert_eq!(running, 0, "of {opened} servers");
}

#[tokio::test(start_paused = true)]
async fn a_day_with_children() {
    a_day_leaves_nothing_behind(Isolation::Auto, Wire::Child).await;
}

#[tokio::test(start_paused = true)]
async fn a_day_with_a_server_of_http() {
    a_day_leaves_nothing_behind(Isolation::Auto, Wire::Http).await;
}

#[tokio::test(start_paused = true)]
async fn a_day_with_a_child_that_all_share() {
    a_day_leaves_nothing_behind(Isolation::Shared, Wire::Child).await;
}

#[tokio::test(start_paused = true)]
async fn a_day_with_a_child_for_each_session() {
    a_day_leaves_nothing_behind(Isolation::Session, Wire::Child).await;
}

#[tokio::test(start_paused = true)]
async fn a_day_with_a_child_for_each_request() {
    a_day_leaves_nothing_behind(Isolation::Request, Wire::Child).await;
}

/// Found, and ended before it is listened to: nobody waits for what will never come.
#[tokio::test(start_paused = true)]
async fn a_stream_of_a_session_that_is_over_ends_at_once() {
    let server = Double::new().server(options(Isolation::Auto, Wire::Child));
    let client = Client::greet(&server, "ann", ROOTS).await;
    client.session.close().await;
    let mut events = client.session.listen(None).await.unwrap();
    assert!(events.next().await.is_none());
    drop((events, client));
    assert!(server.0.inner.sessions.is_empty());
}

/// A session that lives through it on a link that all share, and the link.
#[tokio::test(start_paused = true)]
async fn a_day_of_others_leaves_nothing_with_who_stays() {
    let metrics = Handle::current().metrics();
    let double = Double::new();
    let options = options(Isolation::Shared, Wire::Child);
    let server = double.server(options);
    server.start_and_look_every(LOOK);
    let faithful = Client::greet(&server, "eve", "{}").await;
    let mut news = faithful.session.keep(&[], faithful.session.listen(None).await.unwrap());
    let reader = TaskTracker::new();
    reader.spawn(async move { while news.next().await.is_some() {} });
    faithful.call(0, "who").await.unwrap();
    tokio::time::sleep(REST).await;
    let session = server.0.inner.sessions.all().pop().unwrap();
    let tasks = metrics.num_alive_tasks();
    let (kept, held) = (session.kept_size(), session.links().first().unwrap().held());
    let mut day = Day { double, server, traces: Traces::default(), held: Vec::new() };
    day.live(Some(&faithful)).await;

    assert_eq!(day.traces.alive(), (1, 1), "sessions, links");
    assert_eq!(metrics.num_alive_tasks(), tasks);
    let inner = &day.server.0.inner;
    assert_eq!(inner.detached.len(), 0);
    assert_eq!(session.kept_size(), kept, "bytes and messages in its rings");
    let link = session.links().pop().unwrap();
    assert_eq!(link.held(), held, "members, traces, tokens");
    assert_eq!(session.in_flight(), 0);
    // The server died for others again and again, and it goes on.
    faithful.call(1, "who").await.unwrap();
}
