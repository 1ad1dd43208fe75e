//! A normal session beside others that are not: some that ask for much and do not read it, and a
//! flood of calls.

use std::{fmt, path::Path, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use crate::{
    client::{Session, Target, Wire},
    error::{Failure, Result},
    load::{Load, Manner},
    plan::{Leg, Plan},
    procfs,
    relay::Kind,
    report::{Ended, cell},
    rpc::Ask,
    stack::{Stack, Wanted},
    stats::median,
};

/// Sessions that do not read what they asked for.
const SLOW: usize = 16;
/// What each of them asked for, in bytes: more than all buffers on the way hold.
const SLOW_BYTES: usize = 8 << 20;
/// Sessions of the flood, each with a call under way.
const FLOOD: usize = 64;
/// Until what is beside it has its full effect.
const SETTLE: Duration = Duration::from_millis(300);

const LEGS: &[Leg] = &[Leg::Direct, Leg::Relay(Kind::HyperStream), Leg::Gateway];

/// What is beside the normal session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nobody,
    Slow,
    Flood,
}

const ALL: [Beside; 3] = [Beside::Nobody, Beside::Slow, Beside::Flood];

/// One measurement of the normal session.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct AdverseSample {
    p50_us: f64,
    p99_us: f64,
    calls_per_second: f64,
    /// Memory of the measured processes at most.
    peak_kib: u64,
}

/// One leg beside one kind of others.
#[derive(Debug, Serialize)]
pub(crate) struct AdverseReport {
    beside: &'static str,
    leg: &'static str,
    status: &'static str,
    reason: Option<String>,
    rounds: Vec<AdverseSample>,
}

impl Beside {
    fn text(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Slow => "16 that do not read 8 MiB each",
            Self::Flood => "64 that call as fast as they can",
        }
    }
}

/// Measures every leg beside everything, in interleaved rounds.
///
/// # Errors
/// As [`crate::rounds::measure`].
pub(crate) async fn measure(plan: &Plan, folder: &Path) -> Result<Vec<AdverseReport>> {
    let legs: Vec<Leg> =
        plan.legs(LEGS).chain(plan.peers.iter().map(|it| Leg::Peer(*it))).collect();
    let mut all: Vec<(Beside, Leg, Vec<Ended<AdverseSample>>)> = ALL
        .into_iter()
        .flat_map(|beside| legs.iter().map(move |leg| (beside, *leg, Vec::new())))
        .collect();
    for _ in 0..plan.rounds {
        for (beside, leg, outcomes) in &mut all {
            if outcomes.iter().all(|it| matches!(it, Ended::Done(_))) {
                outcomes.push(once(plan, *beside, *leg, folder).await?);
            }
        }
    }
    let report = |(beside, leg, outcomes): (Beside, Leg, Vec<_>)| {
        let report = AdverseReport::new(beside, leg, outcomes);
        crate::say(&format!("adverse · beside {} · {}", report.beside, report.line()));
        report
    };
    Ok(all.into_iter().map(report).collect())
}

async fn once(
    plan: &Plan,
    beside: Beside,
    leg: Leg,
    folder: &Path,
) -> Result<Ended<AdverseSample>> {
    let wire = Wire::Streamable;
    if let Some(why) = leg.cannot(wire, wire) {
        return Ok(Ended::No(why.to_owned()));
    }
    let mut stack = match Stack::start(plan, Wanted::of(leg, wire, wire), folder).await {
        Ok(stack) => stack,
        Err(cause) if leg.is_peer() || leg.is_gateway() && !plan.require_gateway => {
            return Ok(Ended::No(cause.to_string()));
        }
        Err(cause) if leg.is_gateway() => return Ok(Ended::Failed(cause.to_string())),
        Err(cause) => return Err(cause),
    };
    let outcome = match sample(plan, beside, &stack).await {
        Ok(sample) => Ended::Done(sample),
        Err(cause) if leg.is_peer() => Ended::No(stack.explain(cause).to_string()),
        Err(cause) => Ended::Failed(stack.explain(cause).to_string()),
    };
    stack.end().await?;
    Ok(outcome)
}

async fn sample(plan: &Plan, beside: Beside, stack: &Stack) -> Result<AdverseSample> {
    let none = || Failure::Process("nothing to measure".to_owned());
    let door = stack.doors.first().ok_or_else(none)?;
    let pid = stack.measured().ok_or_else(none)?;
    let ask = Ask::Echo(100);
    // Held to the end: who is dropped is there no longer.
    let (mut slow, mut flood) = (Vec::new(), None);
    match beside {
        Beside::Nobody => {}
        Beside::Slow => {
            for nth in 0..SLOW {
                slow.push(stall(plan, door, nth).await?);
            }
        }
        Beside::Flood => {
            let mut load = Load::open(plan, door, &ask, FLOOD, Manner::Steady).await?;
            load.start()?;
            flood = Some(load);
        }
    }
    let mut normal = Load::open(plan, door, &ask, 1, Manner::Steady).await?;
    normal.start()?;
    normal.wait(SETTLE).await;
    normal.record();
    let (before, since) = (normal.calls(), Instant::now());
    let time = Duration::from_secs_f64(plan.seconds);
    normal.wait(time).await;
    // On a busy machine the first answer may be late; without one there is nothing to tell.
    while normal.calls() == before && since.elapsed() < plan.call_timeout {
        normal.wait(time).await;
    }
    let (calls, time) = (normal.calls() - before, since.elapsed());
    if calls == 0 {
        return Err(Failure::Peer(format!("not one call was answered in {time:?}")));
    }
    let memory = procfs::memory(&stack.family(&[pid])?)?;
    let latencies = normal.finish().await?;
    drop(slow);
    if let Some(flood) = flood {
        flood.finish().await?;
    }
    let us = |quantile| latencies.quantile(quantile).map_or(f64::NAN, |ns| ns as f64 / 1000.0);
    Ok(AdverseSample {
        p50_us: us(0.5),
        p99_us: us(0.99),
        calls_per_second: calls as f64 / time.as_secs_f64(),
        peak_kib: memory.peak_kib,
    })
}

/// A session that asks for much and reads nothing of it.
async fn stall(plan: &Plan, door: &Target, nth: usize) -> Result<Session> {
    let mut session = Session::open(door, plan.call_timeout).await?;
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":{nth},"method":"tools/call","params":{{"name":"blob","arguments":{{"bytes":{SLOW_BYTES}}}}}}}"#
    );
    session.stall(call.into()).await?;
    Ok(session)
}

impl AdverseReport {
    fn new(beside: Beside, leg: Leg, outcomes: Vec<Ended<AdverseSample>>) -> Self {
        let (rounds, status, reason) = Ended::split(outcomes);
        Self { beside: beside.text(), leg: leg.name(), status, reason, rounds }
    }

    /// What went wrong, if something did.
    pub(crate) fn failure(&self) -> Option<String> {
        let reason = self.reason.as_deref().unwrap_or_default();
        (self.status == "failed").then(|| format!("beside {}, {}: {reason}", self.beside, self.leg))
    }

    fn median(&self, figure: fn(&AdverseSample) -> f64) -> Option<f64> {
        median(self.rounds.iter().map(figure)).filter(|_| self.status == "ok")
    }

    fn line(&self) -> String {
        match (self.median(|it| it.p50_us), self.median(|it| it.p99_us)) {
            (Some(p50), Some(p99)) => format!("{}: p50 {p50:.0} µs, p99 {p99:.0} µs", self.leg),
            _ => {
                format!("{}: {} ({})", self.leg, self.status, self.reason.as_deref().unwrap_or(""))
            }
        }
    }
}

/// The table, if there is one.
pub(crate) fn table(reports: &[AdverseReport], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if reports.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## One normal session, Streamable → Streamable, beside others\n\n| beside | leg | p50 µs | p99 µs | × alone, p50, p99 | calls/s | peak RSS MiB |\n|---|---|--:|--:|--:|--:|--:|"
    )?;
    for report in reports {
        let (beside, leg) = (report.beside, report.leg);
        let (Some(p50), Some(p99)) = (report.median(|it| it.p50_us), report.median(|it| it.p99_us))
        else {
            let reason = report.reason.as_deref().unwrap_or("nothing measured");
            writeln!(out, "| {beside} | {leg} | {}: {} |||||", report.status, cell(reason))?;
            continue;
        };
        let alone = reports.iter().find(|it| it.leg == leg && it.beside == Beside::Nobody.text());
        let times = |now: f64, of: fn(&AdverseSample) -> f64| {
            let before = alone.and_then(|it| it.median(of)).filter(|it| 0.0 < *it);
            before.map_or_else(|| "–".to_owned(), |before| format!("{:.1}", now / before))
        };
        let (first, second) = (times(p50, |it| it.p50_us), times(p99, |it| it.p99_us));
        let rate = report.median(|it| it.calls_per_second).unwrap_or(f64::NAN);
        let peak = report.median(|it| it.peak_kib as f64 / 1024.0).unwrap_or(f64::NAN);
        writeln!(
            out,
            "| {beside} | {leg} | {p50:.0} | {p99:.0} | {first}, {second} | {rate:.0} | {peak:.1} |"
        )?;
    }
    Ok(())
}
