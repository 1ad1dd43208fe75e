//! What is measured: workloads, legs, and how long.

mod workloads;

use std::{path::PathBuf, time::Duration};

pub(crate) use self::workloads::WORKLOADS;
use crate::{
    apart::Apart,
    args::Args,
    client::Wire,
    error::{Failure, Result},
    load::Manner,
    modern::Era,
    peers::{Parts, Peer},
    relay::Kind,
    rpc::Ask,
    upstream::Lie,
};

/// What stands between the generator and the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leg {
    /// Nothing.
    Direct,
    /// A bare relay.
    Relay(Kind),
    /// A program of others.
    Peer(Peer),
    /// The gateway between a client and a server with a handshake, on the same transports.
    Legacy,
    /// The gateway.
    Gateway,
    /// The gateway with something switched on that costs.
    Priced(Extra),
}

/// What a gateway may do beside forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extra {
    /// It lets nobody in without a token.
    Tokens,
    /// It counts what passes.
    Metrics,
    /// It writes down who called what.
    Audit,
}

impl Leg {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relay(kind) => kind.text(),
            Self::Peer(peer) => peer.text(),
            Self::Legacy => "gateway-legacy",
            Self::Gateway => "gateway",
            Self::Priced(Extra::Tokens) => "gateway-tokens",
            Self::Priced(Extra::Metrics) => "gateway-metrics",
            Self::Priced(Extra::Audit) => "gateway-audit",
        }
    }

    /// Is the gateway what is measured?
    pub(crate) fn is_gateway(self) -> bool {
        matches!(self, Self::Legacy | Self::Gateway | Self::Priced(_))
    }

    /// Is it a program of others?
    pub(crate) fn is_peer(self) -> bool {
        matches!(self, Self::Peer(_))
    }

    /// Why it cannot stand between these two; `None` if it can.
    pub(crate) fn cannot(self, front: Wire, behind: Wire) -> Option<&'static str> {
        match self {
            Self::Peer(peer) => peer.cannot(front, behind),
            _ => None,
        }
    }

    /// What is in front and behind where this is measured beside a gateway between these two: what
    /// does not translate has a server of its client's era.
    pub(crate) fn wires(self, front: Wire, behind: Wire) -> (Wire, Wire) {
        match self {
            Self::Gateway | Self::Priced(_) | Self::Peer(_) => (front, behind),
            Self::Legacy => (front.in_era(Era::Legacy), behind.in_era(Era::Legacy)),
            Self::Direct | Self::Relay(_) => (front, behind.in_era(front.era())),
        }
    }
}

/// One kind of load.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// Its name on the command line and in reports.
    pub(crate) name: &'static str,
    /// In words.
    pub(crate) what: &'static str,
    /// The transport in front.
    pub(crate) front: Wire,
    /// The transport behind.
    pub(crate) behind: Wire,
    /// What is asked.
    pub(crate) ask: Ask,
    /// What is measured beside each other; the first relay is the floor.
    pub(crate) legs: &'static [Leg],
    /// How calls follow one another.
    pub(crate) manner: Manner,
}

/// What one run measures.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Loads.
    pub(crate) workloads: Vec<Workload>,
    /// Memory of idle sessions?
    pub(crate) idle: bool,
    /// Times of a cold start?
    pub(crate) cold: bool,
    /// What is left of closed sessions?
    pub(crate) slope: bool,
    /// Many servers as one?
    pub(crate) aggregate: bool,
    /// So many of them, one measurement each.
    pub(crate) aggregate_servers: Vec<usize>,
    /// Times from a death to the next answer?
    pub(crate) recovery: bool,
    /// Calls that wait for their client?
    pub(crate) parked: bool,
    /// A normal session beside slow ones and beside a flood?
    pub(crate) adverse: bool,
    /// More and more sessions and servers?
    pub(crate) growth: bool,
    /// So many sessions, one measurement each.
    pub(crate) growth_sessions: Vec<usize>,
    /// So many servers, one measurement each.
    pub(crate) growth_servers: Vec<usize>,
    /// Latencies at a rate?
    pub(crate) open: bool,
    /// What is measured has processors of its own.
    pub(crate) apart: Option<Apart>,
    /// That rate, in calls a second; else half of what the gateway answers at most.
    pub(crate) rate: Option<f64>,
    /// Sessions at once, one measurement each.
    pub(crate) sessions: Vec<usize>,
    /// Idle sessions.
    pub(crate) idle_sessions: usize,
    /// Sessions opened and closed one after the other.
    pub(crate) slope_sessions: usize,
    /// Calls that wait at once.
    pub(crate) parked_calls: usize,
    /// Servers of a cold start, one measurement each.
    pub(crate) cold_servers: Vec<usize>,
    /// Of one measurement.
    pub(crate) seconds: f64,
    /// Interleaved repetitions.
    pub(crate) rounds: usize,
    /// Of the generator.
    pub(crate) threads: usize,
    /// One call may take this long.
    pub(crate) call_timeout: Duration,
    /// The gateway under test.
    pub(crate) gateway: PathBuf,
    /// Programs of others that are measured beside it.
    pub(crate) peers: Vec<Peer>,
    /// Where those are.
    pub(crate) parts: Parts,
    /// Legs to leave out of those of a workload.
    pub(crate) legs: Option<Vec<String>>,
    /// The upstream answers wrongly now and then: the run must fail.
    pub(crate) lie: Option<Lie>,
    /// Does what is started run slowly, as under an observer?
    pub(crate) patient: bool,
    /// Is a gateway that cannot be started a failure?
    pub(crate) require_gateway: bool,
    /// Where to write the report as JSON.
    pub(crate) json: Option<PathBuf>,
    /// Where to write it as Markdown.
    pub(crate) markdown: Option<PathBuf>,
}

/// What is measured besides calls in a closed loop.
const OTHERS: [&str; 9] =
    ["idle", "cold", "slope", "recovery", "parked", "aggregate", "open", "growth", "adverse"];
/// The options of `run` that take a value.
pub(crate) const VALUED: [&str; 21] = [
    "--growth-sessions",
    "--growth-servers",
    "--rate",
    "--peers",
    "--peer-parts",
    "--workload",
    "--sessions",
    "--idle-sessions",
    "--slope-sessions",
    "--parked-calls",
    "--cold-servers",
    "--aggregate-servers",
    "--seconds",
    "--rounds",
    "--threads",
    "--call-timeout",
    "--gateway",
    "--legs",
    "--lie",
    "--json",
    "--markdown",
];
/// The options of `run` that take none.
pub(crate) const FLAGS: [&str; 2] = ["--quick", "--require-gateway"];

/// Of `--sessions` and `--idle-sessions`: each needs descriptors on both sides.
const SESSIONS_MAX: usize = 10_000;
/// Of `--slope-sessions`.
const SLOPE_SESSIONS_MAX: usize = 10_000_000;
/// Of `--parked-calls`: each needs a descriptor, behind and at the server.
const PARKED_CALLS_MAX: usize = 15_000;
/// Of `--cold-servers`.
const SERVERS_MAX: usize = 100;
/// Of `--growth-servers`.
const CONFIGURED_SERVERS_MAX: usize = 10_000;
/// Of `--seconds`.
const SECONDS_MAX: f64 = 600.0;
/// Of `--rate`.
const RATE_MAX: f64 = 1_000_000.0;
/// Of `--rounds`.
const ROUNDS_MAX: usize = 100;

impl Plan {
    /// Reads the options of `run`.
    ///
    /// # Errors
    /// [`Failure::Usage`] for what is unknown or beyond a limit.
    pub(crate) fn read(args: &Args) -> Result<Self> {
        let quick = args.flag("--quick");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let names = args.list::<String>("--workload")?;
        let default = ["W1", "W3", "W4", "W5", "idle", "cold"].map(str::to_owned).to_vec();
        let names = names.unwrap_or(default);
        let (workloads, others) = select(&names)?;
        let idle_sessions = match names.iter().any(|it| it == "W6") {
            _ if quick => 200,
            true => 10_000,
            false => 1000,
        };
        let plan = Self {
            workloads,
            idle: others.contains(&"idle"),
            cold: others.contains(&"cold"),
            slope: others.contains(&"slope"),
            recovery: others.contains(&"recovery"),
            aggregate: others.contains(&"aggregate"),
            aggregate_servers: args.list("--aggregate-servers")?.unwrap_or_else(|| vec![1, 10, 50]),
            parked: others.contains(&"parked"),
            adverse: others.contains(&"adverse"),
            growth: others.contains(&"growth"),
            growth_sessions: args
                .list("--growth-sessions")?
                .unwrap_or_else(|| if quick { vec![8, 200] } else { vec![8, 1000, 10_000] }),
            growth_servers: args
                .list("--growth-servers")?
                .unwrap_or_else(|| if quick { vec![1, 50] } else { vec![1, 100, 1000] }),
            open: others.contains(&"open"),
            apart: None,
            rate: args.text("--rate").map(|_| args.value("--rate", 0.0)).transpose()?,
            sessions: args
                .list("--sessions")?
                .unwrap_or_else(|| if quick { vec![8] } else { vec![1, 8, 64] }),
            idle_sessions: args.value("--idle-sessions", idle_sessions)?,
            slope_sessions: args.value("--slope-sessions", if quick { 2000 } else { 100_000 })?,
            parked_calls: args.value("--parked-calls", if quick { 500 } else { 10_000 })?,
            cold_servers: args.list("--cold-servers")?.unwrap_or_else(|| vec![1, 10, 50]),
            seconds: args.value("--seconds", if quick { 1.0 } else { 2.0 })?,
            rounds: args.value("--rounds", if quick { 1 } else { 3 })?,
            threads: args.value("--threads", cores.min(2))?,
            call_timeout: Duration::from_secs(args.value("--call-timeout", 30)?),
            gateway: args.text("--gateway").map_or_else(beside_us, |it| Ok(it.into()))?,
            peers: peers(args.text("--peers").unwrap_or("none"))?,
            parts: args
                .text("--peer-parts")
                .map_or_else(|| Ok(Parts::default()), |it| Parts::read(it.as_ref()))?,
            legs: args.list("--legs")?,
            lie: args.text("--lie").map(parse_lie).transpose()?,
            patient: false,
            require_gateway: args.flag("--require-gateway"),
            json: args.text("--json").map(PathBuf::from),
            markdown: args.text("--markdown").map(PathBuf::from),
        };
        plan.check()?;
        Ok(plan)
    }

    /// For a gateway that is observed, and takes many times as long for everything.
    ///
    /// # Errors
    /// As [`Plan::read`].
    pub(crate) fn patient(gateway: PathBuf) -> Result<Self> {
        let words = ["--call-timeout=120".to_owned(), "--require-gateway".to_owned()];
        let plan = Self::read(&Args::read(words, &VALUED, &FLAGS)?)?;
        Ok(Self { gateway, patient: true, ..plan })
    }

    /// The legs of a workload that were not left out.
    pub(crate) fn legs<'a>(&'a self, legs: &'a [Leg]) -> impl Iterator<Item = Leg> + 'a {
        let wanted = |leg: &Leg| {
            self.legs.as_ref().is_none_or(|names| names.iter().any(|it| it == leg.name()))
        };
        legs.iter().copied().filter(wanted)
    }

    /// The same for a load, with the peers before the gateway.
    pub(crate) fn legs_of(&self, workload: &Workload) -> Vec<Leg> {
        let mut legs: Vec<Leg> = self.legs(workload.legs).collect();
        let before = legs.iter().position(|it| it.is_gateway()).unwrap_or(legs.len());
        // Where only the gateway is compared with itself there is nothing beside it.
        if !legs.contains(&Leg::Priced(Extra::Tokens)) {
            legs.splice(before..before, self.peers.iter().map(|it| Leg::Peer(*it)));
        }
        legs
    }

    fn check(&self) -> Result<()> {
        let all = self.sessions.iter().chain(&self.growth_sessions).chain([&self.idle_sessions]);
        let sessions = all.clone().all(|it| (1..=SESSIONS_MAX).contains(it));
        let servers = self
            .cold_servers
            .iter()
            .chain(&self.aggregate_servers)
            .all(|it| (1..=SERVERS_MAX).contains(it));
        let configured =
            self.growth_servers.iter().all(|it| (1..=CONFIGURED_SERVERS_MAX).contains(it));
        let slope = (1..=SLOPE_SESSIONS_MAX).contains(&self.slope_sessions);
        let parked = (1..=PARKED_CALLS_MAX).contains(&self.parked_calls);
        let rounds = (1..=ROUNDS_MAX).contains(&self.rounds);
        let seconds = (0.05..=SECONDS_MAX).contains(&self.seconds);
        let threads = (1..=64).contains(&self.threads);
        let rate = self.rate.is_none_or(|it| (1.0..=RATE_MAX).contains(&it));
        let timeout = (1..=600).contains(&self.call_timeout.as_secs());
        for (good, rule) in [
            (sessions, format!("sessions are 1 to {SESSIONS_MAX}")),
            (servers, format!("servers are 1 to {SERVERS_MAX}")),
            (configured, format!("configured servers are 1 to {CONFIGURED_SERVERS_MAX}")),
            (slope, format!("sessions opened and closed are 1 to {SLOPE_SESSIONS_MAX}")),
            (parked, format!("calls that wait are 1 to {PARKED_CALLS_MAX}")),
            (rounds, format!("rounds are 1 to {ROUNDS_MAX}")),
            (seconds, format!("seconds are 0.05 to {SECONDS_MAX}")),
            (rate, format!("the rate is 1 to {RATE_MAX} calls a second")),
            (threads, "threads are 1 to 64".to_owned()),
            (timeout, "the time-out of a call is 1 to 600 seconds".to_owned()),
        ] {
            if !good {
                return Err(Failure::Usage(rule));
            }
        }
        Ok(())
    }
}

/// Reads `--lie`.
///
/// # Errors
/// [`Failure::Usage`] for an unknown way to lie.
pub(crate) fn parse_lie(text: &str) -> Result<Lie> {
    text.parse().map_err(|()| Failure::Usage(format!("--lie: id or content, not {text}")))
}

/// Reads `--peers`.
fn peers(text: &str) -> Result<Vec<Peer>> {
    match text {
        "all" => Ok(Peer::ALL.to_vec()),
        "none" => Ok(Vec::new()),
        names => {
            let peer = |name: &str| {
                let unknown = || {
                    let all = Peer::ALL.map(Peer::text).join(" ");
                    Failure::Usage(format!("--peers: no {name}; there are all none {all}"))
                };
                name.trim().parse().map_err(|()| unknown())
            };
            names.split(',').map(peer).collect()
        }
    }
}

fn select(names: &[String]) -> Result<(Vec<Workload>, Vec<&'static str>)> {
    let (mut workloads, mut others) = (Vec::new(), Vec::new());
    for name in names {
        // `W2` stands for all of its sizes, `eras` for all that compare those.
        let named = |it: &&Workload| {
            (name == "eras" || name == "W9") && it.name.starts_with('E')
                || it
                    .name
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let found: Vec<&Workload> = WORKLOADS.iter().filter(named).collect();
        let other = match name.as_str() {
            "W6" => "idle",
            "W8" => "cold",
            "W10" => "aggregate",
            "W11" => "adverse",
            name => name,
        };
        match OTHERS.into_iter().find(|it| *it == other) {
            Some(other) => others.push(other),
            None if found.is_empty() => {
                let known = WORKLOADS.each_ref().map(|it| it.name).join(" ");
                return Err(Failure::Usage(format!(
                    "no workload {name}; there are {known} eras {}",
                    OTHERS.join(" ")
                )));
            }
            None => workloads.extend(found.into_iter().cloned()),
        }
    }
    Ok((workloads, others))
}

/// `cargo` puts the gateway beside us.
fn beside_us() -> Result<PathBuf> {
    let me = std::env::current_exe().map_err(Failure::io("this program's path"))?;
    Ok(me.with_file_name("gateway"))
}

#[cfg(test)]
mod tests;
