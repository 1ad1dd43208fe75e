//! Times from the start of the process: until it listens, until the first list of tools, until
//! the list of every server.

use std::{path::Path, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    client::{Session, Target, Wire},
    error::{Failure, Result},
    plan::{Leg, Plan},
    relay::Kind,
    report::{ColdOutcome, ColdReport, ColdSample},
    stack::{Stack, Wanted},
};

/// Starts are short: so many for each round of the loads.
const STARTS_PER_ROUND: usize = 3;
/// A program of others may listen before it is ready; it is asked again after this time …
const ASK_AGAIN: Duration = Duration::from_millis(1);
/// … and so long.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const ONE: &[Leg] = &[Leg::Direct, Leg::Relay(Kind::StdioShared), Leg::Gateway];
const MANY: &[Leg] = &[Leg::Direct, Leg::Gateway];

/// Measures every number of servers.
///
/// # Errors
/// As [`crate::rounds::measure`].
pub(crate) async fn measure(plan: &Plan, folder: &Path) -> Result<Vec<ColdReport>> {
    let mut reports = Vec::new();
    for servers in &plan.cold_servers {
        let legs = if *servers == 1 { ONE } else { MANY };
        // Programs of others have one server behind here, as in all else that they do.
        let peers = plan.peers.iter().filter(|_| *servers == 1).map(|it| Leg::Peer(*it));
        let mut all: Vec<(Leg, Vec<ColdOutcome>)> =
            plan.legs(legs).chain(peers).map(|it| (it, Vec::new())).collect();
        for _ in 0..plan.rounds * STARTS_PER_ROUND {
            for (leg, outcomes) in &mut all {
                if outcomes.iter().all(|it| matches!(it, ColdOutcome::Done(_))) {
                    outcomes.push(once(plan, *leg, *servers, folder).await?);
                }
            }
        }
        for (leg, outcomes) in all {
            let report = ColdReport::new(leg, *servers, outcomes);
            crate::say(&format!("cold · {servers} servers · {}: {}", leg.name(), report.line()));
            reports.push(report);
        }
    }
    Ok(reports)
}

async fn once(plan: &Plan, leg: Leg, servers: usize, folder: &Path) -> Result<ColdOutcome> {
    if let Some(why) = leg.cannot(Wire::Streamable, Wire::Stdio) {
        return Ok(ColdOutcome::No(why.to_owned()));
    }
    let wanted = Wanted { servers, ..Wanted::of(leg, Wire::Streamable, Wire::Stdio) };
    let before = Instant::now();
    let mut stack = match Stack::begin(plan, wanted, folder).await {
        Ok(stack) => stack,
        Err(cause) if leg == Leg::Gateway && !plan.require_gateway => {
            return Ok(ColdOutcome::No(cause.to_string()));
        }
        Err(cause) if leg == Leg::Gateway => return Ok(ColdOutcome::Failed(cause.to_string())),
        Err(cause) if leg.is_peer() => return Ok(ColdOutcome::No(cause.to_string())),
        Err(cause) => return Err(cause),
    };
    let outcome = match sample(plan, &mut stack, before, leg.is_peer()).await {
        Ok(sample) => ColdOutcome::Done(sample),
        // What another's program does wrong is told, and is no fault of this run.
        Err(cause) if leg.is_peer() => ColdOutcome::No(stack.explain(cause).to_string()),
        Err(cause) => ColdOutcome::Failed(stack.explain(cause).to_string()),
    };
    stack.end().await?;
    Ok(outcome)
}

/// A session that has its list; asked for again until then.
async fn first_list(door: &Target, call_timeout: Duration, until: Instant) -> Result<Session> {
    loop {
        let listed = async {
            let mut session = Session::open(door, call_timeout).await?;
            session.list_tools(1).await?;
            Ok(session)
        };
        match listed.await {
            Err(_) if Instant::now() < until => sleep(ASK_AGAIN).await,
            done => return done,
        }
    }
}

async fn sample(
    plan: &Plan,
    stack: &mut Stack,
    before: Instant,
    patient: bool,
) -> Result<ColdSample> {
    let (started, listening) = match stack.middle() {
        Some(middle) => (middle.started, Some(middle.listening().await?)),
        None => (before, None),
    };
    let mut lists = JoinSet::new();
    let call_timeout = plan.call_timeout;
    for door in stack.doors.clone() {
        lists.spawn(async move {
            let until = if patient { Instant::now() + READY_TIMEOUT } else { Instant::now() };
            let session = first_list(&door, call_timeout, until).await?;
            Ok((started.elapsed(), session))
        });
    }
    let (mut times, mut sessions) = (Vec::new(), Vec::new());
    while let Some(done) = lists.join_next().await {
        let lost = |_| Failure::Process("a task of the generator ended early".to_owned());
        let (time, session) = done.map_err(lost).flatten()?;
        times.push(time);
        sessions.push(session);
    }
    for session in sessions {
        session.close().await?;
    }
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let none = || Failure::Process("no server to ask".to_owned());
    Ok(ColdSample {
        listening_ms: listening.map(ms),
        first_list_ms: times.iter().min().copied().map(ms).ok_or_else(none)?,
        every_list_ms: times.iter().max().copied().map(ms).ok_or_else(none)?,
    })
}
