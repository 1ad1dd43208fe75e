//! Many clients on one child, and a server with the worst of timing: nobody hears what is
//! another's.
//!
//! The server answers late and out of order, and says whatever names a client (progress, logs,
//! questions, the status of tasks) before its answer, after it, and after nobody waits for it any
//! more.  `MISCHIEF_SEED=N` repeats a run.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use mcp_jsonrpc::{
    Id, Kind, Message,
    params::Initialize,
    transport::{
        Caller, Endpoint, Event, EventId, EventStream, Exchange, Opening, Reply, Session,
        SessionId, Transport, TransportError,
        switchboard::{Switchboard, SwitchboardMax},
    },
};
use serde_json::{Value, json};

use super::*;
use crate::double::Client;

const CLIENTS: usize = 50;
const CALLS: usize = 12;

/// Numbers that look random, and are the same for the same seed.
#[derive(Debug)]
struct Dice(AtomicU64);

impl Dice {
    fn new() -> Self {
        let seed = std::env::var("MISCHIEF_SEED").ok().and_then(|it| it.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            let mut random = [0; 4];
            getrandom::fill(&mut random).unwrap();
            u64::from(u32::from_le_bytes(random))
        });
        println!("MISCHIEF_SEED={seed}");
        Self(AtomicU64::new(seed))
    }

    fn roll(&self, sides: u64) -> u64 {
        // splitmix64
        let n = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (n ^ (n >> 31)) % sides
    }

    async fn pause(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.roll(ms))).await;
    }
}

#[derive(Debug)]
struct Mischief {
    dice: Arc<Dice>,
    /// What was said to name somebody, and how often a question was answered.
    said: AtomicUsize,
    answered: Mutex<Vec<Value>>,
    tasks: TaskTracker,
}

/// One child: all that it says comes down one channel.
#[derive(Clone, Debug)]
struct Child {
    board: Switchboard,
    server: Arc<Mischief>,
    /// Who was asked under which id.
    asked: Arc<Mutex<HashMap<Id, String>>>,
    begun: Arc<Mutex<Vec<String>>>,
}

#[derive(Debug)]
struct Way(Arc<Mischief>);

impl Transport for Way {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        if let Err(error) = opening.with_handshake() {
            return async { Err(error) }.boxed();
        }
        let (board, outgoing) = Switchboard::new(SwitchboardMax::default());
        std::mem::forget(outgoing);
        let (asked, begun) = (Arc::default(), Arc::default());
        let child = Child { board, server: Arc::clone(&self.0), asked, begun };
        async { Ok(Arc::new(child) as Arc<dyn Session>) }.boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        unreachable!("a child has no session id")
    }
}

impl Session for Child {
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: "mischief:".into(), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        async move {
            if exchange.message.kind() != Kind::Request {
                if exchange.message.kind() == Kind::Response {
                    let result: Value = exchange.message.read().unwrap();
                    let who = self.asked.lock().unwrap().remove(exchange.message.id().unwrap());
                    self.server.answered.lock().unwrap().push(json!([who, result]));
                }
                return Ok(Reply::Accepted);
            }
            let (message, asked) = self.board.ask(&exchange.message)?;
            let child = self.clone();
            self.server.tasks.spawn(async move { child.work(message).await });
            asked.reply().await
        }
        .boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async { Ok(self.board.listen()) }.boxed()
    }

    fn is_open(&self) -> bool {
        self.board.is_open()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.board.hang_up(|| {
            TransportError::new(mcp_jsonrpc::transport::ErrorKind::Closed, "it is closed")
        });
        async {}.boxed()
    }
}

impl Child {
    async fn work(&self, request: Message) {
        let id = request.id().unwrap().clone();
        let params: Value = request.read().unwrap_or_default();
        let answer = |result: &Value| self.board.dispatch(Message::response(&id, result).unwrap());
        match request.method().unwrap() {
            "initialize" => {
                let said: Initialize<'_> = request.read().unwrap();
                return answer(&json!({
                    "protocolVersion": said.version(), "capabilities": { "logging": {}, "tasks": {} },
                    "serverInfo": { "name": "mischief", "version": "1" },
                }));
            }
            "tasks/list" => {
                let all = self.begun.lock().unwrap().clone();
                let all = all.iter().map(|task| json!({ "taskId": task, "who": task }));
                return answer(&json!({ "tasks": all.collect::<Vec<_>>() }));
            }
            "tools/call" => (),
            _ => return answer(&json!({})),
        }
        let who = params["arguments"]["who"].as_str().unwrap().to_owned();
        let dice = &self.server.dice;
        let mut task = None;
        for _ in 0..dice.roll(4) {
            dice.pause(200).await;
            self.babble(&who, &params, None);
        }
        dice.pause(300).await;
        if params["task"].is_object() {
            let name = format!("{who}/{}", dice.roll(1 << 40));
            self.begun.lock().unwrap().push(name.clone());
            // Before the answer that names it, as a server may that has more threads than sense.
            self.babble(&who, &params, Some(&name));
            answer(
                &json!({ "who": who, "task": { "taskId": name, "ttl": 60_000, "status": "working" } }),
            );
            task = Some(name);
        } else {
            answer(&json!({ "content": [], "who": who }));
        }
        // And it does not stop there.
        for _ in 0..dice.roll(4) {
            dice.pause(5_000).await;
            self.babble(&who, &params, task.as_deref());
        }
    }

    /// Says something that names a client.
    fn babble(&self, who: &str, call: &Value, task: Option<&str>) {
        self.server.said.fetch_add(1, Ordering::Relaxed);
        let meta =
            task.map(|task| json!({ "io.modelcontextprotocol/related-task": { "taskId": task } }));
        let note = |method: &str, mut params: Value| {
            if let (Some(meta), true) = (&meta, method != "notifications/tasks/status") {
                params["_meta"] = meta.clone();
            }
            Message::notification(method, &params).unwrap()
        };
        let message = match (self.server.dice.roll(5), task) {
            (0, _) => {
                note("notifications/message", json!({ "level": "info", "data": { "who": who } }))
            }
            (1 | 2, _) => {
                let token = &call["_meta"]["progressToken"];
                Message::notification(
                    "notifications/progress",
                    &json!({ "progressToken": token, "progress": 1, "who": who }),
                )
                .unwrap()
            }
            (3, Some(task)) => note(
                "notifications/tasks/status",
                json!({ "taskId": task, "status": "working", "who": who }),
            ),
            (3, None) => note("notifications/x-unheard-of", json!({ "who": who })),
            _ => {
                let id = Id::from(i64::try_from(self.server.dice.roll(1 << 50)).unwrap());
                self.asked.lock().unwrap().insert(id.clone(), who.to_owned());
                Message::request(&id, "elicitation/create", &json!({ "message": "?", "who": who }))
                    .unwrap()
            }
        };
        self.board.dispatch(message);
    }
}

/// What reached one client.
#[derive(Default)]
struct Heard {
    messages: Vec<Message>,
}

impl Heard {
    /// Fails unless all of it is this client's.
    fn check(&self, who: &str) {
        for message in &self.messages {
            let text = String::from_utf8_lossy(message.as_bytes());
            if let Some((_, rest)) = text.split_once(r#""who":""#) {
                let named = rest.split(['"', '/']).next().unwrap();
                assert_eq!(named, who, "{text}");
            }
            if message.method() == Some("notifications/progress") {
                assert!(text.contains(r#""progressToken":"same""#), "{text}");
            }
        }
    }

    fn count(&self, method: &str) -> usize {
        self.messages.iter().filter(|it| it.method() == Some(method)).count()
    }
}

async fn take(events: EventStream, heard: &Mutex<Heard>) {
    let take = events.for_each(|event| {
        if let Ok(Event::Message { message, .. }) = event {
            heard.lock().unwrap().messages.push(message);
        }
        std::future::ready(())
    });
    take.await;
}

/// One client: calls, cancels, hangs up; all under the same ids and the same token.
async fn live(server: &Server, number: usize, callers: usize, dice: &Dice, caps: &str) -> Heard {
    let who = format!("c{number}");
    let client = Client::open(server, &format!("caller{}", number % callers)).await;
    let answer = client.initialize("2025-11-25", caps).await.unwrap();
    assert!(answer.contains("mischief"), "{answer}");
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await.unwrap();
    let heard = Mutex::new(Heard::default());
    let unasked = client.session.listen(None).await.unwrap();
    let calls = async {
        for id in 0..CALLS {
            dice.pause(2_000).await;
            let mut params = json!({
                "name": "t", "arguments": { "who": who }, "_meta": { "progressToken": "same" },
            });
            if dice.roll(3) == 0 {
                params["task"] = json!({ "ttl": 60_000 });
            }
            let text =
                json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
            let text = text.to_string();
            let fate = dice.roll(10);
            let call = async {
                match client.send(&text).await {
                    Ok(Reply::Single(message)) => heard.lock().unwrap().messages.push(message),
                    Ok(Reply::Stream(events)) => take(events, &heard).await,
                    Ok(Reply::Accepted) => panic!("no answer"),
                    Err(error) => assert!(fate <= 1, "{error}"),
                }
            };
            match fate {
                // Takes it back.
                0 => {
                    let cancel = async {
                        dice.pause(400).await;
                        let params = json!({ "requestId": id });
                        let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
                        client.send(&cancel.to_string()).await.unwrap();
                    };
                    tokio::join!(call, cancel);
                }
                // Loses its connection.
                1 => _ = tokio::time::timeout(Duration::from_millis(dice.roll(400)), call).await,
                _ => call.await,
            }
            let list = r#"{"jsonrpc":"2.0","id":99,"method":"tasks/list"}"#;
            if let Ok(Reply::Single(tasks)) = client.send(list).await {
                let tasks: Value = tasks.read().unwrap();
                for task in tasks["tasks"].as_array().unwrap() {
                    assert_eq!(task["taskId"].as_str().unwrap().split('/').next(), Some(&*who));
                }
            }
        }
        if dice.roll(3) > 0 {
            dice.pause(20_000).await;
        }
        client.session.close().await;
    };
    tokio::join!(calls, take(unasked, &heard));
    heard.into_inner().unwrap()
}

async fn run(
    isolation: Isolation,
    callers: usize,
    caps: &str,
) -> (Vec<Heard>, Arc<Mischief>, Status) {
    let dice = Arc::new(Dice::new());
    let (said, answered, tasks) = (AtomicUsize::new(0), Mutex::default(), TaskTracker::new());
    let behind = Arc::new(Mischief { dice: Arc::clone(&dice), said, answered, tasks });
    let options = Options { isolation, startup: Startup::Lazy, ..Options::default() };
    let server = Server::new("mischief", Arc::new(Way(Arc::clone(&behind))), options);
    let clients = (0..CLIENTS).map(|number| live(&server, number, callers, &dice, caps));
    let heard = futures::future::join_all(clients).await;
    for (number, heard) in heard.iter().enumerate() {
        heard.check(&format!("c{number}"));
    }
    let status = server.status();
    (heard, behind, status)
}

#[tokio::test(start_paused = true)]
async fn everybody_on_one_child() {
    let (heard, behind, status) = run(Isolation::Shared, 50, "{}").await;
    let said = behind.said.load(Ordering::Relaxed);
    let progress: usize = heard.iter().map(|it| it.count("notifications/progress")).sum();
    let tasks: usize = heard.iter().map(|it| it.count("notifications/tasks/status")).sum();
    println!(
        "{said} said, {progress} of progress, {tasks} of tasks, {} dropped, {} refused",
        status.dropped, status.refused
    );
    // What can be known is not lost.
    assert!(progress > 100 && tasks > 10, "{progress} {tasks}");
    assert!(status.dropped > 100 && status.refused > 100, "{status:?}");
    assert!(heard.iter().all(|it| it.count("elicitation/create") == 0));
    assert!(behind.answered.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_sessions_of_each_caller_on_one() {
    // Also where every client declares that it can be asked: the operator chose to share.
    let all = r#"{"sampling":{},"elicitation":{},"tasks":{}}"#;
    for (callers, caps) in [(5, "{}"), (1, all)] {
        let (heard, _, status) = run(Isolation::Caller, callers, caps).await;
        let progress: usize = heard.iter().map(|it| it.count("notifications/progress")).sum();
        assert!(progress > 100, "{progress}");
        assert!(status.refused > 100, "{status:?}");
        assert!(heard.iter().all(|it| it.count("elicitation/create") == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn each_on_one_of_its_own() {
    let caps = r#"{"sampling":{},"elicitation":{},"tasks":{}}"#;
    let (heard, _, status) = run(Isolation::Session, 50, caps).await;
    let questions: usize = heard.iter().map(|it| it.count("elicitation/create")).sum();
    let logs: usize = heard.iter().map(|it| it.count("notifications/message")).sum();
    assert!(questions > 100 && logs > 100, "{questions} {logs}");
    assert_eq!((status.dropped, status.refused), (0, 0), "{status:?}");
}
