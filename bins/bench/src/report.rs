//! What was measured, as data: samples, their medians, ratios within the rounds.

mod eras;
mod markdown;
mod recovery;

pub(crate) use eras::{ParkedOutcome, ParkedReport, ParkedSample};
pub(crate) use markdown::cell;
pub(crate) use recovery::{RecoveryOutcome, RecoveryReport, RecoverySample, compare};
use serde::Serialize;

use crate::{
    adverse::AdverseReport,
    aggregate::AggregateReport,
    growth::GrowthReport,
    machine::Machine,
    open::OpenReport,
    peers::Peer,
    plan::{Leg, Plan, Workload},
    stats::{median, ratio},
};

/// Everything one run has found.  Its JSON form is `gateway-bench/1`: fields are added, not changed.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: &'static str,
    machine: Machine,
    settings: Settings,
    /// Loads.
    pub(crate) loads: Vec<LoadReport>,
    /// Latencies at a rate.
    pub(crate) open: Vec<OpenReport>,
    /// More and more sessions and servers.
    pub(crate) growth: Vec<GrowthReport>,
    /// A normal session beside others.
    pub(crate) adverse: Vec<AdverseReport>,
    /// Idle sessions.
    pub(crate) idle: Vec<IdleReport>,
    /// Cold starts.
    pub(crate) cold: Vec<ColdReport>,
    /// Closed sessions.
    pub(crate) slopes: Vec<SlopeReport>,
    /// Many servers as one.
    pub(crate) aggregate: Vec<AggregateReport>,
    /// From a death to the next answer.
    pub(crate) recovery: Vec<RecoveryReport>,
    /// Calls that wait for their client.
    pub(crate) parked: Vec<ParkedReport>,
}

#[derive(Debug, Serialize)]
struct Settings {
    seconds: f64,
    rounds: usize,
    generator_threads: usize,
    gateway: String,
    peers: Vec<PeerNote>,
}

/// A program of others that was asked for.
#[derive(Debug, Serialize)]
struct PeerNote {
    name: &'static str,
    package: &'static str,
    /// Where it is there.
    version: Option<String>,
}

/// How one measurement of one leg ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ended<T> {
    /// With figures.
    Done(T),
    /// It could not be started: no figures, and none are made up.
    No(String),
    /// It was started, and something went wrong: the run fails.
    Failed(String),
}

/// Of a load.
pub(crate) type Outcome = Ended<Sample>;
/// Of idle sessions.
pub(crate) type IdleOutcome = Ended<IdleSample>;
/// Of closed sessions.
pub(crate) type SlopeOutcome = Ended<SlopeSample>;
/// Of a cold start.
pub(crate) type ColdOutcome = Ended<ColdSample>;

/// One measurement of a load.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// Answered and right.
    pub(crate) calls: u64,
    /// In this time.
    pub(crate) seconds: f64,
    /// The quotient.
    pub(crate) calls_per_second: f64,
    /// Processor time of the measured process.
    pub(crate) cpu_ms_per_1000: f64,
    /// Of the upstream, where it is a process of ours.
    pub(crate) upstream_cpu_ms_per_1000: Option<f64>,
    /// Of the generator: what it takes, the others lack.
    pub(crate) generator_cpu_ms_per_1000: f64,
    /// Latency.
    pub(crate) p50_us: f64,
    /// Latency.
    pub(crate) p99_us: f64,
    /// Latency.
    pub(crate) p999_us: f64,
    /// Memory at the end.
    pub(crate) rss_kib: u64,
    /// Memory at most.
    pub(crate) peak_kib: u64,
    /// The share of the machine which others used meanwhile, 0–1.
    pub(crate) foreign_cpu: f64,
}

/// One leg of a load.
#[derive(Debug, Serialize)]
pub(crate) struct LegReport {
    leg: &'static str,
    /// `ok`, `no` or `failed`.
    status: &'static str,
    /// Why not `ok`.
    reason: Option<String>,
    rounds: Vec<Sample>,
    median: Option<Median>,
    to_floor: Option<Ratios>,
    to_direct: Option<Ratios>,
}

#[derive(Debug, Serialize)]
struct Median {
    calls_per_second: f64,
    cpu_ms_per_1000: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    rss_kib: f64,
    peak_kib: f64,
    foreign_cpu: f64,
}

/// Medians of the ratios of each round.
#[derive(Debug, Serialize)]
struct Ratios {
    cpu: Option<f64>,
    calls_per_second: Option<f64>,
    p50: Option<f64>,
    p99: Option<f64>,
}

/// One workload with one number of sessions.
#[derive(Debug, Serialize)]
pub(crate) struct LoadReport {
    workload: &'static str,
    what: &'static str,
    sessions: usize,
    floor: Option<&'static str>,
    legs: Vec<LegReport>,
}

/// Memory with idle sessions.
#[derive(Debug, Serialize)]
pub(crate) struct IdleSample {
    /// With none.
    pub(crate) rest_kib: u64,
    /// With all.
    pub(crate) full_kib: u64,
    /// The difference, for each.
    pub(crate) per_session_kib: f64,
    /// The same without the first tenth, in which arenas and tables are set up.
    pub(crate) marginal_kib: Option<f64>,
}

/// One leg of one case of idle sessions.
#[derive(Debug, Serialize)]
pub(crate) struct IdleReport {
    /// Front and back.
    pub(crate) case: String,
    /// The leg.
    pub(crate) leg: &'static str,
    /// How many.
    pub(crate) sessions: usize,
    /// How it ended.
    pub(crate) outcome: IdleOutcome,
}

/// Memory after many sessions that were opened, used and closed.
#[derive(Debug, Serialize)]
pub(crate) struct SlopeSample {
    /// How many.
    pub(crate) sessions: usize,
    /// So many were opened, used and closed in a second.
    pub(crate) sessions_per_second: f64,
    /// After the first fifth.
    pub(crate) warm_kib: u64,
    /// At the end.
    pub(crate) end_kib: u64,
    /// The slope of the line through all readings after the first fifth.
    pub(crate) bytes_per_session: Option<f64>,
    /// All readings, after equally many sessions each.
    pub(crate) points_kib: Vec<u64>,
}

/// One leg of one case of closed sessions.
#[derive(Debug, Serialize)]
pub(crate) struct SlopeReport {
    /// Front and back.
    pub(crate) case: String,
    /// The leg.
    pub(crate) leg: &'static str,
    /// How it ended.
    pub(crate) outcome: SlopeOutcome,
}

/// Times of one cold start.
#[derive(Debug, Serialize)]
pub(crate) struct ColdSample {
    /// Until the port accepts; without anything between there is none.
    pub(crate) listening_ms: Option<f64>,
    /// Until the first server's tools are listed.
    pub(crate) first_list_ms: f64,
    /// Until every server's are.
    pub(crate) every_list_ms: f64,
}

/// One leg of a number of servers: medians.
#[derive(Debug, Serialize)]
pub(crate) struct ColdReport {
    leg: &'static str,
    servers: usize,
    status: &'static str,
    reason: Option<String>,
    starts: usize,
    listening_ms: Option<f64>,
    first_list_ms: Option<f64>,
    every_list_ms: Option<f64>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(plan: &Plan, machine: Machine) -> Self {
        Self {
            schema: "gateway-bench/1",
            machine,
            settings: Settings {
                seconds: plan.seconds,
                rounds: plan.rounds,
                generator_threads: plan.threads,
                gateway: plan.gateway.display().to_string(),
                peers: plan.peers.iter().map(|it| PeerNote::new(plan, *it)).collect(),
            },
            loads: Vec::new(),
            open: Vec::new(),
            growth: Vec::new(),
            adverse: Vec::new(),
            idle: Vec::new(),
            cold: Vec::new(),
            slopes: Vec::new(),
            recovery: Vec::new(),
            aggregate: Vec::new(),
            parked: Vec::new(),
        }
    }

    /// Notes what is known only at the end.
    pub(crate) fn finish(&mut self) {
        self.machine.finish();
    }

    /// The first thing that went wrong.
    pub(crate) fn failure(&self) -> Option<String> {
        let loads = self.loads.iter().flat_map(|load| {
            load.legs.iter().filter(|leg| leg.status == "failed").map(move |leg| {
                let reason = leg.reason.as_deref().unwrap_or_default();
                format!("{} with {} sessions, {}: {reason}", load.workload, load.sessions, leg.leg)
            })
        });
        let idle = self.idle.iter().filter_map(|idle| match &idle.outcome {
            Ended::Failed(reason) => Some(format!("idle {}, {}: {reason}", idle.case, idle.leg)),
            Ended::Done(_) | Ended::No(_) => None,
        });
        let cold =
            self.cold.iter().filter(|it| it.status == "failed").map(|it| {
                format!("cold, {}: {}", it.leg, it.reason.as_deref().unwrap_or_default())
            });
        let slopes = self.slopes.iter().filter_map(|slope| match &slope.outcome {
            Ended::Failed(reason) => Some(format!("slope {}, {}: {reason}", slope.case, slope.leg)),
            Ended::Done(_) | Ended::No(_) => None,
        });
        let recovery = self.recovery.iter().filter_map(RecoveryReport::failure);
        let parked = self.parked.iter().filter_map(ParkedReport::failure);
        let loads = loads.chain(self.open.iter().filter_map(OpenReport::failure));
        let loads = loads.chain(self.growth.iter().filter_map(GrowthReport::failure));
        let loads = loads.chain(self.adverse.iter().filter_map(AdverseReport::failure));
        loads.chain(idle).chain(cold).chain(slopes).chain(recovery).chain(parked).next()
    }
}

impl PeerNote {
    fn new(plan: &Plan, peer: Peer) -> Self {
        let version = plan.parts.version(peer).map(str::to_owned);
        Self { name: peer.text(), package: peer.package(), version }
    }
}

impl<T> Ended<T> {
    /// Several ends as one: figures, and what kept us from more of them.
    pub(crate) fn split(ends: Vec<Self>) -> (Vec<T>, &'static str, Option<String>) {
        let (mut done, mut status, mut reason) = (Vec::new(), "ok", None);
        for end in ends {
            match end {
                Self::Done(it) => done.push(it),
                Self::No(why) => (status, reason) = ("no", Some(why)),
                Self::Failed(why) => (status, reason) = ("failed", Some(why)),
            }
        }
        (done, status, reason)
    }

    fn line_with(&self, shown: impl FnOnce(&T) -> String) -> String {
        match self {
            Self::Done(it) => shown(it),
            Self::No(why) => format!("no ({why})"),
            Self::Failed(why) => format!("FAILED: {why}"),
        }
    }
}

impl Outcome {
    /// For the log of the run.
    pub(crate) fn line(&self) -> String {
        self.line_with(|it| {
            format!(
                "{:.0} calls/s, {:.2} CPU-ms per 1,000, p50 {:.0} µs, p99 {:.0} µs (generator {:.1}, others {:.0} % of the machine)",
                it.calls_per_second,
                it.cpu_ms_per_1000,
                it.p50_us,
                it.p99_us,
                it.generator_cpu_ms_per_1000,
                it.foreign_cpu * 100.0
            )
        })
    }
}

impl IdleOutcome {
    /// For the log of the run.
    pub(crate) fn line(&self) -> String {
        self.line_with(|it| {
            format!("{} KiB at rest, {:.1} KiB per session", it.rest_kib, it.per_session_kib)
        })
    }
}

impl SlopeOutcome {
    /// For the log of the run.
    pub(crate) fn line(&self) -> String {
        self.line_with(|it| {
            let slope = it.bytes_per_session.unwrap_or(f64::NAN);
            format!(
                "{} sessions, {:.0} a second: {} to {} KiB, {slope:.2} bytes per session",
                it.sessions, it.sessions_per_second, it.warm_kib, it.end_kib
            )
        })
    }
}

impl LegReport {
    /// Medians of what was measured.
    pub(crate) fn new(leg: Leg, outcomes: Vec<Outcome>) -> Self {
        let (rounds, status, reason) = Ended::split(outcomes);
        let of = |figure: fn(&Sample) -> f64| median(rounds.iter().map(figure));
        let all = || {
            Some(Median {
                calls_per_second: of(|it| it.calls_per_second)?,
                cpu_ms_per_1000: of(|it| it.cpu_ms_per_1000)?,
                p50_us: of(|it| it.p50_us)?,
                p99_us: of(|it| it.p99_us)?,
                p999_us: of(|it| it.p999_us)?,
                rss_kib: of(|it| it.rss_kib as f64)?,
                peak_kib: of(|it| it.peak_kib as f64)?,
                foreign_cpu: of(|it| it.foreign_cpu)?,
            })
        };
        let median = if status == "ok" { all() } else { None };
        Self { leg: leg.name(), status, reason, rounds, median, to_floor: None, to_direct: None }
    }

    fn to(&self, other: &Self) -> Option<Ratios> {
        let of = |figure: fn(&Sample) -> f64| {
            let ours: Vec<f64> = self.rounds.iter().map(figure).collect();
            let theirs: Vec<f64> = other.rounds.iter().map(figure).collect();
            ratio(&ours, &theirs)
        };
        let comparable = self.status == "ok" && other.status == "ok" && self.leg != other.leg;
        comparable.then(|| Ratios {
            cpu: of(|it| it.cpu_ms_per_1000),
            calls_per_second: of(|it| it.calls_per_second),
            p50: of(|it| it.p50_us),
            p99: of(|it| it.p99_us),
        })
    }
}

impl LoadReport {
    /// Compares the legs.
    pub(crate) fn new(workload: &Workload, sessions: usize, mut legs: Vec<LegReport>) -> Self {
        let relay = workload.legs.iter().find(|it| matches!(it, Leg::Relay(_)));
        // Where there is none, what is switched on is compared with the gateway without it.
        let floor = relay.or_else(|| workload.legs.first().filter(|it| **it == Leg::Gateway));
        let floor = floor.map(|it| it.name());
        let compare = |legs: &[LegReport], name: Option<&str>| -> Vec<Option<Ratios>> {
            let other = legs.iter().find(|it| Some(it.leg) == name);
            legs.iter().map(|leg| leg.to(other?)).collect()
        };
        let to_floor = compare(&legs, floor);
        let to_direct = compare(&legs, Some(Leg::Direct.name()));
        for ((leg, floor), direct) in legs.iter_mut().zip(to_floor).zip(to_direct) {
            (leg.to_floor, leg.to_direct) = (floor, direct);
        }
        Self { workload: workload.name, what: workload.what, sessions, floor, legs }
    }
}

impl ColdReport {
    /// Medians of what was measured.
    pub(crate) fn new(leg: Leg, servers: usize, outcomes: Vec<ColdOutcome>) -> Self {
        let (starts, status, reason) = Ended::split(outcomes);
        Self {
            leg: leg.name(),
            servers,
            status,
            reason,
            starts: starts.len(),
            listening_ms: median(starts.iter().filter_map(|it| it.listening_ms)),
            first_list_ms: median(starts.iter().map(|it| it.first_list_ms)),
            every_list_ms: median(starts.iter().map(|it| it.every_list_ms)),
        }
    }

    /// For the log of the run.
    pub(crate) fn line(&self) -> String {
        match (self.first_list_ms, self.every_list_ms, &self.reason) {
            (_, _, Some(reason)) => format!("{} ({reason})", self.status),
            (Some(first), Some(every), None) => {
                let listening = self
                    .listening_ms
                    .map_or_else(String::new, |it| format!("listening {it:.1} ms, "));
                format!("{listening}first list {first:.1} ms, every list {every:.1} ms")
            }
            _ => "nothing measured".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
