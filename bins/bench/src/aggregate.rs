//! Many servers as one: the first list and the next ones, calls beside those at a server's own
//! route, and how soon a client hears that a list has changed.
//!
//! The servers are demonstrations inside the gateway: what is measured is the gateway alone.

use std::{fmt, net::SocketAddr, path::Path, time::Duration};

use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

use crate::{
    client::{Session, Target, Wire},
    error::{Failure, Result},
    fleet::Process,
    http,
    plan::Plan,
    procfs,
    stats::median,
};

/// Sessions that call at once.
const SESSIONS: usize = 8;
/// Lists that are asked for when all is known, and changes that are waited for.
const TIMES: usize = 20;
/// Between two changes: none is held back for coming too soon after another.
const CHANGE_PAUSE: Duration = Duration::from_millis(300);

/// What was measured with so many servers.
#[derive(Debug, Serialize)]
pub(crate) struct AggregateReport {
    servers: usize,
    tools: usize,
    list_bytes: usize,
    /// Bytes of the catalogue and its view, and how many entries these are for.
    bytes: u64,
    entries: u64,
    first_initialize_ms: f64,
    first_list_ms: f64,
    initialize_ms: f64,
    list_ms: f64,
    calls_per_second: f64,
    cpu_us_per_call: f64,
    own_calls_per_second: f64,
    own_cpu_us_per_call: f64,
    change_ms: f64,
}

/// Measures every number of servers.
///
/// # Errors
/// What broke; and where there is no gateway, if there has to be one.
pub(crate) async fn measure(plan: &Plan, folder: &Path) -> Result<Vec<AggregateReport>> {
    let mut reports = Vec::new();
    if !plan.gateway.is_file() {
        let what = format!("there is no {}", plan.gateway.display());
        crate::say(&format!("aggregate: no ({what})"));
        return if plan.require_gateway { Err(Failure::Process(what)) } else { Ok(reports) };
    }
    for servers in &plan.aggregate_servers {
        let report = one(plan, *servers, folder).await?;
        crate::say(&format!("aggregate · {servers} servers: {}", report.line()));
        reports.push(report);
    }
    Ok(reports)
}

async fn one(plan: &Plan, servers: usize, folder: &Path) -> Result<AggregateReport> {
    let addr = http::bind(0).await?.local_addr().map_err(Failure::io("a free port"))?;
    let all = (0..servers).map(|it| (format!("s{it:02}"), json!({"type": "demo"})));
    let all: serde_json::Map<_, _> = all.collect();
    let config = json!({
        "gateway": {"listen": addr.to_string(), "log": {"level": "warn"}}, "mcpServers": all,
    });
    let file = folder.join("aggregate.json");
    std::fs::write(&file, config.to_string()).map_err(Failure::io("the configuration"))?;
    let words = ["serve", "--config", &file.to_string_lossy()].map(str::to_owned);
    let log = folder.join("aggregate.log");
    let mut gateway = Process::foreign(&plan.gateway, &words, addr, &log, None)?;
    gateway.listening().await?;
    let report = figures(plan, servers, addr, gateway.pid).await;
    gateway.end().await?;
    report
}

async fn figures(
    plan: &Plan,
    servers: usize,
    addr: SocketAddr,
    pid: u32,
) -> Result<AggregateReport> {
    let door = |path: &str| Target::Http {
        wire: Wire::Streamable,
        addr,
        path: path.to_owned(),
        prefix: "",
        token: None,
    };
    let (first, first_initialize_ms, first_list_ms, listed) = begin(plan, &door("/mcp")).await?;
    let tools = tools(&listed)?;
    let (mut initializes, mut lists) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let (session, initialize, list, _) = begin(plan, &door("/mcp")).await?;
        initializes.push(initialize);
        lists.push(list);
        session.close().await?;
    }
    let name = if servers == 1 { "echo" } else { "s00__echo" };
    let (calls_per_second, cpu_us_per_call) = calls(plan, &door("/mcp"), name, pid).await?;
    let (own_calls_per_second, own_cpu_us_per_call) =
        calls(plan, &door("/s00/mcp"), "echo", pid).await?;
    let change_ms = change(plan, first, servers).await?;
    let status = status(addr).await?;
    let shown = status.pointer("/aggregates/0");
    let of = |name: &str| shown.and_then(|it| it.get(name)?.as_u64()).unwrap_or_default();
    Ok(AggregateReport {
        servers,
        tools,
        list_bytes: listed.len(),
        bytes: of("bytes"),
        entries: of("entries"),
        first_initialize_ms,
        first_list_ms,
        initialize_ms: median(initializes).unwrap_or_default(),
        list_ms: median(lists).unwrap_or_default(),
        calls_per_second,
        cpu_us_per_call,
        own_calls_per_second,
        own_cpu_us_per_call,
        change_ms,
    })
}

/// Opens a session and asks for the tools: how long each took.
async fn begin(plan: &Plan, door: &Target) -> Result<(Session, f64, f64, bytes::Bytes)> {
    let began = Instant::now();
    let mut session = Session::open(door, plan.call_timeout).await?;
    let opened = began.elapsed();
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
    let listed = session.raw(1, list.into()).await?;
    Ok((session, ms(opened), ms(began.elapsed() - opened), listed))
}

fn tools(listed: &[u8]) -> Result<usize> {
    let listed: Value = serde_json::from_slice(listed)
        .map_err(|cause| Failure::Wrong(format!("no list of tools: {cause}")))?;
    let tools = listed.pointer("/result/tools").and_then(Value::as_array).map(Vec::len);
    tools.ok_or_else(|| Failure::Wrong("no list of tools".to_owned()))
}

/// Calls a tool from several sessions at once: calls a second, and processor time for each.
async fn calls(plan: &Plan, door: &Target, name: &str, pid: u32) -> Result<(f64, f64)> {
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let mut session = Session::open(door, plan.call_timeout).await?;
        // What is opened with the first call is not what is measured.
        echo(&mut session, name, 0, 0).await?;
        sessions.push(session);
    }
    let (began, cpu) = (Instant::now(), procfs::cpu_ms(&[pid])?);
    let until = began + Duration::from_secs_f64(plan.seconds);
    let mut running = JoinSet::new();
    for (number, mut session) in sessions.into_iter().enumerate() {
        let name = name.to_owned();
        running.spawn(async move {
            let mut id = 1;
            while Instant::now() < until {
                echo(&mut session, &name, number, id).await?;
                id += 1;
            }
            session.close().await?;
            Ok::<_, Failure>(id - 1)
        });
    }
    let mut count = 0_u64;
    while let Some(done) = running.join_next().await {
        let lost = |_| Failure::Process("a task of the generator ended early".to_owned());
        count += done.map_err(lost).flatten()?;
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), procfs::cpu_ms(&[pid])? - cpu);
    let calls = count.max(1) as f64;
    Ok((calls / seconds, cpu * 1000.0 / calls))
}

async fn echo(session: &mut Session, name: &str, number: usize, id: u64) -> Result<()> {
    let text = format!("session {number} call {id}");
    let params = json!({"name": name, "arguments": {"message": text}});
    let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    let answer = session.raw(id, call.to_string().into()).await?;
    let read: Value = serde_json::from_slice(&answer).unwrap_or_default();
    let said = read.pointer("/result/content/0/text").and_then(Value::as_str);
    if read.get("id").and_then(Value::as_u64) == Some(id) && said == Some(&text) {
        return Ok(());
    }
    Err(Failure::Wrong(format!("call {id}: another content")))
}

/// How long it takes from a server's announcement to its client's, in milliseconds.
async fn change(plan: &Plan, mut session: Session, servers: usize) -> Result<f64> {
    session.listen().await?;
    let name = if servers == 1 { "toggle" } else { "s00__toggle" };
    let mut times = Vec::new();
    for id in 0..TIMES.min(plan.rounds * 10) {
        tokio::time::sleep(CHANGE_PAUSE).await;
        let id = 100 + id as u64;
        let params = json!({"name": name, "arguments": {}});
        let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        let began = Instant::now();
        session.raw(id, call.to_string().into()).await?;
        session.hears("notifications/tools/list_changed").await?;
        times.push(ms(began.elapsed()));
    }
    session.close().await?;
    Ok(median(times).unwrap_or_default())
}

async fn status(addr: SocketAddr) -> Result<Value> {
    let mut wire = TcpStream::connect(addr).await.map_err(Failure::io("the status"))?;
    let ask = format!("GET /status HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    wire.write_all(ask.as_bytes()).await.map_err(Failure::io("the status"))?;
    let mut said = String::new();
    wire.read_to_string(&mut said).await.map_err(Failure::io("the status"))?;
    let body = said.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    let body = body.get(body.find('{').unwrap_or_default()..).unwrap_or_default();
    let mut values = serde_json::Deserializer::from_str(body).into_iter::<Value>();
    let wrong = || Failure::Wrong("the status is no JSON".to_owned());
    values.next().and_then(std::result::Result::ok).ok_or_else(wrong)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl AggregateReport {
    fn line(&self) -> String {
        format!(
            "{} tools, list {:.1} ms at first, {:.2} ms then, {:.0} calls/s ({:.0} at its own \
             route), change after {:.1} ms",
            self.tools,
            self.first_initialize_ms + self.first_list_ms,
            self.list_ms,
            self.calls_per_second,
            self.own_calls_per_second,
            self.change_ms
        )
    }
}

/// The table of all numbers of servers, if there are any.
pub(crate) fn table(reports: &[AggregateReport], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if reports.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Many servers as one\n\n| servers | tools | list KiB | first session: initialize, list ms | next: initialize, list ms | calls/s | at its own route | CPU µs a call | at its own route | bytes an entry | change heard after ms |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    reports.iter().try_for_each(|it| {
        writeln!(
            out,
            "| {} | {} | {:.1} | {:.1}, {:.1} | {:.2}, {:.2} | {:.0} | {:.0} | {:.1} | {:.1} | {:.0} | {:.1} |",
            it.servers,
            it.tools,
            it.list_bytes as f64 / 1024.0,
            it.first_initialize_ms,
            it.first_list_ms,
            it.initialize_ms,
            it.list_ms,
            it.calls_per_second,
            it.own_calls_per_second,
            it.cpu_us_per_call,
            it.own_cpu_us_per_call,
            it.bytes as f64 / it.entries.max(1) as f64,
            it.change_ms
        )
    })
}
