//! Times of recovery: from the death of a server, or of the gateway, to the next right answer that
//! a client gets which goes on; and of new sessions whose server is slow to start.

use std::{path::Path, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    client::{Session, Target, Wire},
    error::{Failure, Result, within},
    plan::{Leg, Plan},
    report::{RecoveryOutcome, RecoveryReport, RecoverySample, compare},
    rpc::{Ask, Call},
    stack::{Stack, Wanted, kill},
};

/// Recoveries are short: so many for each round of the loads.
const TIMES_PER_ROUND: usize = 3;
/// A client that failed tries again after this.
const RETRY_PAUSE: Duration = Duration::from_millis(1);
/// So many calls are made before anything dies: enough for an upstream that lies to be found out.
const CALLS_BEFORE: u64 = 10;
/// A server that loads a runtime first, as those of Node or Python do, takes about this long.
const SLOW_START: Duration = Duration::from_millis(300);
/// Children started ahead.
const WARM: usize = 2;
/// Children that were asked for have begun to read within this time.
const CHILDREN_TIMEOUT: Duration = Duration::from_secs(30);
/// No more of them begin to read after none has for this long.
const SETTLED: Duration = Duration::from_millis(1000);

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// The server is killed; one behind a port is started again there at once.
    ServerKilled,
    /// The gateway is killed, and started again at its port at once.
    GatewayKilled,
    /// Nothing dies: a session is opened with a server that is slow to start.
    SlowServer,
}

/// A leg, and the warm children of a gateway whose sessions have one each.
type Beside = (Leg, Option<usize>);

/// One case: in front, behind, and who is measured.
#[derive(Clone, Copy, Debug)]
struct Case {
    what: What,
    front: Wire,
    behind: Wire,
    legs: &'static [Beside],
}

const BESIDE: &[Beside] = &[(Leg::Direct, None), (Leg::Gateway, None)];
const ALONE: &[Beside] = &[(Leg::Gateway, None)];
const SPARES: &[Beside] =
    &[(Leg::Direct, None), (Leg::Gateway, Some(0)), (Leg::Gateway, Some(WARM))];

const fn case(what: What, front: Wire, behind: Wire, legs: &'static [Beside]) -> Case {
    Case { what, front, behind, legs }
}

/// Without a gateway the client speaks what the server does.
const CASES: [Case; 10] = [
    case(What::ServerKilled, Wire::Streamable, Wire::Stdio, BESIDE),
    case(What::ServerKilled, Wire::Sse, Wire::Stdio, BESIDE),
    case(What::ServerKilled, Wire::Streamable, Wire::Streamable, BESIDE),
    case(What::ServerKilled, Wire::Sse, Wire::Sse, BESIDE),
    case(What::ServerKilled, Wire::Streamable, Wire::Sse, BESIDE),
    case(What::GatewayKilled, Wire::Streamable, Wire::Stdio, ALONE),
    case(What::GatewayKilled, Wire::Streamable, Wire::Streamable, ALONE),
    case(What::GatewayKilled, Wire::Sse, Wire::Stdio, ALONE),
    case(What::GatewayKilled, Wire::Sse, Wire::Sse, ALONE),
    case(What::SlowServer, Wire::Streamable, Wire::Stdio, SPARES),
];

impl What {
    fn text(self) -> &'static str {
        match self {
            Self::ServerKilled => "server killed",
            Self::GatewayKilled => "gateway killed",
            Self::SlowServer => "new session, server takes 300 ms to start",
        }
    }
}

/// The name of a leg in reports.
fn name((leg, warm): Beside) -> &'static str {
    match warm {
        None => leg.name(),
        Some(0) => "gateway, no spares",
        Some(_) => "gateway, 2 spares",
    }
}

/// Measures every case.
///
/// # Errors
/// As [`crate::rounds::measure`].
pub(crate) async fn measure(plan: &Plan, folder: &Path) -> Result<Vec<RecoveryReport>> {
    let mut reports = Vec::new();
    for case in CASES {
        let wanted: Vec<Leg> = plan.legs(&[Leg::Direct, Leg::Gateway]).collect();
        let mut legs: Vec<(Beside, Vec<RecoveryOutcome>)> = case
            .legs
            .iter()
            .filter(|it| wanted.contains(&it.0))
            .map(|it| (*it, Vec::new()))
            .collect();
        for _ in 0..plan.rounds * TIMES_PER_ROUND {
            for (leg, outcomes) in &mut legs {
                if outcomes.iter().all(|it| matches!(it, RecoveryOutcome::Done(_))) {
                    outcomes.push(once(plan, case, *leg, folder).await?);
                }
            }
        }
        let label = format!("{} → {}", case.front.text(), case.behind.text());
        let report = |(leg, outcomes)| {
            let report = RecoveryReport::new(case.what.text(), label.clone(), name(leg), outcomes);
            let (what, leg) = (case.what.text(), name(leg));
            crate::say(&format!("recovery · {what} · {label} · {leg}: {}", report.line()));
            report
        };
        let mut legs: Vec<RecoveryReport> = legs.into_iter().map(report).collect();
        compare(&mut legs);
        reports.extend(legs);
    }
    Ok(reports)
}

async fn once(
    plan: &Plan,
    case: Case,
    at @ (leg, warm): Beside,
    folder: &Path,
) -> Result<RecoveryOutcome> {
    let direct = leg == Leg::Direct;
    let front = if direct { case.behind } else { case.front };
    let wanted = Wanted {
        keeps: case.what == What::GatewayKilled,
        counted: case.behind == Wire::Stdio,
        start_delay: if case.what == What::SlowServer { SLOW_START } else { Duration::ZERO },
        warm,
        ..Wanted::of(leg, front, case.behind)
    };
    let mut stack = match Stack::start(plan, wanted, folder).await {
        Ok(stack) => stack,
        Err(cause) if !direct && !plan.require_gateway => {
            return Ok(RecoveryOutcome::No(cause.to_string()));
        }
        Err(cause) if !direct => return Ok(RecoveryOutcome::Failed(cause.to_string())),
        Err(cause) => return Err(cause),
    };
    let sampled = match case.what {
        What::SlowServer => open(plan, &stack).await,
        _ => Box::pin(after_a_death(plan, case, at, &mut stack, folder)).await,
    };
    let outcome = match sampled {
        Ok(sample) => RecoveryOutcome::Done(sample),
        Err(cause) => RecoveryOutcome::Failed(stack.explain(cause).to_string()),
    };
    stack.end().await?;
    Ok(outcome)
}

/// Opens a session while nothing else goes on: it is not the first, and the spares stand ready, if
/// there are to be any.
async fn open(plan: &Plan, stack: &Stack) -> Result<RecoverySample> {
    let door = stack.doors.first().ok_or_else(no_door)?;
    Session::open(door, plan.call_timeout).await?.close().await?;
    let before = settled(stack).await?;
    let start = Instant::now();
    let mut session = Session::open(door, plan.call_timeout).await?;
    let ms = start.elapsed().as_secs_f64() * 1000.0;
    session.call(&Call::new(&Ask::Echo(100), 1, 1)).await?;
    // Each session has a child of its own: this one, or what takes the place of the spare.
    children(stack, before + 1).await?;
    session.close().await?;
    Ok(RecoverySample { ms, failed_attempts: 0 })
}

/// How many children have begun to read, once no more of them do.
async fn settled(stack: &Stack) -> Result<usize> {
    let what = "the start of all children";
    within(CHILDREN_TIMEOUT, what, async {
        let mut last = (stack.children()?.len(), Instant::now());
        while last.1.elapsed() < SETTLED {
            sleep(RETRY_PAUSE).await;
            let now = stack.children()?.len();
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
        Ok(last.0)
    })
    .await
}

/// Waits until so many children behind have begun to read.
async fn children(stack: &Stack, count: usize) -> Result<()> {
    let what = format!("the start of {count} children");
    within(CHILDREN_TIMEOUT, &what, async {
        loop {
            if count <= stack.children()?.len() {
                return Ok(());
            }
            sleep(RETRY_PAUSE).await;
        }
    })
    .await
}

async fn after_a_death(
    plan: &Plan,
    case: Case,
    at: Beside,
    stack: &mut Stack,
    folder: &Path,
) -> Result<RecoverySample> {
    let door = stack.doors.first().ok_or_else(no_door)?.clone();
    let mut session = Session::open(&door, plan.call_timeout).await?;
    for id in 1..=CALLS_BEFORE {
        session.call(&Call::new(&Ask::Echo(100), 1, id)).await?;
    }
    let before = stack.children()?;
    let child = match (session.pid(), case.behind, before.as_slice()) {
        (Some(own), ..) => Some(own),
        (None, Wire::Stdio, [behind]) => Some(*behind),
        (None, Wire::Stdio, _) => {
            return Err(Failure::Process(format!("{} children for one session", before.len())));
        }
        (None, ..) => None,
    };
    let session = Some(session);
    let client = Client { door, session, case, at, plan, lost: false, failed: 0 };
    let start = Instant::now();
    let death = async {
        match (case.what, child) {
            (What::GatewayKilled, _) => stack.restart_gateway(plan, folder).await,
            (_, Some(child)) => kill(child),
            (_, None) => stack.restart_upstream(plan, case.behind).await,
        }
    };
    // In this order: the signal is sent before the client asks.
    let both = async { tokio::try_join!(biased; death, client.go_on()) };
    let ((), answered) = within(plan.call_timeout, "recovery", Box::pin(both)).await?;
    let ms = answered.0.duration_since(start).as_secs_f64() * 1000.0;
    if child.is_some() && stack.children()?.len() <= before.len() {
        return Err(Failure::Wrong(
            "an answer, and no new child that can have given it".to_owned(),
        ));
    }
    Ok(RecoverySample { ms, failed_attempts: answered.1 })
}

fn no_door() -> Failure {
    Failure::Process("no door".to_owned())
}

/// A client that does not give up.
struct Client<'a> {
    door: Target,
    session: Option<Session>,
    case: Case,
    at: Beside,
    plan: &'a Plan,
    /// What carried the session is gone.
    lost: bool,
    failed: u32,
}

impl Client<'_> {
    /// Tries until a call is answered: when that was, and how many attempts failed before.
    async fn go_on(mut self) -> Result<(Instant, u32)> {
        let mut id = CALLS_BEFORE;
        loop {
            id += 1;
            match self.attempt(id).await {
                Ok(true) => {
                    let answered = Instant::now();
                    if let Some(session) = self.session.take() {
                        session.close().await?;
                    }
                    return Ok((answered, self.failed));
                }
                Ok(false) => {}
                Err(cause) => self.after(cause)?,
            }
            self.failed += 1;
            sleep(RETRY_PAUSE).await;
        }
    }

    /// `false` for a call that was answered by an error which says so.
    async fn attempt(&mut self, id: u64) -> Result<bool> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.door, self.plan.call_timeout).await?,
        };
        // Nothing is asked before there is a stream again on which it can be answered.
        let back = if self.lost { session.come_back().await } else { Ok(()) };
        self.lost = back.is_err();
        if back.is_err() {
            self.session = Some(session);
            return back.map(|()| false);
        }
        let tried = session.attempt(&Call::new(&Ask::Echo(100), 1, id)).await;
        self.session = Some(session);
        tried.map(|refusal| refusal.is_none())
    }

    /// Goes on after this, or fails: only what this case may bring about is forgiven.
    fn after(&mut self, cause: Failure) -> Result<()> {
        match (&cause, self.at.0, self.case.what) {
            (Failure::Wrong(_) | Failure::Timeout { .. } | Failure::Usage(_), ..) => Err(cause),
            // It has to begin anew.
            (_, Leg::Direct, _) => {
                self.session = None;
                Ok(())
            }
            (Failure::Status { status: 500.., .. }, ..) => Ok(()),
            (Failure::Status { .. }, ..) => Err(cause),
            // Connections to the gateway break with the gateway, and for no other reason.
            (_, _, What::GatewayKilled) => {
                self.lost = true;
                Ok(())
            }
            _ => Err(cause),
        }
    }
}
