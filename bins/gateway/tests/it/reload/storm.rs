//! Changes without a pause, and what they must not do to anybody.

use std::{
    fs,
    io::Write,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use super::{Changing, says, watched, with_control};
use crate::{
    client::{Client, Front},
    process::until,
    rig::{Gateway, demo_child, folder, servers},
};

/// Eight clients call without a pause while their gateway is configured anew fifty times: not one
/// call fails, also of those to the servers that are replaced; and who is not concerned keeps its
/// process.
#[test]
fn fifty_changes_fail_no_call() {
    let (dir, elsewhere) = (folder(), folder());
    let (kept, changing) = (demo_child(dir.path()), demo_child(elsewhere.path()));
    let config = |round: usize| {
        let mut moving = changing.clone();
        moving["env"] = json!({ "ROUND": round.to_string() });
        let mut all = json!({ "kept": kept, "moving": moving, "inside": { "type": "demo" } });
        all["inside"]["startTimeout"] = json!(format!("{}s", 30 + round));
        if round % 2 == 1 {
            all["sometimes"] = json!({ "type": "demo" });
        }
        servers(all)
    };
    let gateway = Changing::start_in(dir, &config(0));
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let fronts = [Front::Streamable, Front::Sse, Front::Unlistening];
    let mut clients = Vec::new();
    for server in ["kept", "moving", "inside"] {
        clients.extend(fronts.map(|front| Client::begin(&gateway.gateway, front, server)));
    }
    clients.pop();
    assert_eq!(clients.len(), 8);
    let pids = gateway.pids("kept");
    std::thread::scope(|scope| {
        let callers: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                let (stop, count) = (&stop, &count);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let message = format!("call {}", count.fetch_add(1, Ordering::Relaxed));
                        assert_eq!(client.call("echo", json!({ "message": message })), message);
                    }
                })
            })
            .collect();
        for round in 1..=50 {
            // Something is under way whenever it happens.
            let before = count.load(Ordering::Relaxed);
            until("calls", || (before + 8 <= count.load(Ordering::Relaxed)).then_some(()));
            let report = gateway.change(&config(round));
            assert_eq!(report["outcome"], "applied", "{report}");
        }
        stop.store(true, Ordering::Relaxed);
        callers.into_iter().for_each(|it| it.join().unwrap());
    });
    assert_eq!(gateway.pids("kept"), pids);
    for server in ["kept", "moving", "inside"] {
        assert_eq!(gateway.gateway.status(server, |_| true)["restarts"], 0, "{server}");
    }
    // Nothing is left of those that were replaced.
    let started = |line: &&String| line.contains(r#""message":"started","server":"moving""#);
    let gone = |line: &&String| line.contains(r#""message":"gone"#) && line.contains("moving");
    until("the end of the old ones", || {
        let log = gateway.gateway.process.log();
        let (began, ended) = (log.iter().filter(started).count(), log.iter().filter(gone).count());
        let running = gateway.gateway.status("moving", |_| true)["pids"].clone();
        let running = running.as_array().map_or(0, Vec::len);
        // One for each client, and perhaps one that nobody has asked for yet.
        (began - ended == running && running <= 4).then_some(())
    });
}

/// A hundred changes in a row are read a few times, and the last one holds.
#[test]
fn a_hundred_changes_are_read_a_few_times() {
    let gateway = Changing::start(&watched(&servers(json!({ "it": says("0") }))));
    let began = Instant::now();
    for count in 1..=100 {
        let config = watched(&servers(json!({ "it": says(&count.to_string()) })));
        // As a whole, so that none is refused.
        let beside = gateway.file.with_extension("tmp");
        fs::write(&beside, with_control(&config).to_string()).unwrap();
        fs::rename(&beside, &gateway.file).unwrap();
    }
    let mut client = Client::begin(&gateway.gateway, Front::Unlistening, "it");
    until("the last", || (client.call("x", json!({})) == "100").then_some(()));
    // It is said once it is done, and the last may answer before.
    gateway.logged(0, "the configuration is taken over");
    let log = gateway.gateway.process.log();
    let taken = log.iter().filter(|it| it.contains("the configuration is taken over")).count();
    // It waits at least 200 ms for a pause.
    let most = usize::try_from(began.elapsed().as_millis() / 200).unwrap() + 1;
    assert!((1..=most).contains(&taken), "{taken} of at most {most}");
}

/// A file that is being written is not taken for what it will be.
#[test]
fn a_half_written_file_changes_nothing() {
    let gateway = Changing::start(&watched(&servers(json!({ "it": says("old") }))));
    let mut client = Client::begin(&gateway.gateway, Front::Unlistening, "it");
    let pids = gateway.pids("it");
    let text = with_control(&watched(&servers(json!({ "it": says("new") })))).to_string();
    let (one, other) = text.split_at(text.len() / 2);
    let mut file = fs::File::create(&gateway.file).unwrap();
    file.write_all(one.as_bytes()).unwrap();
    // Somebody who writes as slowly as that is told what is wrong so far.
    let at = gateway.logged(0, "the configuration is refused");
    assert_eq!((client.call("x", json!({})), gateway.pids("it")), ("old".to_owned(), pids));
    file.write_all(other.as_bytes()).unwrap();
    drop(file);
    gateway.logged(at, "the configuration is taken over");
    assert_eq!(client.call("x", json!({})), "new");
}

/// Sessions with a server that came later outlive the gateway as well.
#[test]
fn sessions_with_a_server_that_came_later_are_kept() {
    let state = folder();
    let state = state.path().to_str().unwrap();
    let first = servers(json!({ "first": says("first") }));
    let both = servers(json!({ "first": says("first"), "later": says("later") }));
    let gateway = Changing::start_with(folder(), &first, &["--state-dir", state]);
    gateway.change(&both);
    let mut client = Client::begin(&gateway.gateway, Front::Unlistening, "later");
    let id = client.session();
    let at = gateway.gateway.at.clone();
    gateway.gateway.process.signal(Signal::KILL);
    gateway.gateway.process.end();
    let _again = Gateway::start_in(folder(), &both, &["--listen", &at, "--state-dir", state]);
    assert_eq!(client.call("x", json!({})), "later");
    assert_eq!(client.session(), id);
}
