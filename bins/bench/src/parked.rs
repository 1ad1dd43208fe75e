//! Calls that wait: a server with a handshake asks in mid-call, a client of 2026-07-28 hears of it
//! in an answer, and comes back with what it was asked for.

use std::{mem, path::Path, time::Duration};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    client::{Session, Target, Wire},
    error::{Failure, Result, within},
    idle::steady,
    modern::{Asking, Waits},
    plan::{Leg, Plan},
    procfs,
    report::{ParkedOutcome, ParkedReport, ParkedSample},
    stack::{Stack, Wanted},
};

/// So many requests are under way at once, each on a connection of its own: the calls that wait
/// need none in front.
const AT_ONCE: usize = 256;
/// All calls wait, or all have been gone on with, within this time.
const ALL_TIMEOUT: Duration = Duration::from_secs(300);
/// Ids of calls made before those that are measured, so that what is set up once is there.
const WARM_UP: std::ops::Range<u64> = 1_000_000..1_000_256;

/// A connection, and the calls on it that wait.
struct Worker {
    session: Session,
    calls: Vec<(Asking, Option<Waits>)>,
}

/// Measures every round.
///
/// # Errors
/// As [`crate::rounds::measure`].
pub(crate) async fn measure(plan: &Plan, folder: &Path) -> Result<Vec<ParkedReport>> {
    let (front, behind) = (Wire::Modern, Wire::Streamable);
    let mut reports = Vec::new();
    for leg in plan.legs(&[Leg::Gateway]) {
        let mut outcomes: Vec<ParkedOutcome> = Vec::new();
        for round in 1..=plan.rounds {
            if outcomes.iter().any(|it| !matches!(it, ParkedOutcome::Done(_))) {
                break;
            }
            let room = plan.parked_calls.max(AT_ONCE);
            let wanted = Wanted { parked: Some(room), ..Wanted::of(leg, front, behind) };
            let outcome = once(plan, wanted, folder).await?;
            crate::say(&format!("parked · round {round} · {}: {}", leg.name(), outcome.line()));
            outcomes.push(outcome);
        }
        let case = format!("{} → {}", front.text(), behind.text());
        reports.push(ParkedReport::new(case, leg.name(), plan.parked_calls, AT_ONCE, outcomes));
    }
    Ok(reports)
}

async fn once(plan: &Plan, wanted: Wanted, folder: &Path) -> Result<ParkedOutcome> {
    let mut stack = match Stack::start(plan, wanted, folder).await {
        Ok(stack) => stack,
        Err(cause) if plan.require_gateway => return Ok(ParkedOutcome::Failed(cause.to_string())),
        Err(cause) => return Ok(ParkedOutcome::No(cause.to_string())),
    };
    let outcome = match sample(plan, &stack).await {
        Ok(sample) => ParkedOutcome::Done(sample),
        Err(cause) => ParkedOutcome::Failed(stack.explain(cause).to_string()),
    };
    stack.end().await?;
    Ok(outcome)
}

async fn sample(plan: &Plan, stack: &Stack) -> Result<ParkedSample> {
    let missing = || Failure::Process("nothing to measure".to_owned());
    let door = stack.doors.first().ok_or_else(missing)?;
    let pid = stack.measured().ok_or_else(missing)?;
    let count = plan.parked_calls;
    let workers = open(plan, door, AT_ONCE.min(count)).await?;
    let workers = deal(workers, WARM_UP);
    let (workers, _) = timed("the first calls", workers, Worker::park).await?;
    let (workers, _) = timed("the first calls", workers, Worker::go_on).await?;
    let rest_kib = steady(pid).await?;

    let workers = deal(workers, 1..count as u64 + 1);
    let before = procfs::cpu_ms(&[pid])?;
    // Once all of them are asked, none is answered yet: all wait.
    let (workers, park) = timed("asking", workers, Worker::park).await?;
    let parked = procfs::cpu_ms(&[pid])?;
    let parked_kib = steady(pid).await?;
    let waited = procfs::cpu_ms(&[pid])?;
    let (workers, go_on) = timed("going on", workers, Worker::go_on).await?;
    let done = procfs::cpu_ms(&[pid])?;
    let after_kib = steady(pid).await?;
    drop(workers);
    let per_1000 = |ms: f64| ms * 1000.0 / count as f64;
    Ok(ParkedSample {
        park_seconds: park.as_secs_f64(),
        park_cpu_ms_per_1000: per_1000(parked - before),
        rest_kib,
        parked_kib,
        kib_per_call: parked_kib.saturating_sub(rest_kib) as f64 / count as f64,
        go_on_seconds: go_on.as_secs_f64(),
        go_on_cpu_ms_per_1000: per_1000(done - waited),
        after_kib,
    })
}

async fn open(plan: &Plan, door: &Target, count: usize) -> Result<Vec<Worker>> {
    let mut workers = Vec::with_capacity(count);
    for _ in 0..count {
        let session = Session::open(door, plan.call_timeout).await?;
        workers.push(Worker { session, calls: Vec::new() });
    }
    Ok(workers)
}

fn deal(mut workers: Vec<Worker>, ids: std::ops::Range<u64>) -> Vec<Worker> {
    let each = ids.clone().count().div_ceil(workers.len().max(1));
    let mut calls = ids.map(|id| (Asking::new(id), None));
    for worker in &mut workers {
        worker.calls = calls.by_ref().take(each).collect();
    }
    workers
}

/// What all workers do at once, and how long it takes.
async fn timed<F>(
    what: &str,
    workers: Vec<Worker>,
    work: fn(Worker) -> F,
) -> Result<(Vec<Worker>, Duration)>
where
    F: Future<Output = Result<Worker>> + Send + 'static,
{
    let start = Instant::now();
    let mut at_work: JoinSet<_> = workers.into_iter().map(work).collect();
    within(ALL_TIMEOUT, what, async {
        let mut workers = Vec::with_capacity(at_work.len());
        while let Some(done) = at_work.join_next().await {
            let lost = |_| Failure::Process("a task of the generator ended early".to_owned());
            workers.push(done.map_err(lost).flatten()?);
        }
        Ok((workers, start.elapsed()))
    })
    .await
}

impl Worker {
    /// Makes every call, and checks that it is asked its own question.
    async fn park(mut self) -> Result<Self> {
        for (call, waits) in &mut self.calls {
            let answer = self.session.say(call.id(), call.body(), Asking::TOOL).await?;
            *waits = Some(call.asked(&answer)?);
        }
        Ok(self)
    }

    /// Answers every question, and checks that the call ends as it should.
    async fn go_on(mut self) -> Result<Self> {
        for (call, waits) in mem::take(&mut self.calls) {
            let Some(waits) = waits else { continue };
            let answer = self.session.say(call.id(), call.retry(&waits), Asking::TOOL).await?;
            call.check(&answer)?;
        }
        Ok(self)
    }
}
