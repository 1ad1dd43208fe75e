//! Times from a death to the next answer, and of new sessions whose server is slow to start.

use std::fmt;

use serde::Serialize;

use super::{Ended, markdown::cell};
use crate::stats::{median, ratio};

/// Of a recovery.
pub(crate) type RecoveryOutcome = Ended<RecoverySample>;

/// One recovery.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RecoverySample {
    /// From the signal to the answer.
    pub(crate) ms: f64,
    /// Attempts that failed before.
    pub(crate) failed_attempts: u32,
}

/// One leg of one case.
#[derive(Debug, Serialize)]
pub(crate) struct RecoveryReport {
    what: &'static str,
    case: String,
    leg: &'static str,
    status: &'static str,
    reason: Option<String>,
    rounds: Vec<RecoverySample>,
    median_ms: Option<f64>,
    max_ms: Option<f64>,
    failed_attempts: Option<f64>,
    /// Median of the ratios of each round to the first leg of the case.
    to_first: Option<f64>,
}

impl RecoveryReport {
    /// Medians of what was measured.
    pub(crate) fn new(
        what: &'static str,
        case: String,
        leg: &'static str,
        outcomes: Vec<RecoveryOutcome>,
    ) -> Self {
        let (rounds, status, reason) = Ended::split(outcomes);
        let ms = || rounds.iter().map(|it| it.ms);
        Self {
            median_ms: median(ms()),
            max_ms: ms().max_by(f64::total_cmp),
            failed_attempts: median(rounds.iter().map(|it| f64::from(it.failed_attempts))),
            to_first: None,
            what,
            case,
            leg,
            status,
            reason,
            rounds,
        }
    }

    /// For the log of the run.
    pub(crate) fn line(&self) -> String {
        let ms = |it: Option<f64>| it.unwrap_or(f64::NAN);
        match &self.reason {
            Some(reason) => format!("{} ({reason})", self.status),
            None => format!("{:.1} ms, at most {:.1} ms", ms(self.median_ms), ms(self.max_ms)),
        }
    }

    /// What went wrong, if anything did.
    pub(super) fn failure(&self) -> Option<String> {
        let reason = self.reason.as_deref().filter(|_| self.status == "failed")?;
        Some(format!("recovery, {}, {}, {}: {reason}", self.what, self.case, self.leg))
    }

    fn row(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, case, leg, status, .. } = self;
        if let Some(reason) = &self.reason {
            return writeln!(out, "| {what} | {case} | {leg} | {status}: {} |||||", cell(reason));
        }
        let shown = |it: Option<f64>| it.map_or_else(|| "–".to_owned(), |it| format!("{it:.1}"));
        let times = self.to_first.map_or_else(|| "–".to_owned(), |it| format!("{it:.2}"));
        writeln!(
            out,
            "| {what} | {case} | {leg} | {} | {} | {times} | {} | {} |",
            shown(self.median_ms),
            shown(self.max_ms),
            shown(self.failed_attempts),
            self.rounds.len()
        )
    }
}

/// Compares the legs of a case with the first of them.
pub(crate) fn compare(legs: &mut [RecoveryReport]) {
    let Some((first, others)) = legs.split_first_mut() else { return };
    let of = |leg: &RecoveryReport| leg.rounds.iter().map(|it| it.ms).collect::<Vec<f64>>();
    let theirs = of(first);
    for leg in others {
        leg.to_first = ratio(&of(leg), &theirs);
    }
}

/// The table of all cases, if there are any.
pub(super) fn table(reports: &[RecoveryReport], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    if reports.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n## Recovery: ms to the next right answer\n\n| after | case | leg | median | at most | × first leg | failed attempts | times |\n|---|---|---|--:|--:|--:|--:|--:|"
    )?;
    reports.iter().try_for_each(|it| it.row(out))
}
