//! Reports of what the eras cost: a summary of their loads, and calls that wait.

use std::fmt;

use serde::Serialize;

use super::{Ended, LoadReport, markdown::cell};
use crate::{
    plan::Leg,
    stats::{median, ratio},
};

/// Many calls that waited at once.
#[derive(Debug, Serialize)]
pub(crate) struct ParkedSample {
    /// From the first request until the last call waits.
    pub(crate) park_seconds: f64,
    /// Processor time of the gateway until then.
    pub(crate) park_cpu_ms_per_1000: f64,
    /// Memory before.
    pub(crate) rest_kib: u64,
    /// Memory while all of them wait.
    pub(crate) parked_kib: u64,
    /// The difference, for each.
    pub(crate) kib_per_call: f64,
    /// From the first answer of the client until the last call has ended.
    pub(crate) go_on_seconds: f64,
    /// Processor time of the gateway for that.
    pub(crate) go_on_cpu_ms_per_1000: f64,
    /// Memory after all.
    pub(crate) after_kib: u64,
}

/// How one measurement of that ended.
pub(crate) type ParkedOutcome = Ended<ParkedSample>;

/// All measurements of one leg.
#[derive(Debug, Serialize)]
pub(crate) struct ParkedReport {
    case: String,
    leg: &'static str,
    calls: usize,
    at_once: usize,
    status: &'static str,
    reason: Option<String>,
    rounds: Vec<ParkedSample>,
}

impl ParkedOutcome {
    /// For the log of the run.
    pub(crate) fn line(&self) -> String {
        self.line_with(|it| {
            format!(
                "all wait after {:.2} s ({:.1} CPU-ms per 1,000), {:.1} KiB each, all have gone on after {:.2} s ({:.1} CPU-ms per 1,000), {} → {} → {} KiB",
                it.park_seconds,
                it.park_cpu_ms_per_1000,
                it.kib_per_call,
                it.go_on_seconds,
                it.go_on_cpu_ms_per_1000,
                it.rest_kib,
                it.parked_kib,
                it.after_kib
            )
        })
    }
}

impl ParkedReport {
    /// What was measured, in its order.
    pub(crate) fn new(
        case: String,
        leg: &'static str,
        calls: usize,
        at_once: usize,
        outcomes: Vec<ParkedOutcome>,
    ) -> Self {
        let (rounds, status, reason) = Ended::split(outcomes);
        Self { case, leg, calls, at_once, status, reason, rounds }
    }

    /// What went wrong, if anything did.
    pub(super) fn failure(&self) -> Option<String> {
        let reason = self.reason.as_deref().filter(|_| self.status == "failed")?;
        Some(format!("parked, {}, {}: {reason}", self.case, self.leg))
    }

    fn row(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, leg, calls, at_once, status, .. } = self;
        if let Some(reason) = &self.reason {
            let reason = cell(reason);
            return writeln!(out, "| {case} | {leg} | {calls} | {status}: {reason} |||||||");
        }
        let of = |figure: fn(&ParkedSample) -> f64| {
            median(self.rounds.iter().map(figure)).unwrap_or(f64::NAN)
        };
        writeln!(
            out,
            "| {case} | {leg} | {calls} | {at_once} | {:.2} | {:.1} | {:.1} | {:.1} | {:.2} | {:.1} |",
            of(|it| it.park_seconds),
            of(|it| it.park_cpu_ms_per_1000),
            of(|it| it.rest_kib as f64) / 1024.0,
            of(|it| it.kib_per_call),
            of(|it| it.go_on_seconds),
            of(|it| it.go_on_cpu_ms_per_1000)
        )
    }
}

/// The table of calls that waited, if there are any.
pub(super) fn parked(reports: &[ParkedReport], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if reports.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Calls that wait for what their client is asked\n\n| case | leg | calls | connections | s until all wait | CPU-ms per 1,000 | RSS before MiB | KiB per call | s until all have gone on | CPU-ms per 1,000 |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    reports.iter().try_for_each(|it| it.row(out))
}

/// One line for each load that has the gateway on both sides of the eras.
pub(super) fn summary(loads: &[LoadReport], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let legacy = |load: &&LoadReport| load.legs.iter().any(|it| it.leg == Leg::Legacy.name());
    let mut loads = loads.iter().filter(legacy).peekable();
    if loads.peek().is_none() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## The eras: CPU-ms per 1,000 calls\n\nDirect and relay: with a server of the client's era.\n\n| | sessions | direct | relay | gateway between legacy peers | gateway | × direct | × relay | × legacy |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    )?;
    loads.try_for_each(|it| row(it, out))
}

fn row(load: &LoadReport, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let cpu = |name: &str| {
        let leg = load.legs.iter().find(|it| it.leg == name && it.status == "ok")?;
        Some(leg.rounds.iter().map(|it| it.cpu_ms_per_1000).collect::<Vec<f64>>())
    };
    let shown = |it: Option<f64>| it.map_or_else(|| "–".to_owned(), |it| format!("{it:.2}"));
    let relay = load.floor.and_then(cpu);
    let (direct, legacy) = (cpu(Leg::Direct.name()), cpu(Leg::Legacy.name()));
    let gateway = cpu(Leg::Gateway.name());
    write!(out, "| {} {} | {} |", load.workload, load.what, load.sessions)?;
    for leg in [&direct, &relay, &legacy, &gateway] {
        write!(out, " {} |", shown(leg.as_ref().and_then(|it| median(it.iter().copied()))))?;
    }
    for leg in [&direct, &relay, &legacy] {
        let times = gateway.as_ref().zip(leg.as_ref()).and_then(|(ours, it)| ratio(ours, it));
        write!(out, " {} |", shown(times))?;
    }
    writeln!(out)
}
