//! Memory: at rest, and for each session that is open and does nothing.

use std::{path::Path, sync::Arc, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    client::{Session, Target, Wire},
    error::{Failure, Result, within},
    plan::{Leg, Plan},
    procfs,
    relay::Kind,
    report::{IdleOutcome, IdleReport, IdleSample},
    rpc::Ask,
    stack::{Stack, Wanted},
};

/// Descriptors that are no session's.
const SPARE: usize = 200;
/// This many sessions are being opened at once.
const OPENING_MAX: usize = 16;
/// All of them are open within this time.
const OPEN_ALL_TIMEOUT: Duration = Duration::from_secs(300);
/// Memory is read when it has not changed by more than [`STEADY_KIB`] for this long …
const STEADY: Duration = Duration::from_millis(600);
/// … or this has passed.
const STEADY_TIMEOUT: Duration = Duration::from_secs(5);
const STEADY_KIB: u64 = 16;
/// One session of so many is asked something at the end, to see that they are still open.
const ASKED_OF: usize = 50;

const RELAYED: &[Leg] = &[Leg::Relay(Kind::HyperStream), Leg::Gateway];
const SHARED: &[Leg] = &[Leg::Relay(Kind::StdioShared), Leg::Gateway];
const CASES: [(Wire, Wire, &[Leg]); 4] = [
    (Wire::Sse, Wire::Sse, RELAYED),
    (Wire::Sse, Wire::Streamable, &[Leg::Gateway]),
    (Wire::Sse, Wire::Stdio, SHARED),
    (Wire::Streamable, Wire::Streamable, RELAYED),
];

/// Measures every case.
///
/// # Errors
/// As [`crate::rounds::measure`].
pub(crate) async fn measure(plan: &Plan, folder: &Path) -> Result<Vec<IdleReport>> {
    let mut reports = Vec::new();
    for (front, behind, legs) in CASES {
        // A stream and what is asked beside it, on each side that is HTTP.
        let sessions = fitting(plan.idle_sessions, if behind == Wire::Stdio { 2 } else { 4 });
        if sessions < plan.idle_sessions {
            crate::say(&format!(
                "idle · {} → {}: {sessions} sessions instead of {}: a process may have no more descriptors",
                front.text(),
                behind.text(),
                plan.idle_sessions
            ));
        }
        let peers = plan.peers.iter().map(|it| Leg::Peer(*it));
        for leg in plan.legs(legs).chain(peers) {
            let wanted = Wanted { idle: Some(sessions), ..Wanted::of(leg, front, behind) };
            let outcome = match leg.cannot(front, behind) {
                Some(why) => IdleOutcome::No(why.to_owned()),
                None => once(plan, wanted, sessions, folder).await?,
            };
            let case = format!("{} → {}", front.text(), behind.text());
            crate::say(&format!("idle · {case} · {}: {}", leg.name(), outcome.line()));
            reports.push(IdleReport { case, leg: leg.name(), sessions, outcome });
        }
    }
    Ok(reports)
}

/// So many of these sessions as descriptors allow, where what is between has `each` for each.  Ours
/// and those of what we start are raised to what this user may have.
pub(crate) fn fitting(wanted: usize, each: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let may = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => most,
        Err(_) => limit.current.unwrap_or(u64::MAX),
    };
    let fit = usize::try_from(may).unwrap_or(usize::MAX).saturating_sub(SPARE) / each.max(1);
    wanted.min(fit.max(1))
}

async fn once(plan: &Plan, wanted: Wanted, count: usize, folder: &Path) -> Result<IdleOutcome> {
    let is_gateway = wanted.leg == Leg::Gateway;
    let mut stack = match Stack::start(plan, wanted, folder).await {
        Ok(stack) => stack,
        Err(cause) if is_gateway && !plan.require_gateway => {
            return Ok(IdleOutcome::No(cause.to_string()));
        }
        Err(cause) if is_gateway => return Ok(IdleOutcome::Failed(cause.to_string())),
        Err(cause) if wanted.leg.is_peer() => return Ok(IdleOutcome::No(cause.to_string())),
        Err(cause) => return Err(cause),
    };
    let outcome = match sample(plan, &stack, count).await {
        Ok(sample) => IdleOutcome::Done(sample),
        Err(cause) if wanted.leg.is_peer() => IdleOutcome::No(stack.explain(cause).to_string()),
        Err(cause) => IdleOutcome::Failed(stack.explain(cause).to_string()),
    };
    stack.end().await?;
    Ok(outcome)
}

async fn sample(plan: &Plan, stack: &Stack, count: usize) -> Result<IdleSample> {
    let missing = || Failure::Process("nothing to measure".to_owned());
    let door = stack.doors.first().ok_or_else(missing)?;
    let pid = stack.measured().ok_or_else(missing)?;
    let steady = || async { steady_of(&stack.family(&[pid])?).await };
    let rest_kib = steady().await?;
    let tenth = count.div_ceil(10);
    let mut sessions = open(plan, door, (tenth, Listens::Yes)).await?;
    let tenth_kib = steady().await?;
    sessions.extend(open(plan, door, (count - tenth, Listens::Yes)).await?);
    let full_kib = steady().await?;
    for (nth, session) in sessions.iter_mut().enumerate().step_by(ASKED_OF) {
        let call = session.write(&Ask::Echo(100), nth, 1);
        session.call(&call).await?;
    }
    let grown = |from: u64| full_kib.saturating_sub(from) as f64;
    Ok(IdleSample {
        rest_kib,
        full_kib,
        per_session_kib: grown(rest_kib) / count as f64,
        marginal_kib: (tenth < count).then(|| grown(tenth_kib) / (count - tenth) as f64),
    })
}

/// Whether a session keeps its stream open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listens {
    Yes,
    No,
}

/// So many sessions that rest, with no other connection than their stream.
///
/// # Errors
/// One of them could not be opened, or not in time.
pub(crate) async fn open(
    plan: &Plan,
    door: &Target,
    (count, listens): (usize, Listens),
) -> Result<Vec<Session>> {
    let slots = Arc::new(Semaphore::new(OPENING_MAX));
    let mut opening = JoinSet::new();
    let call_timeout = plan.call_timeout;
    for _ in 0..count {
        let (door, slots) = (door.clone(), Arc::clone(&slots));
        opening.spawn(async move {
            let _slot = slots.acquire().await;
            let mut session = Session::open(&door, call_timeout).await?;
            if listens == Listens::Yes {
                session.listen().await?;
            }
            session.rest();
            Ok(session)
        });
    }
    within(OPEN_ALL_TIMEOUT, "opening all sessions", async {
        let mut sessions = Vec::with_capacity(count);
        while let Some(done) = opening.join_next().await {
            let lost = |_| Failure::Process("a task of the generator ended early".to_owned());
            sessions.push(done.map_err(lost).flatten()?);
        }
        Ok(sessions)
    })
    .await
}

/// Resident memory in KiB, once it has settled.
///
/// # Errors
/// [`Failure::Process`] when the process is gone.
pub(crate) async fn steady(pid: u32) -> Result<u64> {
    steady_of(&[pid]).await
}

async fn steady_of(pids: &[u32]) -> Result<u64> {
    let start = Instant::now();
    let mut last = (procfs::memory(pids)?.rss_kib, start);
    while last.1.elapsed() < STEADY && start.elapsed() < STEADY_TIMEOUT {
        sleep(Duration::from_millis(50)).await;
        let now = procfs::memory(pids)?.rss_kib;
        if STEADY_KIB < now.abs_diff(last.0) {
            last = (now, Instant::now());
        }
    }
    Ok(procfs::memory(pids)?.rss_kib)
}
