//! Processors dealt out: one half for what is measured, the other for the generator and the servers
//! behind.
//!
//! Where all share all processors, the 99th percentile of a call is how long somebody waited for
//! one: some slices of the scheduler, which move by a factor of three from run to run, and fall to
//! whoever runs the most.  Apart, what is left is what the measured process itself adds.

use std::{fs, io};

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use crate::error::{Failure, Result};

/// The two halves of what this process may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Apart {
    all: CpuSet,
    measured: CpuSet,
    others: CpuSet,
}

impl Apart {
    /// `None` where there is one processor alone.
    ///
    /// # Errors
    /// [`Failure::Io`] when the system does not say which there are.
    pub(crate) fn here() -> Result<Option<Self>> {
        let all = sched_getaffinity(None).map_err(|it| failed(it.into()))?;
        let half = all.count() / 2;
        let (mut measured, mut others) = (CpuSet::new(), CpuSet::new());
        for (nth, cpu) in (0..CpuSet::MAX_CPU).filter(|it| all.is_set(*it)).enumerate() {
            let set = if (nth as u32) < half { &mut measured } else { &mut others };
            set.set(cpu);
        }
        Ok((half != 0).then_some(Self { all, measured, others }))
    }

    /// From now on this process, and what it starts, keeps to its half.
    ///
    /// # Errors
    /// [`Failure::Io`] when the system refuses.
    pub(crate) fn begin(&self) -> Result<()> {
        confine(std::process::id(), &self.others)
    }

    /// This process has all of them again.
    ///
    /// # Errors
    /// As [`Apart::begin`].
    pub(crate) fn end(&self) -> Result<()> {
        confine(std::process::id(), &self.all)
    }

    /// Starts something in the half of what is measured: it finds no other processors.
    ///
    /// # Errors
    /// As `start`, or [`Failure::Io`] when the system refuses.
    pub(crate) fn starting<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        sched_setaffinity(None, &self.measured).map_err(|it| failed(it.into()))?;
        let started = start();
        sched_setaffinity(None, &self.others).map_err(|it| failed(it.into()))?;
        started
    }

    /// What the measured process has started goes where the other servers are.
    ///
    /// # Errors
    /// As [`Apart::begin`].
    pub(crate) fn banish(&self, children: &[u32]) -> Result<()> {
        children.iter().try_for_each(|pid| confine(*pid, &self.others))
    }
}

/// All threads of a process; those that it starts are where their parent is.
fn confine(pid: u32, to: &CpuSet) -> Result<()> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_err(failed)?;
    for thread in threads {
        let name = thread.map_err(failed)?.file_name();
        let thread = name.to_str().and_then(|it| it.parse().ok()).and_then(Pid::from_raw);
        let thread = thread.ok_or_else(|| Failure::Process(format!("no thread: {name:?}")))?;
        match sched_setaffinity(Some(thread), to) {
            // It has ended meanwhile.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(())
}

fn failed(source: io::Error) -> Failure {
    Failure::io("dealing out processors")(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_halves_are_all_there_is_and_what_is_started_in_one_stays_there() {
        let Some(apart) = Apart::here().expect("processors") else { return };
        let cpus = |set: &CpuSet| -> Vec<usize> {
            (0..CpuSet::MAX_CPU).filter(|it| set.is_set(*it)).collect()
        };
        let (measured, others) = (cpus(&apart.measured), cpus(&apart.others));
        assert!(!measured.is_empty() && measured.len() <= others.len());
        assert_eq!([measured.clone(), others.clone()].concat(), cpus(&apart.all));
        let now = || Ok(sched_getaffinity(None).expect("processors"));
        let inside = apart.starting(now).expect("a half");
        assert_eq!(cpus(&inside), measured);
        assert_eq!(cpus(&now().expect("a half")), others, "this thread is back among the others");
    }
}
