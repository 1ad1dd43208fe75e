//! Servers that die, forget, hang and vanish, at every moment, behind clients that go on.
//!
//! Whatever happens, a client's session stays what it was; whoever waits is told what happened, and
//! by whom; what a new process has to know it is told; and nothing is done twice.

mod half_open;
mod hang;
mod http;
mod kill;
mod lines;
mod server;
mod storm;
mod words;

use std::collections::HashMap;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use self::server::{Ledger, Speaks, Upstream, child};
use crate::{
    client::{Client, Front, capabilities},
    process::{all_gone, until},
    rig::{Gateway, folder, servers},
};

/// A gateway with one server, `it`, that can be killed.
#[derive(Debug)]
struct House {
    gateway: Gateway,
    speaks: Speaks,
    ledger: Ledger,
    upstream: Option<Upstream>,
}

/// A client that has begun, said what has to be remembered, and knows who serves it.
#[derive(Debug)]
struct Guest {
    client: Client,
    session: Option<String>,
    front: Front,
    /// The process that answered it last.
    pid: u32,
}

// === impl House ===

impl House {
    /// With these settings of the server besides.
    #[track_caller]
    fn new(speaks: Speaks, settings: &Value) -> Self {
        let dir = folder();
        let ledger = Ledger::new(dir.path());
        let upstream = (speaks != Speaks::Stdio).then(|| Upstream::start(speaks, &ledger));
        let entry = upstream.as_ref().map_or_else(|| child(&ledger), |it| it.entry(it.port));
        let config = servers(json!({ "it": quick_to_restart(entry, settings) }));
        let args = ["--listen", "127.0.0.1:0"];
        let gateway = Gateway::start_in(dir, &config, &args);
        Self { gateway, speaks, ledger, upstream }
    }

    #[track_caller]
    fn guest(&self, front: Front) -> Guest {
        let mut client = Client::begin(&self.gateway, front, "it");
        client.ask("logging/setLevel", json!({ "level": "warning" }));
        client.ask("resources/subscribe", json!({ "uri": "it://one" }));
        let session = client.session();
        let mut guest = Guest { client, session, front, pid: 0 };
        guest.pid = guest.count(&format!("{front:?} begins"));
        guest
    }

    /// Kills the server, or the child of this pid, and starts what does not start by itself.
    #[track_caller]
    fn kill(&mut self, pid: u32) {
        signal(pid, Signal::KILL);
        match &mut self.upstream {
            Some(upstream) => upstream.again(),
            None => all_gone(&[pid]),
        }
    }

    /// Waits until the gateway knows of a child's end: what is sent to one that dies just now may
    /// have been carried out.
    #[track_caller]
    fn saw_the_end_of(&self, pid: u32) {
        let words = format!("\"pid\":{pid}");
        self.gateway.process.logged("the end of a child", |line| {
            (line.contains("gone: ") && line.contains(&words)).then_some(())
        });
    }

    /// Waits until the gateway knows that a session with the server has ended, in the log from
    /// here on: what is sent over one that ends just now may have been carried out.
    #[track_caller]
    fn saw_a_loss(&self, from: usize) {
        self.gateway.process.logged_from(from, "the loss of a session", |line| {
            let is_lost = line.contains("\"lost\"") || line.contains("its session was forgotten");
            is_lost.then_some(())
        });
    }

    /// Checks that a process that was started since was told all that the last one knew.
    #[track_caller]
    fn was_told_again(&self, from: usize) {
        let uri = |line: &Value| line["more"]["uri"] == "it://one";
        let pid = self.ledger.first(from, "resources/subscribe", uri)["pid"].clone();
        let its = |what: &str, wanted: &dyn Fn(&Value) -> bool| {
            self.ledger.first(from, what, |line| line["pid"] == pid && wanted(&line["more"]));
        };
        its("initialize", &|more| more["capabilities"] == capabilities());
        its("notifications/initialized", &|_| true);
        its("logging/setLevel", &|more| more["level"] == "warning");
    }

    #[track_caller]
    fn did_nothing_twice(&self) {
        let twice: HashMap<_, _> =
            self.ledger.effects().into_iter().filter(|(_, times)| *times != 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}

impl Drop for House {
    /// A test that fails says what the gateway and the server had to say.
    #[expect(clippy::print_stderr, reason = "a test that fails explains itself")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ledger = self.ledger.lines();
            let ledger = ledger.iter().map(|line| format!("{line}\n")).collect::<String>();
            eprintln!("{:?}:\n{}\n{ledger}", self.speaks, self.gateway.process.log().join("\n"));
        }
    }
}

// === impl Guest ===

impl Guest {
    /// Calls something that is counted; returns the process that did it.
    #[track_caller]
    fn count(&mut self, key: &str) -> u32 {
        pid_of(&self.client.call("count", json!({ "key": key })))
    }

    /// Checks that it may go on as if nothing had happened, with another process.
    #[track_caller]
    fn goes_on(&mut self, key: &str) {
        let pid = self.count(key);
        assert_ne!(pid, self.pid, "{key}");
        self.goes_on_with(pid, key);
    }

    #[track_caller]
    fn goes_on_with(&mut self, pid: u32, key: &str) {
        self.pid = pid;
        assert_eq!(self.client.session(), self.session, "{key}");
    }

    /// Checks that it heard, unasked or with its last call, that lists may have changed.
    #[track_caller]
    fn hears_of_changes(&mut self) {
        for list in ["tools", "resources"] {
            self.client.told(&format!("notifications/{list}/list_changed"));
        }
    }

    fn listens(&self) -> bool {
        self.front != Front::Unlistening
    }
}

/// An entry for a server that is never given up, with these settings besides.
fn quick_to_restart(mut entry: Value, settings: &Value) -> Value {
    entry["startup"] = json!("lazy");
    entry["restart"] =
        json!({ "backoffMin": "1ms", "backoffMax": "20ms", "crashLoopCount": 100_000 });
    for (name, value) in settings.as_object().into_iter().flatten() {
        entry[name] = value.clone();
    }
    entry
}

#[track_caller]
fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Stops a process, and waits until it does nothing any more: the one of its threads that is told
/// has to run before the others are.
#[track_caller]
fn stop(pid: u32) {
    signal(pid, Signal::STOP);
    let is_stopped =
        |stat: String| stat.rsplit(") ").next().is_some_and(|state| state.starts_with(['T', 't']));
    until(&format!("{pid} to stop"), || {
        let mut threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let stats = |it: std::fs::DirEntry| std::fs::read_to_string(it.path().join("stat"));
        threads.all(|it| stats(it).is_ok_and(is_stopped)).then_some(())
    });
}

/// Who answered.
#[track_caller]
fn pid_of(text: &str) -> u32 {
    let pid = text.rsplit(' ').next().and_then(|it| it.parse().ok());
    pid.unwrap_or_else(|| panic!("no pid in {text}"))
}

/// What an answer says that is an error.
#[track_caller]
fn error_of(answer: &Value) -> &str {
    let words = answer["error"]["message"].as_str();
    words.unwrap_or_else(|| panic!("no error in {answer}"))
}
