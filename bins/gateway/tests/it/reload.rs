//! A configuration that changes while the gateway runs.

use std::{
    fs,
    path::{Path, PathBuf},
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
        let (file, socket) = (dir.path().join("gateway.json"), dir.path().join("control.sock"));
        let gateway = Gateway::start_in(dir, &with_control(config), &LISTEN);
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
        *'"wait"'*) read -r _ < "$GATE"; r='{"content":[{"type":"text","text":"WORD waited"}]}' ;;
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
        rustix::fs::mkfifoat(rustix::fs::CWD, &gate, rustix::fs::Mode::RWXU).unwrap();
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
    assert_eq!(report["servers"][0]["why"], json!(["a value from a variable or a file"]));
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
    assert_eq!(count(&gateway.reload().1), 2);
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
    rustix::fs::mkfifoat(rustix::fs::CWD, &gate, rustix::fs::Mode::RWXU).unwrap();
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
    for _ in &clients {
        fs::write(&gate, "go\n").unwrap();
    }
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

/// However the file is changed, it is seen; and what is written in a hurry is taken over once.
#[test]
fn a_changed_file_is_seen() {
    let one = watched(&servers(json!({ "it": says("one") })));
    let gateway = Changing::start(&one);
    let file = &gateway.file;
    let text =
        |word: &str| with_control(&watched(&servers(json!({ "it": says(word) })))).to_string();
    let taken = "the configuration is taken over";
    // Written in place.
    fs::write(file, text("two")).unwrap();
    let at = gateway.logged(0, taken);
    // Another file in its place, as editors do it.
    let beside = file.with_extension("tmp");
    fs::write(&beside, text("three")).unwrap();
    fs::rename(&beside, file).unwrap();
    let at = gateway.logged(at, taken);
    // Away, and back again otherwise.
    fs::rename(file, &beside).unwrap();
    fs::write(file, text("four")).unwrap();
    let at = gateway.logged(at, taken);
    let mut client = Client::begin(&gateway.gateway, Front::Unlistening, "it");
    assert_eq!(client.call("x", json!({})), "four");
    // Ten in a row: the last counts.
    for count in 0..10 {
        fs::write(file, text(&format!("quick {count}"))).unwrap();
    }
    gateway.logged(at, taken);
    until("the last of ten", || (client.call("x", json!({})) == "quick 9").then_some(()));
    // A touch is no change.
    let taken_so_far = |gateway: &Changing| {
        gateway.gateway.process.log().iter().filter(|line| line.contains(taken)).count()
    };
    let before = taken_so_far(&gateway);
    fs::write(file, text("quick 9")).unwrap();
    fs::write(file.with_file_name("else"), "something else").unwrap();
    fs::write(file, text("last")).unwrap();
    until("the last", || (client.call("x", json!({})) == "last").then_some(()));
    assert_eq!(taken_so_far(&gateway), before + 1);
}

/// Kubernetes puts another link in the place of the folder that the file's link leads through.
#[test]
fn a_swapped_link_is_seen() {
    let dir = folder();
    let at = dir.path().to_owned();
    let text = |word: &str| {
        let mut config = watched(&servers(json!({ "it": says(word) })));
        config["gateway"]["control"] = json!(at.join("control.sock"));
        config["gateway"]["tokens"] = json!({ "me": "${file:token}" });
        config.to_string()
    };
    let volume = |name: &str, word: &str, token: &str| {
        fs::create_dir(at.join(name)).unwrap();
        fs::write(at.join(name).join("gateway.json"), text(word)).unwrap();
        fs::write(at.join(name).join("token"), token).unwrap();
    };
    let link = |from: &str, to: &str| {
        let beside = at.join("..tmp");
        std::os::unix::fs::symlink(from, &beside).unwrap();
        fs::rename(&beside, at.join(to)).unwrap();
    };
    volume("..2026_1", "one", "first-long-token");
    link("..2026_1", "..data");
    link("..data/gateway.json", "gateway.json");
    link("..data/token", "token");
    let file = at.join("gateway.json");
    let mut all = vec!["serve", "--config", file.to_str().unwrap(), "--log-format", "json"];
    all.extend(LISTEN);
    let gateway = Gateway::of(crate::process::Process::start(rig::command(&all)), dir);
    let with = |token: &str| {
        let field = format!("Bearer {token}");
        gateway.post("/it/mcp", &[("Authorization", &field)], INITIALIZE).status
    };
    assert_eq!(with("first-long-token"), 200);
    volume("..2026_2", "two", "second-long-token");
    link("..2026_2", "..data");
    fs::remove_dir_all(at.join("..2026_1")).unwrap();
    gateway.process.logged("the change", |line| {
        line.contains("the configuration is taken over").then_some(())
    });
    assert_eq!((with("first-long-token"), with("second-long-token")), (401, 200));
    // And the file that a value is taken from, alone.
    fs::write(at.join("..2026_2/token"), "third-long-token\n").unwrap();
    until("the third token", || (with("third-long-token") == 200).then_some(()));
    assert_eq!(with("second-long-token"), 401);
}

#[test]
fn a_token_is_good_as_long_as_it_is_there() {
    let config = |tokens: Value| {
        let mut config = rig::demo();
        config["gateway"] = json!({ "tokens": tokens });
        config
    };
    let (ann, bob) = ("ann-has-this-token", "bob-has-this-token");
    let gateway = Changing::start(&config(json!({ "ann": ann, "bob": bob })));
    let it = &gateway.gateway;
    let bearer = |token: &str| format!("Bearer {token}");
    let begin = |token: &str| {
        let answer = it.post("/demo/mcp", &[("Authorization", &bearer(token))], INITIALIZE);
        (answer.status, answer.field("mcp-session-id").map(str::to_owned))
    };
    let call = |token: &str, session: &str| {
        let fields = [("Authorization", &*bearer(token)), ("Mcp-Session-Id", session)];
        let body = rig::call(1, "echo", &json!({ "message": "x" }));
        it.post("/demo/mcp", &fields, &body).status
    };
    let listen = |token: &str, session: &str| {
        let fields = [
            ("Authorization", &*bearer(token)),
            ("Mcp-Session-Id", session),
            ("Accept", "text/event-stream"),
        ];
        let open = it.open("GET /demo/mcp", &fields, "");
        assert_eq!(open.status, 200);
        open
    };
    let (_, of_ann) = begin(ann);
    let (_, of_bob) = begin(bob);
    let (of_ann, of_bob) = (of_ann.unwrap(), of_bob.unwrap());
    let (streamed, kept) = (listen(ann, &of_ann), listen(bob, &of_bob));
    let sse = it.open("GET /demo/sse", &[("Authorization", &bearer(ann))], "");
    let slow = rig::call(7, "sleep", &json!({ "ms": 3_000_000 }));
    let fields = [("Authorization", &*bearer(ann)), ("Mcp-Session-Id", &*of_ann)];
    let mut wire = crate::http::connect(&it.at);
    let mut text = vec![("Content-Type", "application/json"), ("Accept", "application/json")];
    text.extend(fields);
    wire.write_all(crate::http::request("POST /demo/mcp", &it.at, &text, &slow).as_bytes())
        .unwrap();
    it.process.logged("nothing", |_| Some(()));

    // One comes.
    let cid = "cid-has-this-token";
    let report = gateway.change(&config(json!({ "ann": ann, "bob": bob, "cid": cid })));
    assert_eq!(report["settings"], json!(["gateway.tokens.cid: added"]));
    assert_eq!(begin(cid).0, 200);
    assert_eq!((call(ann, &of_ann), call(bob, &of_bob)), (200, 200));

    // One goes: at once, and with it all that was opened with it.
    let report = gateway.change(&config(json!({ "bob": bob, "cid": cid })));
    assert_eq!(report["settings"], json!(["gateway.tokens.ann: removed"]));
    assert_eq!((begin(ann).0, call(ann, &of_ann)), (401, 401));
    streamed.read();
    sse.read();
    let refused = crate::http::read_head(wire, false).unwrap().read();
    assert!(refused.body.contains("cancelled"), "{refused:?}");
    assert_eq!(call(bob, &of_bob), 200);

    // One is another under the same name: the stream ends, the session goes on.
    let new = "bob-has-another-token";
    let report = gateway.change(&config(json!({ "bob": new, "cid": cid })));
    assert_eq!(report["settings"], json!(["gateway.tokens.bob: another secret"]));
    kept.read();
    assert_eq!((call(bob, &of_bob), call(new, &of_bob)), (401, 200));
    drop(listen(new, &of_bob));
    // Never a secret in what is said of it.
    let log = it.process.log().join("\n");
    for secret in [ann, bob, cid, new] {
        assert!(!log.contains(secret) && !report.to_string().contains(secret));
    }
}

/// What concerns clients alone is no reason to restart anything.
#[test]
fn what_concerns_clients_alone_restarts_nothing() {
    let dir = folder();
    let child = demo_child(dir.path());
    let gateway = Changing::start_in(dir, &servers(json!({ "it": child })));
    let it = &gateway.gateway;
    let mut clients = [Front::Streamable, Front::Sse].map(|front| Client::begin(it, front, "it"));
    let pids = gateway.pids("it");
    let mut entry = child;
    entry["tools"] = json!({ "allow": ["echo"] });
    entry["requestTimeout"] = json!("5m");
    let mut config = servers(json!({ "it": entry }));
    config["gateway"] = json!({
        "allowedOrigins": ["https://app.example"],
        "limits": { "bodyLenMax": "1KiB" },
        "log": { "level": "debug", "format": "text" },
        "name": "renamed",
        "listen": "127.0.0.1:1",
        "basePath": "/elsewhere",
    });
    let report = gateway.change(&config);
    assert_eq!(changes(&report), [("it", "adjusted")]);
    assert_eq!(report["needsRestart"], json!(["gateway.basePath"]), "{report}");
    let settings = report["settings"].to_string();
    for key in ["allowedOrigins", "limits.bodyLenMax", "log.level", "name"] {
        assert!(settings.contains(&format!("gateway.{key}")), "{key} is not in {settings}");
    }
    for client in &mut clients {
        client.told("notifications/tools/list_changed");
        let tools = client.ask("tools/list", json!({}))["result"]["tools"].clone();
        assert_eq!(tools.as_array().unwrap().len(), 1, "{tools}");
        assert_eq!(client.call("echo", json!({ "message": "on" })), "on");
    }
    assert_eq!(gateway.pids("it"), pids);
    let long = rig::call(1, "echo", &json!({ "message": "x".repeat(2000) }));
    assert_eq!(it.post("/it/mcp", &[], &long).status, 413);
    let origin = [("Origin", "https://app.example")];
    assert_eq!(it.ask("GET /healthz", &origin, "").json()["name"], "renamed");
    gateway.logged(0, "needs a restart");
}

/// Connections that come later are shown the certificate that is there then.
#[test]
fn a_certificate_is_exchanged() {
    let dir = folder();
    let at = dir.path().to_owned();
    let put = |cert: &str, key: &str| {
        fs::copy(rig::certificate(cert), at.join("cert.pem")).unwrap();
        fs::copy(rig::certificate(key), at.join("key.pem")).unwrap();
    };
    put("server.pem", "server.key");
    let mut config = rig::demo();
    config["gateway"] = json!({ "tls": { "cert": "cert.pem", "key": "key.pem" } });
    let gateway = Changing::start_in(dir, &config);
    let report = gateway.change(&config);
    assert_eq!(report["outcome"], "unchanged");
    // A key that is not the certificate's: refused, and the pair before stays.
    fs::write(at.join("key.pem"), "nonsense").unwrap();
    let (ended, report) = gateway.reload();
    assert!(ended.code == Some(2) && report["problems"][0].as_str().unwrap().contains("key.pem"));
    put("server.pem", "server.key");
    fs::write(at.join("cert.pem"), chain(&at)).unwrap();
    let (ended, report) = gateway.reload();
    assert_eq!(ended.code, Some(0));
    assert_eq!(report["settings"], json!(["gateway.tls: another certificate is shown"]));
}

/// The same certificate with something before it that PEM readers skip.
fn chain(at: &Path) -> String {
    format!("a comment\n{}", fs::read_to_string(at.join("cert.pem")).unwrap())
}

#[test]
fn reload_says_what_came_of_it() {
    let gateway = Changing::start(&servers(json!({ "a": says("a"), "b": says("b") })));
    let spoken = || run(&["reload", "--control", &gateway.socket]);
    let ended = spoken();
    assert_eq!((ended.code, &*ended.out), (Some(0), "nothing has changed\n"), "{ended:?}");
    gateway.write(&servers(json!({ "a": says("a"), "b": says("bb"), "c": says("c") })));
    let ended = spoken();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        ended.out,
        "the configuration is taken over; 1 server noticed nothing\n  b: restarted (args)\n  c: added\n"
    );
    // Nobody there.
    let ended = run(&["reload", "--control", "/no/such/socket"]);
    assert!(ended.code == Some(1) && ended.err.contains("/no/such/socket"), "{ended:?}");
    let ended = run(&["reload", "--url", "http://127.0.0.1:1"]);
    assert!(ended.code == Some(1) && ended.err.contains("port 1"), "{ended:?}");
    // The socket is for nobody else.
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(&gateway.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let socket = gateway.socket.clone();
    let ended = gateway.gateway.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!Path::new(&socket).exists());
}

/// Where no place is configured, a gateway is found by its file, by its port, or alone.
#[test]
fn a_gateway_is_found() {
    let runtime = folder();
    let started = |config: &Value| {
        let dir = folder();
        let file = rig::write(&dir, config);
        let mut all = vec!["serve", "--config", &*file, "--log-format", "json"];
        all.extend(LISTEN);
        let mut command = rig::command(&all);
        command.env("XDG_RUNTIME_DIR", runtime.path());
        Gateway::of(crate::process::Process::start(command), dir)
    };
    let reload = |args: &[&str]| {
        let mut command = rig::command(&[&["reload"], args].concat());
        command.env("XDG_RUNTIME_DIR", runtime.path());
        let mut process = crate::process::Process::start(command);
        process.stdin = None;
        process.end()
    };
    let ended = reload(&[]);
    assert!(ended.code == Some(1) && ended.err.contains("no gateway runs"), "{ended:?}");
    let one = started(&servers(json!({ "a": says("a") })));
    let ready = |args: &[&str]| {
        until("the gateway's socket", || Some(reload(args)).filter(|it| it.code == Some(0)))
    };
    ready(&[]);
    let two = started(&servers(json!({ "b": says("b") })));
    let file = two.dir().join("gateway.json");
    let file = file.to_str().unwrap();
    ready(&["--config", file]);
    ready(&["--url", &one.url("")]);
    let ended = reload(&[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("several gateways run") && ended.err.contains(file), "{ended:?}");
    // A file that is wrong is no reason not to find the gateway that runs with it.
    fs::write(file, "{").unwrap();
    assert_eq!(reload(&["--config", file]).code, Some(2));
    // One that was killed leaves a socket behind that is in nobody's way.
    two.process.signal(Signal::KILL);
    let port = two.at.clone();
    two.process.end();
    ready(&[]);
    let dir = folder();
    let file = rig::write(&dir, &rig::demo());
    let mut command = rig::command(&["serve", "--config", &file, "--listen", &port]);
    command.env("XDG_RUNTIME_DIR", runtime.path());
    let _third = Gateway::of(crate::process::Process::start(command), dir);
    ready(&["--config", &file]);
}

#[test]
fn a_hangup_has_the_file_read_again() {
    let gateway = Changing::start(&servers(json!({ "it": says("one") })));
    gateway.write(&servers(json!({ "it": says("two") })));
    gateway.gateway.process.signal(Signal::HUP);
    gateway.logged(0, r#""cause":"SIGHUP""#);
    let mut client = Client::begin(&gateway.gateway, Front::Streamable, "it");
    assert_eq!(client.call("x", json!({})), "two");

    let args = ["serve", "--log-format", "json", "--listen", "127.0.0.1:0"];
    let without = Gateway::of(crate::process::Process::start(rig::command(&args)), folder());
    without.process.signal(Signal::HUP);
    without.process.logged("the answer", |line| line.contains("nothing to reload").then_some(()));
    assert_eq!(without.get("/ping").body, "pong");
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
    let pids = gateway.pids("kept");
    let (front, stop) = (Front::Streamable, std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        let callers: Vec<_> = ["kept", "other"]
            .map(|server| {
                let (gateway, stop) = (&gateway.gateway, &stop);
                scope.spawn(move || {
                    let mut client = Client::begin(gateway, front, server);
                    let mut count = 0;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let message = format!("{server} {count}");
                        assert_eq!(client.call("echo", json!({ "message": message })), message);
                        count += 1;
                    }
                    (client, count)
                })
            })
            .into();
        let mut before = None;
        for round in 1..=200 {
            let report = gateway.change(&config(round));
            assert_eq!(report["outcome"], "applied", "{report}");
            if round == 20 {
                before = Some(gateway.gateway.process.usage());
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let clients: Vec<_> = callers.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(clients.iter().all(|(_, count)| *count > 0));
        let (fds, rss) = before.unwrap();
        until("as few descriptors as before", || {
            (gateway.gateway.process.usage().0 <= fds + 8).then_some(())
        });
        let grown = gateway.gateway.process.usage().1.saturating_sub(rss);
        assert!(grown < 16 << 10, "{grown} KiB more than before");
        // Of a server that no one is told of, nothing is heard: not one event in two hundred.
        let (kept, _) = &clients[0];
        assert!(kept.aside.is_empty(), "{:?}", kept.aside);
    });
    assert_eq!(gateway.pids("kept"), pids);
    assert_eq!(gateway.gateway.status("kept", |_| true)["restarts"], 0);
}
