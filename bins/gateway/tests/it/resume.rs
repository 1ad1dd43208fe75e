//! Connections that are cut, at whatever byte, and clients that go on where they were.

use std::io::Read;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    http::Open,
    process::until,
    rig::{Gateway, INITIALIZE, demo, demo_child, folder, servers},
};

/// What a client of a stream knows, however often it lost it.
#[derive(Debug, Default)]
struct Told {
    /// What came of the event that is not complete yet.
    rest: String,
    last: Option<String>,
    endpoint: Option<String>,
    messages: Vec<Value>,
}

impl Told {
    /// Reads at most so many bytes, in whatever pieces they come; false at the end.
    fn read(&mut self, stream: &mut Open, mut most: usize) -> bool {
        let mut byte = [0];
        while 0 < most {
            if stream.read(&mut byte).unwrap() == 0 {
                return false;
            }
            most -= 1;
            self.rest.push(char::from(byte[0]));
            if self.rest.ends_with("\n\n") {
                let event = std::mem::take(&mut self.rest);
                self.take(&event);
            }
        }
        true
    }

    fn take(&mut self, event: &str) {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        if let Some(id) = field("id: ") {
            self.last = Some(id.to_owned());
        }
        if field("event: ") == Some("endpoint") {
            self.endpoint = field("data: ").map(str::to_owned);
        } else if let Some(data) = field("data: ").filter(|data| !data.is_empty()) {
            self.messages.push(serde_json::from_str(data).unwrap());
        }
    }

    fn is_answered_to(&self, id: i64) -> bool {
        self.messages.last().is_some_and(|it| it["id"] == id)
    }
}

const FIELDS: [(&str, &str); 3] = [
    ("Accept", "application/json, text/event-stream"),
    ("Content-Type", "application/json"),
    ("Mcp-Protocol-Version", "2025-11-25"),
];

fn begin(gateway: &Gateway, path: &str) -> String {
    let initialize = INITIALIZE.replace("2025-06-18", "2025-11-25");
    let answer = gateway.post(path, &[], &initialize);
    answer.field("mcp-session-id").unwrap().to_owned()
}

fn steps(id: i64, steps: u32, ms: u32) -> String {
    let params = json!({
        "name": "progress",
        "arguments": { "steps": steps, "ms": ms },
        "_meta": { "progressToken": id },
    });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params }).to_string()
}

fn open(gateway: &Gateway, path: &str, session: &str, body: &str) -> Open {
    let mut fields = FIELDS.to_vec();
    fields.push(("Mcp-Session-Id", session));
    gateway.open(&format!("POST {path}"), &fields, body)
}

fn go_on(gateway: &Gateway, path: &str, session: &str, last: &str) -> Open {
    let fields = [
        ("Accept", "text/event-stream"),
        FIELDS[2],
        ("Mcp-Session-Id", session),
        ("Last-Event-ID", last),
    ];
    gateway.open(&format!("GET {path}"), &fields, "")
}

/// Numbers that look random and are the same every time.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self, below: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// Every response arrives exactly once, and all that came before it, in order.
#[test]
fn two_hundred_cuts_lose_nothing() {
    const STEPS: u32 = 8;
    let dir = folder();
    let config = servers(json!({ "demo": { "type": "demo" }, "child": demo_child(dir.path()) }));
    let gateway = Gateway::start(&config);
    let (mut dice, mut cuts, mut id) = (Dice(3), 0, 0);
    while cuts < 200 {
        id += 1;
        let path = if id % 2 == 0 { "/demo/mcp" } else { "/child/mcp" };
        let session = begin(&gateway, path);
        let mut told = Told::default();
        let mut stream = open(&gateway, path, &session, &steps(id, STEPS, 5));
        assert_eq!(stream.status, 200);
        assert_eq!(stream.field("content-type"), Some("text/event-stream"));
        // The head and the first event are there: from here on it may break anywhere.
        while told.last.is_none() {
            assert!(told.read(&mut stream, 1), "no event at all");
        }
        while !told.is_answered_to(id) {
            if !told.read(&mut stream, 1 + dice.roll(400)) {
                break;
            }
            cuts += 1;
            // What was not complete is lost with its connection.
            told.rest.clear();
            let last = told.last.clone().unwrap();
            // The old connection goes before or after the new one is there.
            let old = (dice.roll(2) == 0).then_some(stream);
            stream = go_on(&gateway, path, &session, &last);
            assert_eq!(stream.status, 200);
            drop(old);
        }
        let progress: Vec<_> =
            told.messages.iter().filter_map(|it| it["params"]["progress"].as_u64()).collect();
        assert_eq!(progress, (1..=u64::from(STEPS)).collect::<Vec<_>>(), "{:?}", told.messages);
        let answers: Vec<_> = told.messages.iter().filter(|it| it.get("id").is_some()).collect();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!((&answers[0]["id"], answers[0].get("error")), (&json!(id), None));
    }
}

/// A call that ran when the gateway was killed is answered when its client comes back.
#[test]
fn a_call_that_was_lost_with_the_gateway_is_answered() {
    let (state, config) = (folder(), demo());
    let args = |at| ["--listen", at, "--state-dir", state.path().to_str().unwrap()];
    let gateway = Gateway::start_in(folder(), &config, &args("127.0.0.1:0"));
    let session = begin(&gateway, "/demo/mcp");
    let mut told = Told::default();
    let mut stream = open(&gateway, "/demo/mcp", &session, &steps(77, 1, 20_000));
    while told.last.is_none() {
        assert!(told.read(&mut stream, 1), "no event at all");
    }
    told.rest.clear();
    let at = gateway.at.clone();
    gateway.process.signal(Signal::KILL);
    gateway.process.end();
    let gateway = Gateway::start_in(folder(), &config, &args(&at));
    let last = told.last.clone().unwrap();
    let mut stream = go_on(&gateway, "/demo/mcp", &session, &last);
    assert!(!told.read(&mut stream, 1 << 20), "the stream goes on");
    assert_eq!(told.messages.len(), 1);
    assert_eq!(told.messages[0]["id"], 77);
    let words = told.messages[0]["error"]["message"].as_str().unwrap();
    assert!(words.contains("the gateway was restarted"), "{words}");

    // Another session's events are nobody else's, and what is none is refused.
    let other = begin(&gateway, "/demo/mcp");
    for (session, last) in [(&other, &*last), (&session, "17")] {
        let refused = go_on(&gateway, "/demo/mcp", session, last);
        assert_eq!(refused.status, 400);
        assert!(refused.read().error().contains("no event of this session"));
    }
}

/// Browsers and their like come back by themselves, and do not begin anew.
#[test]
fn a_stream_over_sse_goes_on_in_the_middle_of_a_call() {
    let gateway = Gateway::start(&demo());
    let (mut told, mut dice) = (Told::default(), Dice(5));
    let mut stream = gateway.open("GET /demo/sse", &[], "");
    while told.endpoint.is_none() {
        assert!(told.read(&mut stream, 1), "no event at all");
    }
    let endpoint = told.endpoint.clone().unwrap();
    assert_eq!(gateway.post(&endpoint, &[], INITIALIZE).status, 202);
    assert_eq!(gateway.post(&endpoint, &[], &steps(5, 30, 5)).status, 202);
    while !told.is_answered_to(5) {
        // Nothing comes after the answer that could be waited for.
        let most = 1 + dice.roll(4000);
        for _ in 0..most {
            if !told.is_answered_to(5) {
                assert!(told.read(&mut stream, 1), "the stream ended");
            }
        }
        let old = (dice.roll(2) == 0).then_some(stream);
        told.rest.clear();
        let last = told.last.clone().unwrap();
        stream = gateway.open("GET /demo/sse", &[("Last-Event-ID", &*last)], "");
        assert_eq!(stream.status, 200);
        drop(old);
    }
    assert_eq!(told.endpoint.unwrap(), endpoint);
    let progress: Vec<_> =
        told.messages.iter().filter_map(|it| it["params"]["progress"].as_u64()).collect();
    assert_eq!(progress, (1..=30).collect::<Vec<_>>());
    let answers: Vec<_> = told.messages.iter().filter_map(|it| it["id"].as_u64()).collect();
    assert_eq!(answers, [0, 5]);
    gateway.status("demo", |it| it["sessions"] == 1);
}

/// Reads until an answer to this has come.
fn hear(told: &mut Told, stream: &mut Open, id: i64) {
    while !told.is_answered_to(id) {
        assert!(told.read(stream, 1), "the stream ended: {told:?}");
    }
}

/// Over HTTP+SSE a client that comes back to a gateway that was killed goes on with its session,
/// if it says where it was; otherwise it begins anew, and nothing is held for what it had.
#[test]
fn a_session_over_sse_goes_on_after_a_restart() {
    let (state, mut config) = (folder(), demo());
    config["gateway"] = json!({ "timeouts": { "sseReconnect": "1s" } });
    let start = |at: &str| {
        let args = ["--listen", at, "--state-dir", state.path().to_str().unwrap()];
        Gateway::start_in(folder(), &config, &args)
    };
    let mut gateway = start("127.0.0.1:0");
    let mut told = Told::default();
    let mut stream = gateway.open("GET /demo/sse", &[], "");
    while told.endpoint.is_none() {
        assert!(told.read(&mut stream, 1), "no event at all");
    }
    let endpoint = told.endpoint.clone().unwrap();
    assert_eq!(gateway.post(&endpoint, &[], INITIALIZE).status, 202);
    hear(&mut told, &mut stream, 0);
    let last = told.last.clone().unwrap();
    for id in [7, 8] {
        let at = gateway.at.clone();
        gateway.process.signal(Signal::KILL);
        gateway.process.end();
        gateway = start(&at);
        told.rest.clear();
        told.endpoint = None;
        stream = gateway.open("GET /demo/sse", &[("Last-Event-ID", &*last)], "");
        assert_eq!(stream.status, 200);
        while told.endpoint.is_none() {
            assert!(told.read(&mut stream, 1), "no event at all");
        }
        assert_eq!(told.endpoint.as_ref(), Some(&endpoint));
        assert_eq!(gateway.post(&endpoint, &[], &steps(id, 1, 1)).status, 202);
        hear(&mut told, &mut stream, id);
        assert!(told.messages.last().unwrap()["result"].is_object(), "{told:?}");
        gateway.status("demo", |it| it["sessions"] == 1);
    }

    // It does not say where it was: it gets a session of its own.
    let at = gateway.at.clone();
    gateway.process.signal(Signal::KILL);
    gateway.process.end();
    let gateway = start(&at);
    let mut anew = Told::default();
    let mut stream = gateway.open("GET /demo/sse", &[], "");
    while anew.endpoint.is_none() {
        assert!(anew.read(&mut stream, 1), "no event at all");
    }
    let other = anew.endpoint.clone().unwrap();
    assert_ne!(other, endpoint);
    assert_eq!(gateway.post(&other, &[], INITIALIZE).status, 202);
    hear(&mut anew, &mut stream, 0);
    gateway.status("demo", |it| it["sessions"] == 1);
    // Who still posts to the old one is heard; as nobody listens, it ends, and for good.
    assert_eq!(gateway.post(&endpoint, &[], &steps(9, 1, 1)).status, 202);
    gateway.status("demo", |it| it["sessions"] == 1);
    let note = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    until("the end of a session", || {
        (gateway.post(&endpoint, &[], note).status == 404).then_some(())
    });
    assert_eq!(gateway.post(&other, &[], &steps(10, 1, 1)).status, 202);
    hear(&mut anew, &mut stream, 10);
    gateway.status("demo", |it| it["sessions"] == 1);
}
