//! Loads: every leg in every round, one after the other, so that what the machine does meanwhile
//! hits all of them.

use std::{path::Path, time::Duration};

use tokio::time::Instant;

use crate::{
    error::{Failure, Result},
    load::{Load, Manner},
    plan::{Leg, Plan, Workload},
    procfs::{self, Used},
    report::{LegReport, LoadReport, Outcome, Sample},
    stack::{Stack, Wanted},
};

/// Before each measurement, and no longer than it takes: caches fill, allocators settle.
const WARM_UP: Duration = Duration::from_millis(500);

/// Measures one workload with one number of sessions.
///
/// # Errors
/// Only what makes the whole run worthless: our own upstream or relays failing.
pub(crate) async fn measure(
    plan: &Plan,
    workload: &Workload,
    sessions: usize,
    folder: &Path,
) -> Result<LoadReport> {
    let mut legs: Vec<(Leg, Vec<Outcome>)> =
        plan.legs_of(workload).into_iter().map(|it| (it, Vec::new())).collect();
    for round in 1..=plan.rounds {
        for (leg, outcomes) in &mut legs {
            // What failed once would fail again, and take its time-out each time.
            if outcomes.iter().any(|it| !matches!(it, Outcome::Done(_))) {
                continue;
            }
            let outcome = once(plan, workload, (sessions, workload.manner), *leg, folder).await?;
            crate::say(&format!(
                "{} · {sessions} sessions · round {round} · {}: {}",
                workload.name,
                leg.name(),
                outcome.line()
            ));
            outcomes.push(outcome);
        }
    }
    let legs = legs.into_iter().map(|(leg, outcomes)| LegReport::new(leg, outcomes)).collect();
    Ok(LoadReport::new(workload, sessions, legs))
}

/// Measures one leg once, with so many sessions.
///
/// # Errors
/// As [`measure`].
pub(crate) async fn once(
    plan: &Plan,
    workload: &Workload,
    load: (usize, Manner),
    leg: Leg,
    folder: &Path,
) -> Result<Outcome> {
    let (front, behind) = leg.wires(workload.front, workload.behind);
    if let Some(why) = leg.cannot(front, behind) {
        return Ok(Outcome::No(why.to_owned()));
    }
    let mut stack = match Stack::start(plan, Wanted::of(leg, front, behind), folder).await {
        Ok(stack) => stack,
        Err(cause) if leg.is_gateway() && !plan.require_gateway => {
            return Ok(Outcome::No(cause.to_string()));
        }
        Err(cause) if leg.is_gateway() => return Ok(Outcome::Failed(cause.to_string())),
        Err(cause) if leg.is_peer() => return Ok(Outcome::No(cause.to_string())),
        Err(cause) => return Err(cause),
    };
    let outcome = match sample(plan, workload, load, &stack).await {
        Ok(sample) => Outcome::Done(sample),
        // What another's program does wrong is told, and is no fault of this run.
        Err(cause) if leg.is_peer() => Outcome::No(stack.explain(cause).to_string()),
        Err(cause) => Outcome::Failed(stack.explain(cause).to_string()),
    };
    stack.end().await?;
    Ok(outcome)
}

/// Measures what has been started, by its first door.
///
/// # Errors
/// What broke, or was answered wrongly.
pub(crate) async fn sample(
    plan: &Plan,
    workload: &Workload,
    (sessions, manner): (usize, Manner),
    stack: &Stack,
) -> Result<Sample> {
    let door = stack.doors.first().ok_or_else(|| Failure::Process("no door".to_owned()))?;
    let mut load = Load::open(plan, door, &workload.ask, sessions, manner).await?;
    let measured: Vec<u32> = match stack.measured() {
        Some(pid) => vec![pid],
        None => load.children.clone(),
    };
    let upstream: Vec<u32> = stack.upstream().into_iter().collect();
    if let (Some(apart), Some(pid)) = (&plan.apart, stack.measured()) {
        apart.banish(&procfs::descendants(pid)?)?;
    }
    load.start()?;
    load.wait(WARM_UP.min(Duration::from_secs_f64(plan.seconds))).await;
    let before = Snapshot::take(&load, &measured, &upstream);
    load.record();
    load.wait(Duration::from_secs_f64(plan.seconds)).await;
    let after = Snapshot::take(&load, &measured, &upstream);
    let memory = stack.family(&measured).and_then(|all| procfs::memory(&all));
    // A failure of a call says more than that of a measurement which it spoiled.
    let latencies = load.finish().await?;
    let (before, after, memory) = (before?, after?, memory?);
    let calls = after.calls - before.calls;
    let wall = after.at.duration_since(before.at);
    if calls == 0 {
        return Err(Failure::Peer(format!("not one call was answered in {wall:?}")));
    }
    let per_1000 = |after: f64, before: f64| (after - before) * 1000.0 / calls as f64;
    let us = |quantile| latencies.quantile(quantile).map_or(f64::NAN, |ns| ns as f64 / 1000.0);
    let foreign = (after.machine - before.machine) - (after.tree - before.tree);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Sample {
        calls,
        seconds: wall.as_secs_f64(),
        calls_per_second: calls as f64 / wall.as_secs_f64(),
        cpu_ms_per_1000: per_1000(after.measured.since(&before.measured), 0.0),
        upstream_cpu_ms_per_1000: (!upstream.is_empty())
            .then(|| per_1000(after.upstream, before.upstream)),
        generator_cpu_ms_per_1000: per_1000(after.generator, before.generator),
        p50_us: us(0.5),
        p99_us: us(0.99),
        p999_us: us(0.999),
        rss_kib: memory.rss_kib,
        peak_kib: memory.peak_kib,
        foreign_cpu: (foreign / (wall.as_secs_f64() * 1000.0 * cores as f64)).max(0.0),
    })
}

/// All clocks and counters at one moment.
struct Snapshot {
    at: Instant,
    calls: u64,
    measured: Used,
    upstream: f64,
    generator: f64,
    tree: f64,
    machine: f64,
}

impl Snapshot {
    fn take(load: &Load, measured: &[u32], upstream: &[u32]) -> Result<Self> {
        let me = std::process::id();
        let (tree, machine) = (procfs::tree_cpu_ms(me)?, procfs::machine_busy_ms()?);
        Ok(Self {
            measured: Used::of(measured)?,
            calls: load.calls(),
            at: Instant::now(),
            upstream: procfs::cpu_ms(upstream)?,
            generator: procfs::cpu_ms(&[me])?,
            tree,
            machine,
        })
    }
}
