//! Every door in front with every kind of server behind: the whole of a session, told once.

use serde_json::{Value, json};

use crate::{
    asked,
    client::{Client, Front},
    exact,
    process::until,
    rig::{Gateway, demo_child, folder, servers},
};

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// In the gateway itself.
    Here,
    /// As its child.
    Child,
    /// At another gateway, over HTTP+SSE.
    Sse,
    /// At another gateway, over Streamable HTTP.
    Streamable,
    /// At another gateway, found out how.
    Auto,
}

/// A gateway with a server called `it`, and perhaps another gateway that has it.
pub(crate) struct House {
    pub(crate) front: Gateway,
    back: Option<Gateway>,
}

impl House {
    /// With the demonstration server.
    #[track_caller]
    pub(crate) fn of_demo(behind: Behind) -> Self {
        let dir = folder();
        match behind {
            Behind::Here => Self::new(dir, behind, &json!({ "type": "demo" })),
            _ => {
                let entry = demo_child(dir.path());
                Self::new(dir, behind, &entry)
            }
        }
    }

    /// With this server, which is a child.
    #[track_caller]
    pub(crate) fn of(behind: Behind, entry: &Value) -> Self {
        Self::new(folder(), behind, entry)
    }

    #[track_caller]
    fn new(dir: tempfile::TempDir, behind: Behind, entry: &Value) -> Self {
        let listen = ["--listen", "127.0.0.1:0"];
        let back = match behind {
            Behind::Here | Behind::Child => None,
            _ => Some(Gateway::start_in(folder(), &servers(json!({ "it": entry })), &listen)),
        };
        let url = |path| back.as_ref().map(|it: &Gateway| it.url(path)).unwrap_or_default();
        let entry = match behind {
            Behind::Here | Behind::Child => entry.clone(),
            Behind::Sse => json!({ "url": url("/it/sse") }),
            Behind::Streamable => json!({ "url": url("/it/mcp"), "type": "streamable-http" }),
            Behind::Auto => json!({ "url": url("/it/mcp") }),
        };
        let front = Gateway::start_in(dir, &servers(json!({ "it": entry })), &listen);
        Self { front, back }
    }

    /// Waits until so many requests are being answered, as far as anybody can tell.
    #[track_caller]
    fn wait_in_flight(&self, front: Front, count: u64) {
        let over_http = (front != Front::Stdio).then_some(&self.front);
        for gateway in over_http.into_iter().chain(&self.back) {
            gateway.status("it", |it| it["inFlight"] == count);
        }
    }
}

macro_rules! doors {
    ($($front:ident: $($name:ident $behind:ident),+;)+) => {$(
        #[expect(non_snake_case, reason = "named after the door")]
        mod $front {
            use super::{Behind, Front, everything};
            $(#[test]
            fn $name() {
                everything(Front::$front, Behind::$behind);
            })+
        }
    )+};
}

doors! {
    Sse: here Here, to_a_child Child, to_sse Sse, to_streamable Streamable, to_auto Auto;
    Streamable: here Here, to_a_child Child, to_sse Sse, to_streamable Streamable, to_auto Auto;
    Unlistening: here Here, to_a_child Child, to_sse Sse, to_streamable Streamable;
    Stdio: here Here, to_a_child Child, to_sse Sse, to_streamable Streamable;
}

fn everything(front: Front, behind: Behind) {
    let house = House::of_demo(behind);
    greeting(&house, front);
    let mut client = Client::begin(&house.front, front, "it");
    everyday(&mut client);
    progress(&mut client);
    asked::questions(&mut client);
    logging(&mut client);
    news(&mut client, front);
    cancellation(&house, &mut client, front);
    exact::errors(&mut client);
    drop(client);
    exact::equal_ids(&house, front);
}

/// Every client hears its own revision or an older one, and the server's own words.
#[track_caller]
fn greeting(house: &House, front: Front) {
    for (asked, heard) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let mut client = Client::connect(&house.front, front, "it");
        let said = client.initialize(asked, &json!({}));
        assert_eq!(said["protocolVersion"], heard, "{asked}");
        assert_eq!(said["serverInfo"]["name"], "demo-server", "{asked}");
        assert!(said["instructions"].as_str().unwrap().contains("Call `echo`"), "{asked}");
        assert_eq!(client.ask("ping", json!({}))["result"], json!({}), "{asked}");
    }
}

#[track_caller]
fn everyday(client: &mut Client) {
    let tools = client.ask("tools/list", json!({}));
    let tools = tools["result"]["tools"].as_array().unwrap().clone();
    assert!(tools.iter().any(|tool| tool["name"] == "echo"), "{tools:?}");
    assert_eq!(client.call("echo", json!({ "message": "é\n☃" })), "é\n☃");
    let added = client.ask("tools/call", json!({ "name": "add", "arguments": { "a": 1, "b": 2 } }));
    assert_eq!(added["result"]["structuredContent"], json!({ "sum": 3 }));
    let read = client.ask("resources/read", json!({ "uri": "demo://number/7" }));
    assert_eq!(read["result"]["contents"][0]["uri"], "demo://number/7", "{read}");
    let prompts = client.ask("prompts/list", json!({}));
    assert!(prompts["result"]["prompts"].as_array().is_some_and(|it| !it.is_empty()));
    assert_eq!(client.call("blob", json!({ "len": 3 << 20 })).len(), 3 << 20);
}

/// Progress comes before the answer, in order, under the client's own token.
#[track_caller]
fn progress(client: &mut Client) {
    let id = client.begin_call("progress", json!({ "steps": 3 }));
    for step in 1..=3 {
        let told = client.told("notifications/progress");
        assert_eq!(told["params"]["progressToken"], "p", "{told}");
        assert_eq!(told["params"]["progress"], step, "{told}");
    }
    assert_eq!(client.text(id), "3 steps done");
}

#[track_caller]
fn logging(client: &mut Client) {
    assert_eq!(client.ask("logging/setLevel", json!({ "level": "info" }))["result"], json!({}));
    let id = client.begin_call("log", json!({ "level": "warning", "message": "look out" }));
    let told = client.told("notifications/message");
    assert_eq!(
        (&told["params"]["data"], &told["params"]["level"]),
        (&json!("look out"), &json!("warning"))
    );
    assert_eq!(client.text(id), "logged 1 times");
    assert_eq!(client.ask("logging/setLevel", json!({ "level": "error" }))["result"], json!({}));
    assert_eq!(
        client.call("log", json!({ "level": "warning", "message": "no" })),
        "logged 0 times"
    );
}

/// What a server says on its own account reaches whoever listens, or who begins to.
#[track_caller]
fn news(client: &mut Client, front: Front) {
    let note = json!({ "uri": "demo://note" });
    assert_eq!(client.ask("resources/subscribe", note.clone())["result"], json!({}));
    client.call("touch", json!({}));
    client.call("toggle", json!({}));
    if front == Front::Unlistening {
        client.listen();
    }
    assert_eq!(client.told("notifications/resources/updated")["params"]["uri"], "demo://note");
    client.told("notifications/tools/list_changed");
    let tools = client.ask("tools/list", json!({}));
    assert!(tools["result"]["tools"].as_array().unwrap().iter().any(|it| it["name"] == "extra"));
    assert_eq!(client.ask("resources/unsubscribe", note)["result"], json!({}));
    client.call("touch", json!({}));
    client.call("echo", json!({ "message": "after" }));
    let updated = client.aside.iter().find(|it| it["method"] == "notifications/resources/updated");
    assert_eq!(updated, None);
}

/// A request taken back is taken back everywhere, and is not answered where that can be helped.
#[track_caller]
fn cancellation(house: &House, client: &mut Client, front: Front) {
    let id = client.begin_call("sleep", json!({ "ms": 3_000_000 }));
    house.wait_in_flight(front, 1);
    let params = json!({ "requestId": id, "reason": "changed my mind" });
    let said = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    client.say(&said.to_string());
    house.wait_in_flight(front, 0);
    assert_eq!(client.call("echo", json!({ "message": "still here" })), "still here");
    match front {
        // An HTTP request is always answered.
        Front::Streamable | Front::Unlistening => {
            let error = client.answer(id)["error"].clone();
            assert!(error["message"].as_str().unwrap().contains("cancelled"), "{error}");
        }
        Front::Sse | Front::Stdio => {
            assert!(client.aside.iter().all(|it| it["id"] != id), "{:?}", client.aside);
        }
    }
}

#[test]
fn a_remote_server_on_standard_input_and_output() {
    // A stream whose client has gone is noticed when something is written to it.
    let mut config = servers(json!({ "demo": { "type": "demo", "keepAlive": "100ms" } }));
    config["gateway"] = json!({ "timeouts": { "sseReconnect": "100ms" } });
    let gateway = Gateway::start(&config);
    for (path, transport) in [
        ("/demo/mcp", "auto"),
        ("/demo/mcp", "streamable"),
        ("/demo/sse", "sse"),
        ("/demo/sse", "auto"),
    ] {
        let url = gateway.url(path);
        let mut client = Client::stdio(&["stdio", &url, "--transport", transport]);
        client.initialize("2025-11-25", &crate::client::capabilities());
        assert_eq!(client.call("echo", json!({ "message": transport })), transport);
        asked::questions(&mut client);
        let mut process = client.into_process();
        // A client that closes its end is done, and so is the process.
        process.stdin = None;
        let ended = process.end();
        assert_eq!(ended.code, Some(0), "{path} {transport}: {}", ended.err);
    }
    until("the end of the sessions", || {
        let status = gateway.get("/status").json();
        (status["servers"][0]["sessions"] == 0).then_some(())
    });
}
