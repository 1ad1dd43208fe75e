//! The report as tables.

use std::fmt;

use super::{ColdReport, Ended, IdleReport, LegReport, LoadReport, PeerNote, Report, SlopeReport};

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "# Measured\n\n{}.  Medians of {} rounds of {} s; ratios are medians of the ratios of each round.  Generator: {} threads.",
            self.machine.line(),
            self.settings.rounds,
            self.settings.seconds,
            self.settings.generator_threads
        )?;
        if !self.settings.peers.is_empty() {
            let one = |it: &PeerNote| {
                let version = it.version.as_deref().unwrap_or("not installed");
                format!("{} is {}, {version}", it.name, it.package)
            };
            let peers: Vec<String> = self.settings.peers.iter().map(one).collect();
            writeln!(out, "\nPeers: {}.", peers.join("; "))?;
        }
        let mut workload = "";
        for load in &self.loads {
            if workload != load.workload {
                workload = load.workload;
                let floor = load.floor.unwrap_or("none");
                writeln!(out, "\n## {workload}: {} (floor: {floor})\n", load.what)?;
                writeln!(
                    out,
                    "| sessions | leg | CPU-ms per 1,000 | × floor | × direct | calls/s | × floor | p50 µs | p99 µs | p99.9 µs | RSS MiB | others' CPU |"
                )?;
                writeln!(out, "|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
            }
            load.rows(out)?;
        }
        crate::open::table(&self.open, out)?;
        crate::growth::table(&self.growth, out)?;
        crate::adverse::table(&self.adverse, out)?;
        if !self.idle.is_empty() {
            writeln!(
                out,
                "\n## Idle sessions, each with its stream open\n\n| case | leg | sessions | RSS at rest MiB | RSS with all MiB | KiB per session | KiB per further session |\n|---|---|--:|--:|--:|--:|--:|"
            )?;
        }
        self.idle.iter().try_for_each(|it| it.row(out))?;
        if !self.cold.is_empty() {
            writeln!(
                out,
                "\n## Cold start: ms from exec\n\n| stdio servers | leg | listening | first tools/list | every tools/list | starts |\n|--:|---|--:|--:|--:|--:|"
            )?;
        }
        self.cold.iter().try_for_each(|it| it.row(out))?;
        if !self.slopes.is_empty() {
            writeln!(
                out,
                "\n## Sessions opened, used and closed\n\n| case | leg | sessions | a second | RSS after a fifth MiB | RSS at the end MiB | bytes per session |\n|---|---|--:|--:|--:|--:|--:|"
            )?;
        }
        self.slopes.iter().try_for_each(|it| it.row(out))?;
        super::recovery::table(&self.recovery, out)?;
        crate::aggregate::table(&self.aggregate, out)?;
        super::eras::summary(&self.loads, out)?;
        super::eras::parked(&self.parked, out)
    }
}

impl LoadReport {
    fn rows(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.legs.iter().try_for_each(|leg| leg.row(out, self.sessions))
    }
}

impl LegReport {
    fn row(&self, out: &mut fmt::Formatter<'_>, sessions: usize) -> fmt::Result {
        let Some(median) = &self.median else {
            let reason = self.reason.as_deref().unwrap_or("nothing measured");
            return writeln!(
                out,
                "| {sessions} | {} | {}: {} |||||||||",
                self.leg,
                self.status,
                cell(reason)
            );
        };
        let (floor, direct) = (self.to_floor.as_ref(), self.to_direct.as_ref());
        writeln!(
            out,
            "| {sessions} | {} | {:.2} | {} | {} | {:.0} | {} | {:.0} | {:.0} | {:.0} | {:.1} | {:.0} % |",
            self.leg,
            median.cpu_ms_per_1000,
            times(floor.and_then(|it| it.cpu)),
            times(direct.and_then(|it| it.cpu)),
            median.calls_per_second,
            times(floor.and_then(|it| it.calls_per_second)),
            median.p50_us,
            median.p99_us,
            median.p999_us,
            median.rss_kib / 1024.0,
            median.foreign_cpu * 100.0,
        )
    }
}

impl IdleReport {
    fn row(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, leg, sessions, outcome } = self;
        let it = match outcome {
            Ended::Done(it) => it,
            Ended::No(why) => {
                return writeln!(out, "| {case} | {leg} | {sessions} | no: {} ||||", cell(why));
            }
            Ended::Failed(why) => {
                return writeln!(out, "| {case} | {leg} | {sessions} | failed: {} ||||", cell(why));
            }
        };
        let (rest, full) = (it.rest_kib as f64 / 1024.0, it.full_kib as f64 / 1024.0);
        let marginal = it.marginal_kib.map_or_else(|| "–".to_owned(), |it| format!("{it:.1}"));
        let each = it.per_session_kib;
        writeln!(
            out,
            "| {case} | {leg} | {sessions} | {rest:.1} | {full:.1} | {each:.1} | {marginal} |"
        )
    }
}

impl ColdReport {
    fn row(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { servers, leg, starts, .. } = self;
        if let Some(reason) = &self.reason {
            return writeln!(
                out,
                "| {servers} | {leg} | {}: {} |||{starts} |",
                self.status,
                cell(reason)
            );
        }
        let ms = |it: Option<f64>| it.map_or_else(|| "–".to_owned(), |it| format!("{it:.1}"));
        let (listening, first) = (ms(self.listening_ms), ms(self.first_list_ms));
        writeln!(
            out,
            "| {servers} | {leg} | {listening} | {first} | {} | {starts} |",
            ms(self.every_list_ms)
        )
    }
}

impl SlopeReport {
    fn row(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, leg, outcome } = self;
        let it = match outcome {
            Ended::Done(it) => it,
            Ended::No(why) => {
                return writeln!(out, "| {case} | {leg} | no: {} |||||", cell(why));
            }
            Ended::Failed(why) => {
                return writeln!(out, "| {case} | {leg} | failed: {} |||||", cell(why));
            }
        };
        let (warm, end) = (it.warm_kib as f64 / 1024.0, it.end_kib as f64 / 1024.0);
        let slope = it.bytes_per_session.map_or_else(|| "–".to_owned(), |it| format!("{it:.2}"));
        let (sessions, rate) = (it.sessions, it.sessions_per_second);
        writeln!(
            out,
            "| {case} | {leg} | {sessions} | {rate:.0} | {warm:.1} | {end:.1} | {slope} |"
        )
    }
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |it| format!("{it:.2}"))
}

/// A reason holds whatever a process said last; a table must survive it.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
