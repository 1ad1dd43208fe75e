//! Memory over time: what is left of each session that was opened, used and closed.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    client::{Session, Target, Wire},
    error::{Failure, Result, within},
    idle::steady,
    plan::{Leg, Plan},
    relay::Kind,
    report::{SlopeOutcome, SlopeReport, SlopeSample},
    rpc::{Ask, Call},
    stack::{Stack, Wanted},
    stats::slope,
};

/// This many sessions are open at once.
const AT_ONCE: usize = 64;
/// Memory is read so many times on the way, after equally many sessions each: of at least
/// [`STEP_MIN`].
const STEPS: (usize, usize) = (5, 20);
const STEP_MIN: usize = 100;
/// This part of them is left out at the beginning: arenas, tables and pools are being set up.
const WARM_UP: usize = 5;
/// The sessions between two readings are closed within this time.
const STEP_TIMEOUT: Duration = Duration::from_secs(600);
/// A client of HTTP+SSE closes by leaving, and a gateway may wait for its return: this long.
const AWAY: &str = "1s";
const AWAY_TIME: Duration = Duration::from_secs(1);

/// In front, behind, whether records are kept on disk, and who is measured.
const CASES: [(Wire, Wire, bool, &[Leg]); 6] = [
    (Wire::Streamable, Wire::Stdio, true, &[Leg::Gateway]),
    (Wire::Streamable, Wire::Stdio, false, &[Leg::Gateway]),
    (Wire::Sse, Wire::Stdio, true, &[Leg::Relay(Kind::StdioShared), Leg::Gateway]),
    (Wire::Streamable, Wire::Streamable, true, &[Leg::Relay(Kind::HyperStream), Leg::Gateway]),
    (Wire::Sse, Wire::Streamable, true, &[Leg::Gateway]),
    (Wire::Sse, Wire::Sse, true, &[Leg::Relay(Kind::HyperStream), Leg::Gateway]),
];

/// Measures every case.
///
/// # Errors
/// As [`crate::rounds::measure`].
pub(crate) async fn measure(plan: &Plan, folder: &Path) -> Result<Vec<SlopeReport>> {
    let mut reports = Vec::new();
    for (front, behind, keeps, legs) in CASES {
        for leg in plan.legs(legs) {
            let wanted = Wanted { away: Some(AWAY), keeps, ..Wanted::of(leg, front, behind) };
            let outcome = once(plan, wanted, folder).await?;
            let records = if keeps { "" } else { ", nothing on disk" };
            let case = format!("{} → {}{records}", front.text(), behind.text());
            crate::say(&format!("slope · {case} · {}: {}", leg.name(), outcome.line()));
            reports.push(SlopeReport { case, leg: leg.name(), outcome });
        }
    }
    Ok(reports)
}

async fn once(plan: &Plan, wanted: Wanted, folder: &Path) -> Result<SlopeOutcome> {
    let is_gateway = wanted.leg == Leg::Gateway;
    let mut stack = match Stack::start(plan, wanted, folder).await {
        Ok(stack) => stack,
        Err(cause) if is_gateway && !plan.require_gateway => {
            return Ok(SlopeOutcome::No(cause.to_string()));
        }
        Err(cause) if is_gateway => return Ok(SlopeOutcome::Failed(cause.to_string())),
        Err(cause) => return Err(cause),
    };
    let outcome = match sample(plan, wanted, &stack).await {
        Ok(sample) => SlopeOutcome::Done(sample),
        Err(cause) => SlopeOutcome::Failed(stack.explain(cause).to_string()),
    };
    stack.end().await?;
    Ok(outcome)
}

async fn sample(plan: &Plan, wanted: Wanted, stack: &Stack) -> Result<SlopeSample> {
    let missing = || Failure::Process("nothing to measure".to_owned());
    let door = Arc::new(stack.doors.first().ok_or_else(missing)?.clone());
    let pid = stack.measured().ok_or_else(missing)?;
    let steps = (plan.slope_sessions / STEP_MIN).clamp(STEPS.0, STEPS.1);
    let step = plan.slope_sessions.div_ceil(steps);
    let waits = wanted.leg == Leg::Gateway && wanted.front == Wire::Sse;
    let mut points = Vec::with_capacity(steps);
    let mut churning = Duration::ZERO;
    for nth in 1..=steps {
        let before = Instant::now();
        let closed = churn(plan.call_timeout, &door, step);
        within(STEP_TIMEOUT, "opening and closing sessions", closed).await?;
        churning += before.elapsed();
        if waits {
            sleep(AWAY_TIME).await;
        }
        points.push((nth * step, steady(pid).await?));
    }
    let warm = points.get((steps / WARM_UP).saturating_sub(1)..).unwrap_or_default();
    let bytes = |&(sessions, kib): &(usize, u64)| (sessions as f64, kib as f64 * 1024.0);
    let rss = |point: Option<&(usize, u64)>| point.map_or(0, |it| it.1);
    let sessions = step * steps;
    Ok(SlopeSample {
        sessions,
        sessions_per_second: sessions as f64 / churning.as_secs_f64(),
        warm_kib: rss(warm.first()),
        end_kib: rss(warm.last()),
        bytes_per_session: slope(&warm.iter().map(bytes).collect::<Vec<_>>()),
        points_kib: points.iter().map(|it| it.1).collect(),
    })
}

/// Opens, uses and closes `count` sessions, [`AT_ONCE`] at a time.
async fn churn(call_timeout: Duration, door: &Arc<Target>, count: usize) -> Result<()> {
    let mut at_work = JoinSet::new();
    for worker in 0..AT_ONCE {
        let door = Arc::clone(door);
        at_work.spawn(async move {
            for nth in (worker..count).step_by(AT_ONCE) {
                let mut session = Session::open(&door, call_timeout).await?;
                session.listen().await?;
                session.call(&Call::new(&Ask::Echo(100), nth, 1)).await?;
                session.close().await?;
            }
            Ok(())
        });
    }
    while let Some(done) = at_work.join_next().await {
        let lost = |_| Failure::Process("a task of the generator ended early".to_owned());
        done.map_err(lost).flatten()?;
    }
    Ok(())
}
