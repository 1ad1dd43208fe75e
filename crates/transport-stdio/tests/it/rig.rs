//! A server made of a few lines of shell, and what there is to know about its processes.

use std::{fs, future::Future, path::PathBuf, time::Duration};

use mcp_jsonrpc::{
    Id, Message,
    transport::{Caller, Exchange, Reply, Session, TransportError},
};
use serde_json::json;
use transport_stdio::{
    Timeouts,
    client::{Process, Spawn},
    supervise::Supervisor,
};

/// Answers every request with its own process id.
pub(crate) const ANSWERS: &str = r#"
while IFS= read -r line; do
    id=${line#*\"id\":}; id=${id%%[,\}]*}
    printf '{"jsonrpc":"2.0","id":%s,"result":{"pid":%s}}\n' "$id" "$$"
done"#;

/// Nothing that these tests wait for takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program that is its own supervisor: an example of this crate.
pub(crate) fn example() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/tools");
    assert!(path.exists(), "run `cargo build -p transport-stdio --examples` first: {path:?}");
    path
}

/// A shell that runs this script, with or without a supervisor, and with little patience.
pub(crate) fn shell(script: &str, supervised: bool) -> Spawn {
    let mut spawn = Spawn::new("test", "sh");
    spawn.args = ["-c", script].map(Into::into).to_vec();
    spawn.supervisor = supervised.then(|| Supervisor::new(example(), "__supervise"));
    spawn.timeouts = Timeouts {
        exit_timeout: Duration::from_millis(300),
        term_timeout: Duration::from_millis(300),
        ..Timeouts::default()
    };
    spawn
}

pub(crate) fn request(method: &str) -> Exchange {
    let message = Message::request(&Id::from("a"), method, &json!({})).unwrap();
    Exchange::new(message, Caller::anonymous())
}

/// What the server answers, as text.
pub(crate) async fn ask(process: &Process, method: &str) -> Result<String, TransportError> {
    match process.send(request(method)).await? {
        Reply::Single(message) => Ok(message.body().unwrap().to_owned()),
        reply => panic!("{reply:?}"),
    }
}

/// Waits for what has no event to wait for: other people's processes.
pub(crate) async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let poll = async {
        loop {
            if let Some(found) = found() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, poll).await {
        Ok(found) => found,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Fails when it takes too long.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(done) => done,
        Err(_) => panic!("takes too long: {what}"),
    }
}

/// The numbers that the child wrote to stderr, as many as expected.
pub(crate) async fn pids(process: &Process, count: usize) -> Vec<u32> {
    until("process ids on stderr", || {
        let found: Vec<_> =
            process.info().stderr(99).iter().filter_map(|it| it.parse().ok()).collect();
        (found.len() == count).then_some(found)
    })
    .await
}

/// Whether a process runs; the dead whom nobody has buried do not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

pub(crate) async fn all_gone(pids: &[u32]) {
    until(&format!("the end of {pids:?}"), || (!pids.iter().any(|&it| is_alive(it))).then_some(()))
        .await;
}
