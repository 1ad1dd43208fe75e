//! What Linux tells about processes and the machine under `/proc`.

use std::{collections::HashMap, fs, io};

use crate::error::{Failure, Result};

/// Of one process: the processor time of all its threads, and its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Its parent.
    pub(crate) parent: u32,
    /// User and system time, in clock ticks; ended children are not in it.
    pub(crate) ticks: u64,
}

/// Of one process: memory in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) rss_kib: u64,
    /// Resident at most.
    pub(crate) peak_kib: u64,
}

/// Processor time of some processes together, in milliseconds.
///
/// # Errors
/// [`Failure::Process`] when one of them is gone: its time would be missing.
pub(crate) fn cpu_ms(pids: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for pid in pids {
        ticks += stat(*pid).map_err(|cause| gone(*pid, &cause))?.ticks;
    }
    Ok(to_ms(ticks))
}

/// Memory of some processes together.
///
/// # Errors
/// [`Failure::Process`] when one of them is gone.
pub(crate) fn memory(pids: &[u32]) -> Result<Memory> {
    let mut sum = Memory::default();
    for pid in pids {
        let text = fs::read_to_string(format!("/proc/{pid}/status"))
            .map_err(|cause| gone(*pid, &cause))?;
        let one = parse_memory(&text)
            .ok_or_else(|| Failure::Process(format!("process {pid} has no memory any more")))?;
        sum.rss_kib += one.rss_kib;
        sum.peak_kib += one.peak_kib;
    }
    Ok(sum)
}

/// Processor time of a process and all that descend from it, in milliseconds.
pub(crate) fn tree_cpu_ms(root: u32) -> Result<f64> {
    let all = everything()?;
    let of_tree = all.iter().filter(|(pid, _)| descends(**pid, root, &all));
    Ok(to_ms(of_tree.map(|(_, stat)| stat.ticks).sum()))
}

/// A process and all that descend from it, but those that run this very program: what a gateway
/// starts by itself is its own cost, and our servers behind it are not.
///
/// # Errors
/// [`Failure::Io`] when `/proc` cannot be listed.
pub(crate) fn family(root: u32) -> Result<Vec<u32>> {
    let all = everything()?;
    let ours = fs::read_link("/proc/self/exe").map_err(Failure::io("this program"))?;
    let is_ours = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|it| it == ours);
    let descends = |pid: &u32| descends(*pid, root, &all);
    let mut family: Vec<u32> = all.keys().copied().filter(descends).collect();
    family.retain(|pid| *pid == root || !is_ours(*pid));
    Ok(family)
}

/// What descends from a process, without it.
///
/// # Errors
/// As [`family`].
pub(crate) fn descendants(root: u32) -> Result<Vec<u32>> {
    let all = everything()?;
    let below = |pid: &u32| *pid != root && descends(*pid, root, &all);
    Ok(all.keys().copied().filter(below).collect())
}

/// What every process of some families has used, so that a later reading can be compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Used(HashMap<u32, u64>);

impl Used {
    /// Reads all of them.  A process that ended meanwhile is left out.
    ///
    /// # Errors
    /// [`Failure::Process`] when one of `roots` is gone: its time would be missing.
    pub(crate) fn of(roots: &[u32]) -> Result<Self> {
        let mut used = HashMap::new();
        for root in roots {
            used.insert(*root, stat(*root).map_err(|cause| gone(*root, &cause))?.ticks);
            let others = family(*root)?.into_iter().filter(|it| it != root);
            used.extend(others.filter_map(|pid| Some((pid, stat(pid).ok()?.ticks))));
        }
        Ok(Self(used))
    }

    /// How much was used since then, in milliseconds: that of processes which are here now.
    pub(crate) fn since(&self, before: &Self) -> f64 {
        let grown =
            |(pid, now): (&u32, &u64)| now.saturating_sub(before.0.get(pid).copied().unwrap_or(0));
        to_ms(self.0.iter().map(grown).sum())
    }
}

fn everything() -> Result<HashMap<u32, Stat>> {
    let entries = fs::read_dir("/proc").map_err(Failure::io("/proc"))?;
    let pids = entries.filter_map(|it| it.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // A process may end between the listing and the reading: then it is no part of any sum.
    Ok(pids.filter_map(|pid| Some((pid, stat(pid).ok()?))).collect())
}

fn descends(pid: u32, root: u32, all: &HashMap<u32, Stat>) -> bool {
    let mut at = pid;
    for _ in 0..all.len() {
        if at == root {
            return true;
        }
        match all.get(&at) {
            Some(stat) => at = stat.parent,
            None => return false,
        }
    }
    false
}

/// Processor time the whole machine has spent working, in milliseconds over all cores.
///
/// # Errors
/// [`Failure::Peer`] when `/proc/stat` is not as Linux writes it.
pub(crate) fn machine_busy_ms() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat").map_err(Failure::io("/proc/stat"))?;
    parse_busy(&text).map(to_ms).ok_or_else(|| Failure::Peer("/proc/stat is strange".to_owned()))
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "strange stat"))
}

fn gone(pid: u32, cause: &io::Error) -> Failure {
    Failure::Process(format!("process {pid} cannot be measured: {cause}"))
}

fn to_ms(ticks: u64) -> f64 {
    ticks as f64 * 1000.0 / rustix::param::clock_ticks_per_second() as f64
}

/// The name in brackets may hold anything, brackets and spaces too: fields count from its end.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |nth: usize| fields.get(nth)?.parse::<u64>().ok();
    let parent = u32::try_from(field(1)?).ok()?;
    Some(Stat { parent, ticks: field(11)? + field(12)? })
}

fn parse_memory(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Memory { rss_kib: field("VmRSS:")?, peak_kib: field("VmHWM:")? })
}

/// All columns of the first line but idle and waiting; time of guests is already in `user`.
fn parse_busy(text: &str) -> Option<u64> {
    let columns = text.lines().next()?.strip_prefix("cpu ")?;
    let columns: Option<Vec<u64>> =
        columns.split_whitespace().take(8).map(|it| it.parse().ok()).collect();
    let busy = columns?.into_iter().enumerate().filter(|(nth, _)| !matches!(nth, 3 | 4));
    Some(busy.map(|(_, ticks)| ticks).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name_holds() {
        let line = "4242 (a) b (c) d) S 17 4242 1 0 -1 4194560 900 0 0 0 120 35 999 999 20 0 3 0";
        assert_eq!(parse_stat(line), Some(Stat { parent: 17, ticks: 155 }));
        assert_eq!(parse_stat("4242 (x) S 1 2"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_status_file_is_read() {
        let text = "Name:\tx\nVmHWM:\t    5120 kB\nVmRSS:\t    4096 kB\nThreads:\t3\n";
        assert_eq!(parse_memory(text), Some(Memory { rss_kib: 4096, peak_kib: 5120 }));
        assert_eq!(parse_memory("Name:\tzombie\n"), None);
    }

    #[test]
    fn busy_time_leaves_out_idle_and_guests() {
        assert_eq!(parse_busy("cpu  10 1 5 1000 50 2 3 4 7 7\ncpu0 1"), Some(25));
        assert_eq!(parse_busy("intr 1"), None);
    }

    #[test]
    fn this_process_has_time_memory_and_a_place_in_its_own_tree() {
        let me = std::process::id();
        let mut sum = 0u64;
        while cpu_ms(&[me]).unwrap() == 0.0 {
            sum = (0..1_000_000).fold(sum, |sum, it| std::hint::black_box(sum ^ it));
        }
        assert!(0 < memory(&[me]).unwrap().rss_kib);
        assert!(0.0 < tree_cpu_ms(me).unwrap());
        assert!(tree_cpu_ms(me).unwrap() <= machine_busy_ms().unwrap());
    }

    #[test]
    fn a_family_is_a_process_and_what_it_starts_but_not_this_program() {
        let me = std::process::id();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // Until it is another program, it is this one.
        while !family(me).unwrap().contains(&child.id()) {
            std::thread::yield_now();
        }
        let family = family(me).unwrap();
        assert!(family.contains(&me), "{family:?}");
        let before = Used::of(&[me]).unwrap();
        let mut sum = 0u64;
        while Used::of(&[me]).unwrap().since(&before) == 0.0 {
            sum = (0..1_000_000).fold(sum, |sum, it| std::hint::black_box(sum ^ it));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(Used::of(&[u32::MAX - 1]).is_err());
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(matches!(cpu_ms(&[u32::MAX - 1]), Err(Failure::Process(_))));
        assert!(matches!(memory(&[u32::MAX - 1]), Err(Failure::Process(_))));
    }
}
