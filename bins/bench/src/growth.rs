//! Growth: what a call costs where there are more sessions, or more servers, than are used.
//!
//! A few sessions ask, as in every load; all others are open, and rest.  The figure of each size is
//! compared with that of the smallest in the same round.

use std::{fmt, path::Path};

use serde::Serialize;

use crate::{
    error::{Failure, Result},
    idle::{Listens, fitting, open},
    load::Manner,
    plan::{Leg, Plan, WORKLOADS, Workload},
    report::{Ended, Outcome, Sample, cell},
    rounds,
    stack::{Stack, Wanted},
    stats::median,
};

/// In front and behind as here.
const OF: [&str; 2] = ["W1", "W4"];
/// So many sessions ask.
const ASKING: usize = 8;

/// What there is more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Of {
    /// Sessions with one server, those that ask among them.
    Sessions,
    /// Configured servers, of which the last is asked.
    Servers,
}

/// One size.
#[derive(Debug, Serialize)]
struct Size {
    count: usize,
    status: &'static str,
    reason: Option<String>,
    rounds: Vec<Sample>,
    cpu_ms_per_1000: Option<f64>,
    /// To the smallest size in the same round.
    to_first: Option<f64>,
    /// Memory for each of those that there are more than in the smallest size.
    kib_each: Option<f64>,
}

/// One workload, with more and more of something.
#[derive(Debug, Serialize)]
pub(crate) struct GrowthReport {
    workload: &'static str,
    what: &'static str,
    of: Of,
    sizes: Vec<Size>,
}

/// Measures every workload with more and more sessions, and the first with more and more servers.
///
/// # Errors
/// As [`rounds::measure`].
pub(crate) async fn measure(plan: &Plan, folder: &Path) -> Result<Vec<GrowthReport>> {
    let mut reports = Vec::new();
    let workloads = || WORKLOADS.iter().filter(|it| OF.contains(&it.name));
    for workload in workloads() {
        reports.push(one(plan, workload, Of::Sessions, folder).await?);
    }
    // A thousand children would say more about the machine than about the gateway.
    for workload in workloads().filter(|it| !it.behind.is_child()) {
        reports.push(one(plan, workload, Of::Servers, folder).await?);
    }
    Ok(reports)
}

async fn one(plan: &Plan, workload: &Workload, of: Of, folder: &Path) -> Result<GrowthReport> {
    let counts: Vec<usize> = match of {
        Of::Sessions => {
            plan.growth_sessions.iter().map(|it| fitting((*it).max(ASKING), 2)).collect()
        }
        Of::Servers => plan.growth_servers.clone(),
    };
    let mut sizes: Vec<(usize, Vec<Outcome>)> =
        counts.into_iter().map(|it| (it, Vec::new())).collect();
    for round in 1..=plan.rounds {
        for (count, outcomes) in &mut sizes {
            if outcomes.iter().any(|it| !matches!(it, Outcome::Done(_))) {
                continue;
            }
            let outcome = once(plan, workload, (of, *count), folder).await?;
            let (name, line) = (workload.name, outcome.line());
            crate::say(&format!("growth · {name} · {count} {of} · round {round}: {line}"));
            outcomes.push(outcome);
        }
    }
    Ok(GrowthReport::new(workload, of, sizes))
}

async fn once(
    plan: &Plan,
    workload: &Workload,
    (of, count): (Of, usize),
    folder: &Path,
) -> Result<Outcome> {
    let wanted = Wanted::of(Leg::Gateway, workload.front, workload.behind);
    let wanted = match of {
        Of::Sessions => Wanted { idle: Some(count), ..wanted },
        Of::Servers => Wanted { servers: count, ..wanted },
    };
    let mut stack = match Stack::start(plan, wanted, folder).await {
        Ok(stack) => stack,
        Err(cause) if !plan.require_gateway => return Ok(Outcome::No(cause.to_string())),
        Err(cause) => return Ok(Outcome::Failed(cause.to_string())),
    };
    // The last: whoever looks through all of them finds it last.
    stack.doors.reverse();
    let resting = if of == Of::Sessions { count.saturating_sub(ASKING) } else { 0 };
    let sampled = async {
        let door = stack.doors.first().ok_or_else(none)?;
        let sessions = open(plan, door, (resting, Listens::No)).await?;
        let sample = rounds::sample(plan, workload, (ASKING, Manner::Steady), &stack).await?;
        drop(sessions);
        Ok(sample)
    };
    let outcome = match sampled.await {
        Ok(sample) => Outcome::Done(sample),
        Err(cause) => Outcome::Failed(stack.explain(cause).to_string()),
    };
    stack.end().await?;
    Ok(outcome)
}

fn none() -> Failure {
    Failure::Process("no door".to_owned())
}

impl fmt::Display for Of {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Sessions => "sessions",
            Self::Servers => "servers",
        })
    }
}

impl GrowthReport {
    fn new(workload: &Workload, of: Of, sizes: Vec<(usize, Vec<Outcome>)>) -> Self {
        let mut sizes: Vec<Size> =
            sizes.into_iter().map(|(count, outcomes)| Size::new(count, outcomes)).collect();
        if let Some((first, more)) = sizes.split_first_mut() {
            more.iter_mut().for_each(|it| it.compare(first));
        }
        Self { workload: workload.name, what: workload.what, of, sizes }
    }

    /// What went wrong, if something did.
    pub(crate) fn failure(&self) -> Option<String> {
        let failed = self.sizes.iter().find(|it| it.status == "failed")?;
        let reason = failed.reason.as_deref().unwrap_or_default();
        let (name, count, of) = (self.workload, failed.count, self.of);
        Some(format!("growth, {name} with {count} {of}: {reason}"))
    }
}

impl Size {
    fn new(count: usize, outcomes: Vec<Outcome>) -> Self {
        let (rounds, status, reason) = Ended::split(outcomes);
        let cpu_ms_per_1000 = median(rounds.iter().map(|it| it.cpu_ms_per_1000));
        let (to_first, kib_each) = (None, None);
        Self { count, status, reason, rounds, cpu_ms_per_1000, to_first, kib_each }
    }

    fn compare(&mut self, first: &Self) {
        let pairs = || self.rounds.iter().zip(&first.rounds);
        let more = self.count.saturating_sub(first.count);
        let kib = |(it, first): (&Sample, &Sample)| it.rss_kib as f64 - first.rss_kib as f64;
        let ratio =
            |(it, first): (&Sample, &Sample)| Some(it.cpu_ms_per_1000 / first.cpu_ms_per_1000);
        self.to_first = median(pairs().filter_map(ratio));
        self.kib_each = median(pairs().map(kib)).filter(|_| 0 < more).map(|kib| kib / more as f64);
    }

    fn row(&self, name: &str, of: Of, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count;
        let Some(cpu) = self.cpu_ms_per_1000.filter(|_| self.status == "ok") else {
            let reason = self.reason.as_deref().unwrap_or("nothing measured");
            let (status, reason) = (self.status, cell(reason));
            return writeln!(out, "| {name} | {count} {of} | {status}: {reason} ||||");
        };
        let shown =
            |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), |it| format!("{it:.2}"));
        let foreign = median(self.rounds.iter().map(|it| it.foreign_cpu)).unwrap_or(f64::NAN);
        writeln!(
            out,
            "| {name} | {count} {of} | {cpu:.2} | {} | {} | {:.0} % |",
            shown(self.to_first),
            shown(self.kib_each),
            foreign * 100.0
        )
    }
}

/// The table, if there is one.
pub(crate) fn table(reports: &[GrowthReport], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if reports.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Growth: {ASKING} sessions ask, beside others that rest, or one of many servers\n\n| workload | with | CPU-ms per 1,000 | × the fewest | KiB for each further | others' CPU |\n|---|---|--:|--:|--:|--:|"
    )?;
    for report in reports {
        report.sizes.iter().try_for_each(|it| it.row(report.workload, report.of, out))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(cpu_ms_per_1000: f64, rss_kib: u64) -> Outcome {
        Outcome::Done(Sample {
            calls: 1,
            seconds: 1.0,
            calls_per_second: 1.0,
            cpu_ms_per_1000,
            upstream_cpu_ms_per_1000: None,
            generator_cpu_ms_per_1000: 0.0,
            p50_us: 1.0,
            p99_us: 1.0,
            p999_us: 1.0,
            rss_kib,
            peak_kib: rss_kib,
            foreign_cpu: 0.5,
        })
    }

    #[test]
    fn each_size_is_compared_with_the_fewest_of_its_round() {
        let workload = WORKLOADS.iter().find(|it| it.name == "W1").unwrap();
        let few = vec![outcome(10.0, 8000), outcome(20.0, 8000), outcome(30.0, 9000)];
        let many = vec![outcome(11.0, 8200), outcome(24.0, 8400), outcome(33.0, 9200)];
        let broken = vec![outcome(1.0, 1), Outcome::Failed("it is gone".to_owned())];
        let sizes = vec![(8, few), (108, many), (208, broken)];
        let report = GrowthReport::new(workload, Of::Sessions, sizes);
        let [few, many, broken] = report.sizes.as_slice() else { panic!("{report:?}") };
        assert_eq!((few.cpu_ms_per_1000, few.to_first, few.kib_each), (Some(20.0), None, None));
        assert_eq!((many.to_first, many.kib_each), (Some(1.1), Some(2.0)));
        assert_eq!(broken.status, "failed");
        assert_eq!(report.failure().unwrap(), "growth, W1 with 208 sessions: it is gone");
        let text = fmt::from_fn(|out| table(std::slice::from_ref(&report), out)).to_string();
        assert!(text.contains("| W1 | 108 sessions | 24.00 | 1.10 | 2.00 | 50 % |"), "{text}");
        assert!(text.contains("| W1 | 208 sessions | failed: it is gone ||||"), "{text}");
    }
}
