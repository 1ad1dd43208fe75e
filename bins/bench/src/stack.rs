//! What one measurement needs: an upstream, what stands before it, and where to knock.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    client::{Session, Target, Wire},
    error::{Failure, Result},
    fleet::Process,
    http,
    peers::Behind,
    plan::{Extra, Leg, Plan},
    procfs,
    relay::Kind,
    rpc::Ask,
};

/// Of those who come to a gateway that wants one; it opens nothing but the servers of a run.
const TOKEN: &str = "gateway-bench-0123456789abcdef0123456789abcdef";
/// A program of others answers its first call so long after it listens.
const READY_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two such calls.
const READY_PAUSE: Duration = Duration::from_millis(200);

/// Running processes, and the doors to them.
#[derive(Debug)]
pub(crate) struct Stack {
    /// One door for each server.
    pub(crate) doors: Vec<Target>,
    upstream: Option<Process>,
    middle: Option<Process>,
    /// What the gateway was started with.
    words: Vec<String>,
    /// Where each child leaves its process id, once it reads.
    pids: Option<PathBuf>,
}

/// What to build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// What stands between.
    pub(crate) leg: Leg,
    /// The transport in front.
    pub(crate) front: Wire,
    /// The transport behind.
    pub(crate) behind: Wire,
    /// Servers behind; more than one only behind the gateway, and over stdio.
    pub(crate) servers: usize,
    /// How long the gateway waits for a client of HTTP+SSE that left; as it would, if not given.
    pub(crate) away: Option<&'static str>,
    /// Whether the gateway has a directory for what survives it, as it has by default.
    pub(crate) keeps: bool,
    /// Whether the children behind say which processes they are: see [`Stack::children`].
    pub(crate) counted: bool,
    /// A child works so long before it reads: as those do that load a runtime.
    pub(crate) start_delay: Duration,
    /// Every session has a child of its own, and so many are started ahead.
    pub(crate) warm: Option<usize>,
    /// So many calls may wait for the answer of their client, which is one.
    pub(crate) parked: Option<usize>,
    /// So many sessions may be open, each with a connection.
    pub(crate) idle: Option<usize>,
}

impl Wanted {
    /// One server, and a gateway that keeps nothing.
    pub(crate) const fn of(leg: Leg, front: Wire, behind: Wire) -> Self {
        let start_delay = Duration::ZERO;
        let (servers, away, warm, keeps, counted, parked) = (1, None, None, false, false, None);
        let idle = None;
        Self { leg, front, behind, servers, away, keeps, counted, start_delay, warm, parked, idle }
    }
}

impl Stack {
    /// Starts everything, and waits until it listens.
    ///
    /// # Errors
    /// [`Failure`] when a part of it does not start; the others are ended.
    pub(crate) async fn start(plan: &Plan, wanted: Wanted, folder: &Path) -> Result<Self> {
        let mut stack = Self::begin(plan, wanted, folder).await?;
        if let Some(middle) = &mut stack.middle {
            middle.listening().await?;
        }
        if wanted.leg.is_peer()
            && let Err(cause) = stack.answers(plan).await
        {
            return Err(stack.explain(cause));
        }
        Ok(stack)
    }

    /// Waits until a call is answered: some listen before they are ready for one.
    async fn answers(&mut self, plan: &Plan) -> Result<()> {
        let start = Instant::now();
        let door = self.doors.first().cloned();
        let door = door.ok_or_else(|| Failure::Process("no door".to_owned()))?;
        loop {
            let tried = async {
                let mut session = Session::open(&door, plan.call_timeout).await?;
                let call = session.write(&Ask::Echo(100), 0, 1);
                session.call(&call).await?;
                session.close().await
            };
            match tried.await {
                Ok(()) => return Ok(()),
                Err(cause) if READY_TIMEOUT < start.elapsed() => return Err(cause),
                Err(_) => sleep(READY_PAUSE).await,
            }
            if let Some(middle) = &mut self.middle {
                middle.alive()?;
            }
        }
    }

    /// As [`Stack::start`], but does not wait for what stands between.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub(crate) async fn begin(plan: &Plan, wanted: Wanted, folder: &Path) -> Result<Self> {
        let pids = if wanted.counted { Some(empty(folder.join("pids"))?) } else { None };
        let child = (own_program()?, child_args(plan, wanted, pids.as_deref()));
        let upstream = match wanted.behind {
            Wire::Stdio | Wire::ModernStdio => None,
            Wire::Sse | Wire::Streamable | Wire::Modern => {
                Some(upstream(plan, wanted.behind, 0).await?)
            }
            Wire::OpenApi => {
                return Err(Failure::Process("nothing of ours is served over OpenAPI".to_owned()));
            }
        };
        let (doors, words) = (Vec::new(), Vec::new());
        let mut stack = Self { doors, upstream, middle: None, words, pids };
        let apart = plan.apart.as_ref();
        match wanted.leg {
            Leg::Direct => {
                let door = match &stack.upstream {
                    Some(upstream) => own_door(upstream, wanted.behind),
                    None => Target::Child(wanted.behind.era(), child.0, child.1),
                };
                stack.doors = vec![door; wanted.servers];
            }
            Leg::Relay(kind) => {
                let middle = relay(plan, kind, stack.upstream.as_ref(), wanted.behind).await?;
                stack.doors = vec![own_door(&middle, wanted.front)];
                stack.middle = Some(middle);
            }
            Leg::Peer(peer) => {
                let behind = match &stack.upstream {
                    Some(upstream) => Behind::Http(wanted.behind, upstream.addr),
                    None => Behind::Child(&child.0, &child.1),
                };
                let addr = free().await?;
                let start = peer.start(&plan.parts, (wanted.front, &behind), addr, folder)?;
                let log = folder.join(format!("{}.log", peer.text()));
                let started = Process::group(&start.program, &start.args, addr, &log, apart)?;
                let (wire, path) = (peer.front(wanted.front), start.path.to_owned());
                stack.doors =
                    vec![Target::Http { wire, addr, path, prefix: peer.prefix(), token: None }];
                stack.middle = Some(started);
            }
            Leg::Legacy | Leg::Gateway | Leg::Priced(_) => {
                let url = stack.upstream.as_ref().map(|it| it.addr);
                let server = match (wanted.behind, url) {
                    (Wire::Stdio | Wire::ModernStdio, _) | (_, None) => {
                        json!({"command": child.0, "args": child.1})
                    }
                    (Wire::Sse, Some(addr)) => {
                        json!({"type": "sse", "url": format!("http://{addr}/sse")})
                    }
                    (Wire::Streamable | Wire::Modern | Wire::OpenApi, Some(addr)) => {
                        json!({"type": "http", "url": format!("http://{addr}/mcp")})
                    }
                };
                let (addr, words, doors) = gateway(plan, wanted, &server, folder).await?;
                let log = folder.join("gateway.log");
                let mut process = Process::foreign(&plan.gateway, &words, addr, &log, apart)?;
                if plan.patient {
                    process.be_patient();
                }
                stack.middle = Some(process);
                (stack.doors, stack.words) = (doors, words);
            }
        }
        Ok(stack)
    }

    /// The process whose cost is the question: what stands between, or the upstream itself.
    /// `None` where that is the generator's own children.
    pub(crate) fn measured(&self) -> Option<u32> {
        self.middle.as_ref().or(self.upstream.as_ref()).map(|it| it.pid)
    }

    /// These processes and what they started, without our own servers; for what is of our own,
    /// the processes alone.
    ///
    /// # Errors
    /// [`Failure::Io`] when they cannot be listed.
    pub(crate) fn family(&self, measured: &[u32]) -> Result<Vec<u32>> {
        let each = measured.iter().map(|pid| procfs::family(*pid));
        each.collect::<Result<Vec<_>>>().map(|it| it.concat())
    }

    /// The upstream, where it is one process.
    pub(crate) fn upstream(&self) -> Option<u32> {
        self.upstream.as_ref().map(|it| it.pid)
    }

    /// Every child behind that has begun to read, by its process id, whether it lives or not.
    ///
    /// # Errors
    /// [`Failure::Io`] when they cannot be listed; they are only where `counted` was wanted.
    pub(crate) fn children(&self) -> Result<Vec<u32>> {
        let Some(folder) = &self.pids else { return Ok(Vec::new()) };
        let entries = std::fs::read_dir(folder).map_err(Failure::io("the children's ids"))?;
        Ok(entries.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok()).collect())
    }

    /// Kills the upstream, and starts it again at its port at once.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub(crate) async fn restart_upstream(&mut self, plan: &Plan, wire: Wire) -> Result<()> {
        let Some(upstream) = self.upstream.take() else { return Ok(()) };
        let addr = upstream.addr;
        upstream.kill().await?;
        self.upstream = Some(self::upstream(plan, wire, addr.port()).await?);
        Ok(())
    }

    /// Kills what stands between, which is the gateway, and starts it again at its port at once.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub(crate) async fn restart_gateway(&mut self, plan: &Plan, folder: &Path) -> Result<()> {
        let Some(gateway) = self.middle.take() else { return Ok(()) };
        let addr = gateway.addr;
        gateway.kill().await?;
        let log = folder.join("gateway-again.log");
        self.middle =
            Some(Process::foreign(&plan.gateway, &self.words, addr, &log, plan.apart.as_ref())?);
        Ok(())
    }

    /// What stands between.
    pub(crate) fn middle(&mut self) -> Option<&mut Process> {
        self.middle.as_mut()
    }

    /// Adds what is left of a process that ended by itself to the cause of a failure.
    pub(crate) fn explain(&mut self, cause: Failure) -> Failure {
        match self.middle.as_mut().map(Process::alive) {
            Some(Err(ended)) => Failure::Process(format!("{cause}; {ended}")),
            _ => cause,
        }
    }

    /// Ends everything, front to back.
    ///
    /// # Errors
    /// [`Failure::Io`] when the system refuses.
    pub(crate) async fn end(self) -> Result<()> {
        for process in [self.middle, self.upstream].into_iter().flatten() {
            process.end().await?;
        }
        Ok(())
    }
}

fn own_door(process: &Process, wire: Wire) -> Target {
    Target::Http { wire, addr: process.addr, path: wire.path().to_owned(), prefix: "", token: None }
}

fn own_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(Failure::io("this program's path"))
}

/// Kills a child that is not ours: one behind the gateway.
///
/// # Errors
/// [`Failure::Io`] when the system refuses.
pub(crate) fn kill(pid: u32) -> Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Err(Failure::Process(format!("{pid} is no process")));
    };
    kill_process(pid, Signal::KILL).map_err(|cause| Failure::io("killing a child")(cause.into()))
}

/// A port that is free now; who finds it taken meanwhile says so in its last words.
async fn free() -> Result<SocketAddr> {
    http::bind(0).await?.local_addr().map_err(Failure::io("a free port"))
}

fn empty(folder: PathBuf) -> Result<PathBuf> {
    let what = || format!("{}", folder.display());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(Failure::io(what()))?;
    }
    std::fs::create_dir(&folder).map_err(Failure::io(what()))?;
    Ok(folder)
}

fn child_args(plan: &Plan, wanted: Wanted, pids: Option<&Path>) -> Vec<String> {
    let wire = Wire::Stdio.in_era(wanted.behind.era());
    let mut args = upstream_args(plan, wire);
    args.extend(pids.map(|it| format!("--pid-dir={}", it.display())));
    if !wanted.start_delay.is_zero() {
        args.push(format!("--start-delay={}", wanted.start_delay.as_millis()));
    }
    args
}

fn upstream_args(plan: &Plan, wire: Wire) -> Vec<String> {
    let mut args = vec!["upstream".to_owned(), format!("--transport={}", wire.text())];
    args.extend(plan.lie.map(|lie| format!("--lie={}", lie.text())));
    args
}

async fn upstream(plan: &Plan, wire: Wire, port: u16) -> Result<Process> {
    let mut args = upstream_args(plan, wire);
    args.push(format!("--port={port}"));
    Process::own(&args, None).await
}

async fn relay(
    plan: &Plan,
    kind: Kind,
    upstream: Option<&Process>,
    behind: Wire,
) -> Result<Process> {
    let mut args = vec!["relay".to_owned(), format!("--kind={}", kind.text())];
    match upstream {
        Some(upstream) => args.push(format!("--to={}", upstream.addr)),
        None => {
            args.push(format!("--child={}", behind.text()));
            args.extend(plan.lie.map(|lie| format!("--lie={}", lie.text())));
        }
    }
    Process::own(&args, plan.apart.as_ref()).await
}

/// Writes its configuration: where it shall listen, its command line, and the doors it will have.
async fn gateway(
    plan: &Plan,
    wanted: Wanted,
    server: &serde_json::Value,
    folder: &Path,
) -> Result<(SocketAddr, Vec<String>, Vec<Target>)> {
    if !plan.gateway.is_file() {
        return Err(Failure::Process(format!("there is no {}", plan.gateway.display())));
    }
    let addr = free().await?;
    let names: Vec<String> = match wanted.servers {
        1 => vec!["up".to_owned()],
        count => (1..=count).map(|nth| format!("up{nth}")).collect(),
    };
    let mut server = server.clone();
    if let (Some(warm), Some(server)) = (wanted.warm, server.as_object_mut()) {
        server.insert("isolation".to_owned(), json!("session"));
        if 0 < warm {
            server.insert("warm".to_owned(), json!(warm));
        }
    }
    let servers: serde_json::Map<_, _> =
        names.iter().map(|name| (name.clone(), server.clone())).collect();
    let mut settings = json!({"listen": addr.to_string()});
    if let (Some(away), Some(settings)) = (wanted.away, settings.as_object_mut()) {
        settings.insert("timeouts".to_owned(), json!({"sseReconnect": away}));
    }
    if let (Some(parked), Some(settings)) = (wanted.parked, settings.as_object_mut()) {
        let limits = json!({"parkedMax": parked, "parkedPerCallerMax": parked});
        settings.insert("limits".to_owned(), limits);
    }
    if let (Leg::Priced(Extra::Tokens), Some(settings)) = (wanted.leg, settings.as_object_mut()) {
        settings.insert("tokens".to_owned(), json!({"bench": TOKEN}));
    }
    if let (Leg::Priced(Extra::Audit), Some(settings)) = (wanted.leg, settings.as_object_mut()) {
        settings.insert("audit".to_owned(), json!({"file": "audit.jsonl"}));
    }
    if let (Leg::Priced(Extra::Metrics), Some(settings)) = (wanted.leg, settings.as_object_mut()) {
        settings.insert("metrics".to_owned(), json!(true));
    }
    if let (Some(idle), Some(settings)) = (wanted.idle, settings.as_object_mut()) {
        let limits = json!({"connectionMax": idle + 1000, "sessionMax": idle + 1000});
        settings.insert("limits".to_owned(), limits);
    }
    let config = json!({"gateway": settings, "mcpServers": servers});
    let file = folder.join("gateway.json");
    std::fs::write(&file, config.to_string())
        .map_err(Failure::io(format!("{}", file.display())))?;
    let mut args =
        vec!["serve".to_owned(), "--config".to_owned(), file.to_string_lossy().into_owned()];
    if wanted.keeps {
        let state = folder.join("state");
        args.extend(["--state-dir".to_owned(), state.to_string_lossy().into_owned()]);
    }
    let token = (wanted.leg == Leg::Priced(Extra::Tokens)).then_some(TOKEN);
    let door = |name: &String| {
        let path = format!("/{name}{}", wanted.front.path());
        Target::Http { wire: wanted.front, addr, path, prefix: "", token }
    };
    Ok((addr, args, names.iter().map(door).collect()))
}
