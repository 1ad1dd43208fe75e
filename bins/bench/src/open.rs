//! Latencies at a rate, in the open loop: what each leg adds to the direct connection.
//!
//! All legs are asked at the same rate: half of what the gateway, or the relay where there is no
//! gateway, answers at most.  Who answers less than that is not measured, and says so.

use std::{fmt, path::Path};

use serde::Serialize;

use crate::{
    apart::Apart,
    error::{Failure, Result},
    load::Manner,
    plan::{Leg, Plan, WORKLOADS, Workload},
    report::{Ended, Outcome, Sample, cell},
    rounds,
    stats::median,
};

/// What is measured so.
const OF: [&str; 2] = ["W1", "W4"];
/// With so many sessions: one call of each at a time.
const SESSIONS: usize = 64;
/// The part of the highest rate that is asked for.
const SHARE: f64 = 0.5;
/// Who answers less than this part of what was due does not answer at that rate.
const ANSWERED_MIN: f64 = 0.95;

/// Microseconds: the median, and what a hundredth and a thousandth exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Times {
    p50: f64,
    p99: f64,
    p999: f64,
}

/// One leg at a rate.
#[derive(Debug, Serialize)]
struct OpenLeg {
    leg: &'static str,
    status: &'static str,
    reason: Option<String>,
    rounds: Vec<Sample>,
    median_us: Option<Times>,
    /// The same less that of the direct connection in the same round.
    added_us: Option<Times>,
}

/// One workload at a rate.
#[derive(Debug, Serialize)]
pub(crate) struct OpenReport {
    workload: &'static str,
    what: &'static str,
    sessions: usize,
    /// Has what is measured processors of its own?
    apart: bool,
    calls_per_second: f64,
    legs: Vec<OpenLeg>,
}

/// Measures every workload.
///
/// # Errors
/// As [`rounds::measure`].
pub(crate) async fn measure(plan: &Plan, folder: &Path) -> Result<Vec<OpenReport>> {
    let mut reports = Vec::new();
    let ways = Apart::here()?.map(Some).into_iter().chain([None]);
    for apart in ways {
        let plan = Box::new(Plan { apart, ..plan.clone() });
        apart.map_or(Ok(()), |it| it.begin())?;
        for workload in WORKLOADS.iter().filter(|it| OF.contains(&it.name)) {
            reports.push(one(&plan, workload, folder).await?);
        }
        apart.map_or(Ok(()), |it| it.end())?;
    }
    Ok(reports)
}

async fn one(plan: &Plan, workload: &Workload, folder: &Path) -> Result<OpenReport> {
    let rate = match plan.rate {
        Some(rate) => rate,
        None => SHARE * most(plan, workload, folder).await?,
    };
    let legs = plan.legs_of(workload).into_iter();
    let mut legs: Vec<(Leg, Vec<Outcome>)> = legs.map(|it| (it, Vec::new())).collect();
    for round in 1..=plan.rounds {
        for (leg, outcomes) in &mut legs {
            if outcomes.iter().any(|it| !matches!(it, Outcome::Done(_))) {
                continue;
            }
            let load = (SESSIONS, Manner::Rate(rate));
            let outcome = rounds::once(plan, workload, load, *leg, folder).await?;
            let outcome = sustained(outcome, rate, *leg);
            let (name, leg) = (workload.name, leg.name());
            let line = outcome.line();
            crate::say(&format!("open · {name} at {rate:.0}/s · round {round} · {leg}: {line}"));
            outcomes.push(outcome);
        }
    }
    Ok(OpenReport::new(workload, plan.apart.is_some(), rate, legs))
}

/// Calls a second that the gateway answers, or the first relay where it does not start.
async fn most(plan: &Plan, workload: &Workload, folder: &Path) -> Result<f64> {
    let relay = workload.legs.iter().find(|it| matches!(it, Leg::Relay(_))).copied();
    for leg in [Some(Leg::Gateway), relay].into_iter().flatten() {
        if let Outcome::Done(sample) =
            rounds::once(plan, workload, (SESSIONS, Manner::Steady), leg, folder).await?
        {
            let (name, most) = (workload.name, sample.calls_per_second);
            crate::say(&format!("open · {name}: {} answers {most:.0}/s at most", leg.name()));
            return Ok(most);
        }
    }
    Err(Failure::Process("neither the gateway nor the relay answers anything".to_owned()))
}

/// What did not keep up has no latency at this rate.
fn sustained(outcome: Outcome, rate: f64, leg: Leg) -> Outcome {
    match outcome {
        Ended::Done(it) if it.calls_per_second < ANSWERED_MIN * rate => {
            Ended::No(format!("at {rate:.0}/s it answered {:.0}/s", it.calls_per_second))
        }
        // Nothing that is slower than the gateway has failed by that.
        Ended::Failed(why) if leg != Leg::Direct && why.contains("too slow for this rate") => {
            Ended::No(why)
        }
        outcome => outcome,
    }
}

impl Times {
    fn of(sample: &Sample) -> Self {
        Self { p50: sample.p50_us, p99: sample.p99_us, p999: sample.p999_us }
    }

    fn less(self, other: Self) -> Self {
        Self { p50: self.p50 - other.p50, p99: self.p99 - other.p99, p999: self.p999 - other.p999 }
    }

    /// Of each by itself.
    fn median(all: &[Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| median(all.iter().map(figure));
        Some(Self { p50: of(|it| it.p50)?, p99: of(|it| it.p99)?, p999: of(|it| it.p999)? })
    }
}

impl OpenReport {
    fn new(workload: &Workload, apart: bool, rate: f64, legs: Vec<(Leg, Vec<Outcome>)>) -> Self {
        let mut legs: Vec<OpenLeg> =
            legs.into_iter().map(|(leg, all)| OpenLeg::new(leg, all)).collect();
        let direct = legs.iter().find(|it| it.leg == Leg::Direct.name() && it.status == "ok");
        let direct: Vec<Times> =
            direct.map(|it| it.rounds.iter().map(Times::of).collect()).unwrap_or_default();
        for leg in legs.iter_mut().filter(|it| it.status == "ok" && it.leg != Leg::Direct.name()) {
            let pairs = leg.rounds.iter().zip(&direct);
            let added: Vec<Times> = pairs.map(|(it, than)| Times::of(it).less(*than)).collect();
            leg.added_us = Times::median(&added);
        }
        let (name, what) = (workload.name, workload.what);
        Self { workload: name, what, sessions: SESSIONS, apart, calls_per_second: rate, legs }
    }

    /// What went wrong, if something did.
    pub(crate) fn failure(&self) -> Option<String> {
        let failed = self.legs.iter().find(|it| it.status == "failed")?;
        let reason = failed.reason.as_deref().unwrap_or_default();
        Some(format!("open, {}, {}: {reason}", self.workload, failed.leg))
    }

    /// What the first relay adds: the measure for the others.
    fn floor(&self) -> Option<Times> {
        let relay = |it: &&OpenLeg| it.leg.starts_with("hyper-") || it.leg.starts_with("stdio-");
        self.legs.iter().find(relay)?.added_us
    }
}

impl OpenLeg {
    fn new(leg: Leg, outcomes: Vec<Outcome>) -> Self {
        let (rounds, status, reason) = Ended::split(outcomes);
        let times: Vec<Times> = rounds.iter().map(Times::of).collect();
        let median_us = if status == "ok" { Times::median(&times) } else { None };
        Self { leg: leg.name(), status, reason, rounds, median_us, added_us: None }
    }

    fn row(&self, out: &mut fmt::Formatter<'_>, floor: Option<Times>) -> fmt::Result {
        let Some(times) = self.median_us else {
            let reason = self.reason.as_deref().unwrap_or("nothing measured");
            return writeln!(out, "| {} | {}: {} ||||||||", self.leg, self.status, cell(reason));
        };
        let cpu = median(self.rounds.iter().map(|it| it.cpu_ms_per_1000)).unwrap_or(f64::NAN);
        write!(out, "| {} | {:.0} | {:.0} | {:.0} |", self.leg, times.p50, times.p99, times.p999)?;
        match self.added_us {
            Some(it) => write!(out, " {:.0} | {:.0} | {:.0} |", it.p50, it.p99, it.p999)?,
            None => write!(out, " – | – | – |")?,
        }
        let times = |of: fn(&Times) -> f64| match (self.added_us, floor) {
            (Some(it), Some(floor)) if 0.0 < of(&floor) => format!("{:.2}", of(&it) / of(&floor)),
            _ => "–".to_owned(),
        };
        writeln!(out, " {}, {} | {cpu:.2} |", times(|it| it.p50), times(|it| it.p99))
    }
}

/// The tables, if there are any.
pub(crate) fn table(reports: &[OpenReport], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    for report in reports {
        writeln!(
            out,
            "\n## {} at {:.0} calls a second, whether answered or not: {}, {} sessions, {}\n\nµs from when a call was due to its answer; added: less those of the direct connection in the same round.\n\n| leg | p50 | p99 | p99.9 | added p50 | added p99 | added p99.9 | × what the relay adds, p50, p99 | CPU-ms per 1,000 |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|",
            report.workload,
            report.calls_per_second,
            report.what,
            report.sessions,
            if report.apart {
                "half of the processors for what is measured, half for all else"
            } else {
                "all share all processors"
            }
        )?;
        report.legs.iter().try_for_each(|it| it.row(out, report.floor()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
