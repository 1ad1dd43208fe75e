//! Servers and the gateway are killed at random, again and again, while clients work.
//!
//! `GATEWAY_STORM` says how often, `GATEWAY_STORM_SEED` which storm it is.

use std::{
    env, fs,
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{
    quick_to_restart,
    server::{Ledger, Speaks, Upstream, child, free_port},
};
use crate::{
    http::{self, Open},
    process::{PATIENCE, until},
    resume::Dice,
    rig::{Gateway, INITIALIZE, folder, servers},
};

/// So many kills where nobody asks for more.
const KILLS: usize = 100;
/// One in so many is the gateway's own.
const GATEWAY_EVERY: usize = 25;
/// So many clients for each server.
const CLIENTS: usize = 3;
/// So many calls are over between one kill and the next.
const CALLS_BETWEEN: usize = 4;

const NAMES: [&str; 3] = ["child", "old", "new"];

/// What a storm has in common.
struct Sky {
    at: String,
    stop: AtomicBool,
    /// How many calls are over.
    over: AtomicUsize,
}

/// A client over Streamable HTTP, which goes on wherever it can.
struct Sailor {
    sky: Arc<Sky>,
    server: &'static str,
    session: String,
    dice: Dice,
    log: Log,
}

/// What came of its calls.
#[derive(Debug, Default)]
struct Log {
    acknowledged: Vec<String>,
    failed: Vec<String>,
    /// Those of which nothing is known: the gateway was killed before it said anything.
    unknown: Vec<String>,
    resumed: usize,
}

/// What has come of one answer.
#[derive(Default)]
struct Told {
    last: Option<String>,
    steps: Vec<u64>,
    answers: Vec<Value>,
}

// === impl Sailor ===

impl Sailor {
    fn fields<'a>(&'a self, last: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
        let mut fields = vec![
            ("Accept", "application/json, text/event-stream"),
            ("Content-Type", "application/json"),
            ("Mcp-Protocol-Version", "2025-11-25"),
            ("Mcp-Session-Id", &*self.session),
        ];
        fields.extend(last.map(|last| ("Last-Event-ID", last)));
        fields
    }

    /// Asks something of a gateway, as soon as there is one; it may die meanwhile.
    fn ask(&self, method: &str, last: Option<&str>, body: &str) -> io::Result<Open> {
        let mut wire = until("a gateway", || match TcpStream::connect(&self.sky.at) {
            Ok(wire) => Some(Ok(wire)),
            Err(error) => self.sky.stop.load(Ordering::SeqCst).then_some(Err(error)),
        })?;
        wire.set_read_timeout(Some(PATIENCE))?;
        let line = format!("{method} /{}/mcp", self.server);
        let text = http::request(&line, &self.sky.at, &self.fields(last), body);
        wire.write_all(text.as_bytes())?;
        http::read_head(Box::new(wire), false)
    }

    /// Calls until there is an end of it, and once more when it is calm again.
    fn sail(mut self, number: usize) -> Log {
        for id in 1.. {
            let calm = self.sky.stop.load(Ordering::SeqCst);
            let key = format!("{number}-{id}");
            let before = self.log.acknowledged.len();
            self.call(id, key);
            self.sky.over.fetch_add(1, Ordering::SeqCst);
            if calm && before < self.log.acknowledged.len() {
                return self.log;
            }
        }
        self.log
    }

    fn call(&mut self, id: i64, key: String) {
        let (name, steps) = if self.dice.roll(2) == 0 { ("count", 0) } else { ("steps", 3) };
        let params = json!({
            "name": name, "arguments": { "key": key }, "_meta": { "progressToken": id },
        });
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        let mut told = Told::default();
        let Ok(mut open) = self.ask("POST", None, &body.to_string()) else {
            return self.log.unknown.push(key);
        };
        loop {
            if open.status != 200 {
                panic!("{key}: {:?}", open.read());
            }
            if open.field("content-type").is_some_and(|it| it == "application/json") {
                match read_json(open) {
                    Ok(answer) => told.answers.push(answer),
                    Err(_) => return self.log.unknown.push(key),
                }
                break;
            }
            // Some are lost by the way, as connections are.
            let most = if self.dice.roll(4) == 0 { 1 + self.dice.roll(3) } else { usize::MAX };
            told.read(open, most);
            if !told.answers.is_empty() {
                break;
            }
            let Some(last) = told.last.clone() else { return self.log.unknown.push(key) };
            self.log.resumed += 1;
            open = until("a gateway to go on with", || self.ask("GET", Some(&last), "").ok());
        }
        assert_eq!(told.answers.len(), 1, "{key}: {:?}", told.answers);
        assert_eq!(told.answers[0]["id"], id, "{key}");
        let known: Vec<u64> = (1..=3).take(told.steps.len()).collect();
        assert_eq!(told.steps, known, "{key}: an event was lost, or came twice");
        if told.answers[0].get("result").is_some() {
            assert_eq!(told.steps.len(), steps, "{key}: {:?}", told.answers);
            self.log.acknowledged.push(key);
        } else {
            self.log.failed.push(key);
        }
    }
}

fn read_json(open: Open) -> io::Result<Value> {
    let mut text = String::new();
    io::Read::read_to_string(&mut { open }, &mut text)?;
    Ok(serde_json::from_str(&text).unwrap())
}

// === impl Told ===

impl Told {
    /// Reads so many whole events, or until they end: what of one is not complete is lost.
    fn read(&mut self, mut open: Open, most: usize) {
        let mut lines = BufReader::with_capacity(1, &mut open);
        let (mut id, mut data, mut events) = (None, String::new(), 0);
        while events < most && self.answers.is_empty() {
            let mut line = String::new();
            if !matches!(lines.read_line(&mut line), Ok(1..)) || !line.ends_with('\n') {
                return;
            }
            if let Some(it) = line.trim_end().strip_prefix("id: ") {
                id = Some(it.to_owned());
            } else if let Some(it) = line.trim_end().strip_prefix("data: ") {
                data = it.to_owned();
            } else if line == "\n" {
                events += usize::from(id.is_some());
                self.last = id.take().or_else(|| self.last.take());
                self.take(&std::mem::take(&mut data));
            }
        }
    }

    fn take(&mut self, data: &str) {
        let Ok(message) = serde_json::from_str::<Value>(data) else { return };
        if message.get("id").is_some() && message.get("method").is_none() {
            self.answers.push(message);
        } else if message["method"] == "notifications/progress" {
            self.steps.push(message["params"]["progress"].as_u64().unwrap());
        }
    }
}

/// Whoever listens hears of changes; here it is enough that somebody does, whatever comes.
fn listen(sailor: &Sailor) {
    while !sailor.sky.stop.load(Ordering::SeqCst) {
        let Ok(mut open) = sailor.ask("GET", None, "") else { continue };
        assert_eq!(open.status, 200, "{open:?}");
        drop(io::copy(&mut open, &mut io::sink()));
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|it| it.parse().unwrap())
}

/// Clients that call, each with its server and its thread, and those that listen.
type Crew = (Vec<(&'static str, JoinHandle<Log>)>, Vec<JoinHandle<()>>);

fn set_out(gateway: &Gateway, sky: &Arc<Sky>, seed: u64) -> Crew {
    let (mut sailors, mut listeners) = (Vec::new(), Vec::new());
    for who in 0..CLIENTS * NAMES.len() {
        let server = NAMES[who % NAMES.len()];
        let initialize = INITIALIZE.replace("2025-06-18", "2025-11-25");
        let answer = gateway.post(&format!("/{server}/mcp"), &[], &initialize);
        let session = answer.field("mcp-session-id").unwrap().to_owned();
        let sailor = |seed| Sailor {
            sky: Arc::clone(sky),
            server,
            session: session.clone(),
            dice: Dice::new(seed),
            log: Log::default(),
        };
        let (sails, hears) = (sailor(seed ^ who as u64), sailor(0));
        sailors.push((server, thread::spawn(move || sails.sail(who))));
        listeners.push(thread::spawn(move || listen(&hears)));
    }
    (sailors, listeners)
}

#[test]
fn a_storm() {
    let seed =
        number("GATEWAY_STORM_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let kills = number("GATEWAY_STORM").map_or(KILLS, |it| usize::try_from(it).unwrap());
    eprintln!("GATEWAY_STORM_SEED={seed} GATEWAY_STORM={kills}");
    let (dir, state) = (folder(), folder());
    let ledgers = NAMES.map(|name| {
        fs::create_dir(dir.path().join(name)).unwrap();
        Ledger::new(&dir.path().join(name))
    });
    let mut upstreams = [
        Upstream::start(Speaks::Sse, &ledgers[1]),
        Upstream::start(Speaks::Streamable, &ledgers[2]),
    ];
    let mut entries = serde_json::Map::new();
    let all = [child(&ledgers[0]), upstreams[0].own_entry(), upstreams[1].own_entry()];
    for (name, entry) in NAMES.into_iter().zip(all) {
        entries.insert(name.to_owned(), quick_to_restart(entry, &json!({})));
    }
    let config = servers(entries.into());
    let at = format!("127.0.0.1:{}", free_port());
    let args = ["--listen", &*at, "--state-dir", state.path().to_str().unwrap()];
    let mut gateway = Gateway::start_in(folder(), &config, &args);

    let sky =
        Arc::new(Sky { at: at.clone(), stop: AtomicBool::new(false), over: AtomicUsize::new(0) });
    let (sailors, listeners) = set_out(&gateway, &sky, seed);
    let mut dice = Dice::new(seed);
    for kill in 1..=kills {
        let before = sky.over.load(Ordering::SeqCst);
        until("calls between two kills", || {
            let stuck = sailors.iter().find(|(_, it)| it.is_finished());
            assert!(stuck.is_none(), "a client gave up");
            (before + CALLS_BETWEEN <= sky.over.load(Ordering::SeqCst)).then_some(())
        });
        if kill % GATEWAY_EVERY == 0 {
            gateway.process.signal(Signal::KILL);
            gateway.process.end();
            gateway = Gateway::start_in(folder(), &config, &args);
            continue;
        }
        match dice.roll(3) {
            0 => kill_child(&gateway, &mut dice),
            which => upstreams[which - 1].killed(),
        }
    }
    sky.stop.store(true, Ordering::SeqCst);
    let logs: Vec<_> =
        sailors.into_iter().map(|(server, it)| (server, it.join().unwrap())).collect();
    compare(&logs, &ledgers);
    let mut all = Log::default();
    for (_, log) in logs {
        all.acknowledged.extend(log.acknowledged);
        all.failed.extend(log.failed);
        all.unknown.extend(log.unknown);
        all.resumed += log.resumed;
    }
    let (done, failed, unknown) = (all.acknowledged.len(), all.failed.len(), all.unknown.len());
    let resumed = all.resumed;
    eprintln!(
        "{kills} kills: {done} calls done, {failed} failed, {unknown} unknown, {resumed} resumptions"
    );
    assert!(kills <= done, "hardly anything was done");
    // Those who listen do so until there is nobody to listen to.
    gateway.process.signal(Signal::KILL);
    listeners.into_iter().for_each(|it| it.join().unwrap());
}

/// Compares what clients know with what was done.
fn compare(logs: &[(&'static str, Log)], ledgers: &[Ledger; 3]) {
    for (name, ledger) in NAMES.into_iter().zip(ledgers) {
        let effects = ledger.effects();
        for (_, log) in logs.iter().filter(|(server, _)| *server == name) {
            for key in &log.acknowledged {
                assert_eq!(effects.get(key), Some(&1), "{name} {key} was acknowledged");
            }
            for key in log.failed.iter().chain(&log.unknown) {
                assert!(*effects.get(key).unwrap_or(&0) <= 1, "{name} {key} was done twice");
            }
        }
    }
}

/// Kills one of the children there are now.
fn kill_child(gateway: &Gateway, dice: &mut Dice) {
    let status = gateway.get("/status").json();
    let mut servers = status["servers"].as_array().unwrap().iter();
    let pids = servers.find(|it| it["name"] == NAMES[0]).unwrap()["pids"].clone();
    let pids: Vec<i32> = serde_json::from_value(pids).unwrap_or_default();
    if !pids.is_empty() {
        let pid = Pid::from_raw(pids[dice.roll(pids.len())]).unwrap();
        // It may have gone by itself, with its session.
        let _gone = kill_process(pid, Signal::KILL);
    }
}
