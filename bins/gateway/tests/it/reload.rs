//! A configuration that changes while the gateway runs.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::mpsc::sync_channel,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    client::{Client, Front},
    process::{Ended, all_gone, until},
    rig::{self, Gateway, INITIALIZE, demo_child, folder, run, servers},
};

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];

mod asked_for;
mod counted;
mod seen;
mod settings;
mod storm;

/// A gateway whose file can be changed, with a control socket of its own.
struct Changing {
    gateway: Gateway,
    file: PathBuf,
    socket: String,
}

impl Changing {
    #[track_caller]
    fn start(config: &Value) -> Self {
        Self::start_in(folder(), config)
    }

    #[track_caller]
    fn start_in(dir: TempDir, config: &Value) -> Self {
        Self::start_with(dir, config, &[])
    }

    /// With more on its command line.
    #[track_caller]
    fn start_with(dir: TempDir, config: &Value, more: &[&str]) -> Self {
        let (file, socket) = (dir.path().join("gateway.json"), dir.path().join("control.sock"));
        let all = [&LISTEN, more].concat();
        let gateway = Gateway::start_in(dir, &with_control(config), &all);
        Self { gateway, file, socket: socket.to_str().unwrap().to_owned() }
    }

    fn write(&self, config: &Value) {
        fs::write(&self.file, with_control(config).to_string()).unwrap();
    }

    /// `gateway reload`, with what it said as JSON.
    #[track_caller]
    fn reload(&self) -> (Ended, Value) {
        let ended = run(&["reload", "--control", &self.socket, "--json"]);
        let report = serde_json::from_str(&ended.out);
        let report = report.unwrap_or_else(|error| panic!("{error}: {ended:?}"));
        (ended, report)
    }

    /// Changes the file and has it taken over.
    #[track_caller]
    fn change(&self, config: &Value) -> Value {
        self.write(config);
        let (ended, report) = self.reload();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        report
    }

    /// The same without a program of its own to ask for it, where there are many.
    #[track_caller]
    fn change_at_once(&self, config: &Value) -> Value {
        self.write(config);
        let mut control = UnixStream::connect(&self.socket).unwrap();
        let request = "POST /reload HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n";
        control.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        control.read_to_string(&mut answer).unwrap();
        let report = answer.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str(body));
        report.unwrap_or_else(|| panic!("{answer}")).unwrap_or_else(|_| panic!("{answer}"))
    }

    /// Waits for a line of log after these with these words; returns where it is.
    #[track_caller]
    fn logged(&self, from: usize, words: &str) -> usize {
        let has = |line: &str| line.contains(words).then_some(());
        self.gateway.process.logged_from(from, words, has).0 + 1
    }

    #[track_caller]
    fn pids(&self, server: &str) -> Vec<u32> {
        let ready = |it: &Value| it["state"] == "ready" && !it["pids"].is_null();
        let status = self.gateway.status(server, ready);
        serde_json::from_value(status["pids"].clone()).unwrap()
    }
}

/// Changes are taken over when a test says so, unless it says otherwise.
fn with_control(config: &Value) -> Value {
    let mut config = config.clone();
    let gateway = config.as_object_mut().unwrap().entry("gateway").or_insert(json!({}));
    for (key, value) in [("control", json!("control.sock")), ("watch", json!(false))] {
        let known = gateway.as_object_mut().unwrap();
        known.entry(key).or_insert(value);
    }
    config
}

/// With the file watched.
fn watched(config: &Value) -> Value {
    let mut config = config.clone();
    config["gateway"]["watch"] = json!(true);
    config
}

/// A server of a few lines of shell that answers with this word, and says that its lists change.
fn says(word: &str) -> Value {
    let script = r#"
while IFS= read -r line; do
    case $line in *'"method":'*) ;; *) continue ;; esac
    case $line in *'"id":'*) ;; *) continue ;; esac
    id=${line#*\"id\":}; id=${id%%[,\}]*}
    case $line in
        *'"method":"initialize"'*) r='{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"script","version":"1"}}' ;;
        *'"wait"'*) until [ -e "$GATE" ]; do sleep 0.05; done; r='{"content":[{"type":"text","text":"WORD waited"}]}' ;;
        *) r='{"content":[{"type":"text","text":"WORD"}]}' ;;
    esac
    printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$r"
done"#;
    let script = script.replace("WORD", word).replace('$', "$$");
    json!({ "command": "sh", "args": ["-c", script] })
}

fn changes(report: &Value) -> Vec<(&str, &str)> {
    let servers = report["servers"].as_array().unwrap().iter();
    servers.map(|it| (it["name"].as_str().unwrap(), it["change"].as_str().unwrap())).collect()
}

/// The one rule: whoever's entry is as it was notices nothing.
#[test]
fn who_is_not_concerned_notices_nothing() {
    let dir = folder();
    let child = demo_child(dir.path());
    let gateway = Changing::start_in(dir, &servers(json!({ "kept": child, "other": says("one") })));
    let mut listening = Client::begin(&gateway.gateway, Front::Streamable, "kept");
    let mut asked = Client::begin(&gateway.gateway, Front::Sse, "kept");
    let pids = gateway.pids("kept");
    let running = asked.begin_call("progress", json!({ "steps": 8, "delayMs": 100 }));
    let quiet = listening.begin_call("sleep", json!({ "ms": 400 }));
    for round in 0..4 {
        let other = says(if round % 2 == 0 { "two" } else { "one" });
        let report = gateway.change(&servers(json!({ "kept": child, "other": other })));
        assert_eq!(changes(&report), [("other", "restarted")], "{report}");
        assert_eq!(report["servers"][0]["why"], json!(["args"]));
        assert_eq!(report["kept"], 1);
    }
    assert_eq!(listening.text(quiet), "slept 400 ms");
    asked.answer(running);
    let steps: Vec<_> =
        asked.aside.iter().filter(|it| it["method"] == "notifications/progress").collect();
    assert_eq!(steps.len(), 8, "{steps:?}");
    assert_eq!(listening.call("echo", json!({ "message": "still here" })), "still here");
    assert!(listening.aside.is_empty(), "{:?}", listening.aside);
    assert_eq!(gateway.pids("kept"), pids);
    assert_eq!(gateway.gateway.status("kept", |_| true)["restarts"], 0);
}

/// Sessions with a changed server go on, and calls on the old one end on the old one.
#[test]
fn sessions_of_a_changed_server_go_on() {
    for front in [Front::Streamable, Front::Sse] {
        let dir = folder();
        let gate = dir.path().join("gate");
        let entry = |word: &str| {
            let mut entry = says(word);
            entry["env"] = json!({ "GATE": gate });
            servers(json!({ "it": entry }))
        };
        let gateway = Changing::start_in(dir, &entry("old"));
        let mut client = Client::begin(&gateway.gateway, front, "it");
        assert_eq!(client.call("x", json!({})), "old");
        let (session, pids) = (client.session(), gateway.pids("it"));
        let running = client.begin_call("wait", json!({}));
        gateway.gateway.status("it", |it| it["inFlight"] == 1);

        let report = gateway.change(&entry("new"));
        assert_eq!(changes(&report), [("it", "restarted")]);
        // Told without having asked.
        client.told("notifications/tools/list_changed");
        assert_eq!(client.call("x", json!({})), "new");
        assert_eq!(client.session(), session);
        fs::write(&gate, "go\n").unwrap();
        assert_eq!(client.text(running), "old waited");
        all_gone(&pids);
        assert_eq!(client.call("x", json!({})), "new");
    }
}

/// What does not end in time ends with an error that says why.
#[test]
fn a_call_that_takes_too_long_for_a_change_is_told_so() {
    let dir = folder();
    let child = demo_child(dir.path());
    let config = |ms: &str| {
        let mut entry = child.clone();
        entry["env"] = json!({ "MARK": ms });
        let mut config = servers(json!({ "it": entry }));
        config["gateway"] = json!({ "timeouts": { "drain": "200ms" } });
        config
    };
    let gateway = Changing::start_in(dir, &config("1"));
    let mut client = Client::begin(&gateway.gateway, Front::Streamable, "it");
    let pids = gateway.pids("it");
    let running = client.begin_call("sleep", json!({ "ms": 3_000_000 }));
    gateway.gateway.status("it", |it| it["inFlight"] == 1);
    let report = gateway.change(&config("2"));
    assert_eq!(report["servers"][0]["why"], json!(["env.MARK"]));
    let answer = client.answer(running);
    let said = answer["error"]["message"].as_str().unwrap();
    for words in ["`it`", "configuration was changed", "`timeouts.drain`"] {
        assert!(said.contains(words), "{said}");
    }
    all_gone(&pids);
    assert_eq!(client.call("echo", json!({ "message": "on" })), "on");
}

/// Everything that is wrong is said, and nothing of it is taken over.
#[test]
fn a_wrong_file_changes_nothing() {
    let gateway = Changing::start(&servers(json!({ "it": says("one") })));
    let mut client = Client::begin(&gateway.gateway, Front::Streamable, "it");
    let pids = gateway.pids("it");
    let good = fs::read_to_string(&gateway.file).unwrap();
    let mut at = 0;
    let both = r#"{"mcpServers":{"a":{"comand":"x"},"b":{"command":"${NO_SUCH_VARIABLE_HERE}"}}}"#;
    for (text, words) in [
        ("{", &["gateway.json:1:"][..]),
        (both, &["mcpServers.a", "did you mean `command`?", "NO_SUCH_VARIABLE_HERE is not set"]),
        (r#"{"mcpServers":{"a":{"url":"https://h/mcp","ca":"no.pem"}}}"#, &["`a`", "no.pem"]),
        (
            r#"{"gateway":{"tls":{"cert":"no.pem","key":"no.pem"}},"mcpServers":{}}"#,
            &["TLS", "no.pem"],
        ),
    ] {
        fs::write(&gateway.file, text).unwrap();
        let (ended, report) = gateway.reload();
        assert_eq!((ended.code, &report["outcome"]), (Some(2), &json!("refused")), "{text}");
        let problems = report["problems"].to_string();
        let spoken = run(&["reload", "--control", &gateway.socket]);
        assert_eq!(spoken.code, Some(2));
        at = gateway.logged(at, "the configuration is refused");
        for words in words {
            assert!(problems.contains(words), "{words} is not in {problems}");
            assert!(spoken.err.contains(words), "{words} is not in {}", spoken.err);
        }
        assert_eq!(client.call("x", json!({})), "one");
    }
    let count = |report: &Value| report["problems"].as_array().unwrap().len();
    fs::write(&gateway.file, both).unwrap();
    assert_eq!(count(&gateway.reload().1), 3);
    gateway.logged(0, r#""problem":""#);
    // As it was: nobody notices that anything was wrong.
    fs::write(&gateway.file, good).unwrap();
    let (ended, report) = gateway.reload();
    assert_eq!((ended.code, &report["outcome"]), (Some(0), &json!("unchanged")), "{report}");
    assert_eq!(gateway.pids("it"), pids);
    let report = gateway.change(&servers(json!({ "it": says("two") })));
    assert_eq!(report["outcome"], "applied");
    assert_eq!(client.call("x", json!({})), "two");
}

#[test]
fn servers_come_and_go() {
    let dir = folder();
    let gate = dir.path().join("gate");
    let mut going = says("going");
    going["env"] = json!({ "GATE": gate });
    let both = servers(json!({ "going": going, "stays": says("stays") }));
    let gateway = Changing::start_in(dir, &both);
    let it = &gateway.gateway;
    let mut clients =
        [Front::Streamable, Front::Sse].map(|front| Client::begin(it, front, "going"));
    let pids = gateway.pids("going");
    let ids = clients.each_mut().map(|client| client.begin_call("wait", json!({})));
    it.status("going", |it| it["inFlight"] == 2);
    let session = clients[0].session().unwrap();

    let next = servers(json!({ "coming": says("coming"), "stays": says("stays") }));
    let report = gateway.change(&next);
    assert_eq!(changes(&report), [("coming", "added"), ("going", "removed")]);
    // Nothing new for it, in plain words, with what there is.
    let fields = [("Mcp-Session-Id", &*session)];
    for answer in [
        it.post("/going/mcp", &fields, &rig::call(9, "x", &json!({}))),
        it.post("/going/mcp", &[], INITIALIZE),
        it.get("/going/sse"),
    ] {
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(answer.error(), "server `going` was removed from the configuration");
        let routes = answer.json()["routes"].to_string();
        assert!(routes.contains("/coming/mcp") && !routes.contains("/going/"), "{routes}");
    }
    // What runs is answered.
    fs::write(&gate, "go\n").unwrap();
    for (client, id) in clients.iter_mut().zip(ids) {
        assert_eq!(client.text(id), "going waited");
    }
    gateway.logged(0, "removed: nothing is left of it");
    all_gone(&pids);
    // What came is there.
    let home = it.get("/").body;
    assert!(home.contains("/coming/sse") && !home.contains("/going/"), "{home}");
    let mut client = Client::begin(it, Front::Sse, "coming");
    assert_eq!(client.call("x", json!({})), "coming");
    // What went may come back.
    gateway.change(&both);
    assert_eq!(Client::begin(it, Front::Streamable, "going").call("x", json!({})), "going");
    // What is disabled says so.
    let mut config = both;
    config["mcpServers"]["going"]["disabled"] = json!(true);
    let report = gateway.change(&config);
    assert_eq!(changes(&report), [("coming", "removed"), ("going", "removed")].split_at(1).1);
    assert_eq!(it.get("/going/sse").status, 503);
}

/// Many at once: each is answered, and the file is as it was written last.
#[test]
fn a_reload_during_a_reload() {
    let gateway = Changing::start(&servers(json!({ "it": says("0") })));
    std::thread::scope(|scope| {
        let reloading =
            (0..8).map(|_| scope.spawn(|| run(&["reload", "--control", &gateway.socket])));
        let reloading: Vec<_> = reloading.collect();
        for word in 1..=8 {
            gateway.write(&servers(json!({ "it": says(&word.to_string()) })));
            gateway.gateway.process.signal(Signal::HUP);
        }
        for reload in reloading {
            let ended = reload.join().unwrap();
            // One may have met a file that was just being written.
            assert!(matches!(ended.code, Some(0 | 2)), "{ended:?}");
        }
    });
    let (ended, _) = gateway.reload();
    assert_eq!(ended.code, Some(0));
    let mut client = Client::begin(&gateway.gateway, Front::Streamable, "it");
    assert_eq!(client.call("x", json!({})), "8");
}

/// How many calls each client makes by the side of each of two hundred changes.
const CALLS: usize = 2;

/// Two hundred changes while others work: nobody else loses anything, and nothing is left behind.
#[test]
fn two_hundred_changes_leave_nothing_behind() {
    let dir = folder();
    let child = demo_child(dir.path());
    let config = |round: usize| {
        let mut all = json!({ "kept": child, "other": { "type": "demo" } });
        all["other"]["startTimeout"] = json!(format!("{}s", 30 + round % 7));
        if round % 2 == 1 {
            all["sometimes"] = json!({ "type": "demo" });
        }
        servers(all)
    };
    let gateway = Changing::start_in(dir, &config(0));
    let clients =
        ["kept", "other"].map(|it| Client::begin(&gateway.gateway, Front::Streamable, it));
    let pids = gateway.pids("kept");
    std::thread::scope(|scope| {
        // As much as goes on by the side of a change, and no more: two that call without a pause
        // keep a busy machine from everything else.
        let callers = clients.map(|mut client| {
            let (go, rounds) = sync_channel::<usize>(0);
            let calling = scope.spawn(move || {
                for round in rounds {
                    for call in 0..CALLS {
                        let message = format!("call {call} of {round}");
                        assert_eq!(client.call("echo", json!({ "message": message })), message);
                    }
                }
                client
            });
            (go, calling)
        });
        let mut before = None;
        for round in 1..=200 {
            for (go, _) in &callers {
                go.send(round).unwrap();
            }
            let report = gateway.change_at_once(&config(round));
            assert_eq!(report["outcome"], "applied", "{report}");
            if round == 20 {
                before = Some(gateway.gateway.process.usage());
            }
        }
        let clients = callers.map(|(go, calling)| {
            drop(go);
            calling.join().unwrap()
        });
        let (fds, rss) = before.unwrap();
        until("as few descriptors as before", || {
            (gateway.gateway.process.usage().0 <= fds + 8).then_some(())
        });
        let grown = gateway.gateway.process.usage().1.saturating_sub(rss);
        assert!(grown < 16 << 10, "{grown} KiB more than before");
        // Of a server that no one is told of, nothing is heard: not one event in two hundred.
        let [kept, _] = &clients;
        assert!(kept.aside.is_empty(), "{:?}", kept.aside);
    });
    assert_eq!(gateway.pids("kept"), pids);
    assert_eq!(gateway.gateway.status("kept", |_| true)["restarts"], 0);
}
