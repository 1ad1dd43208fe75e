//! All that a supervised child has started and that still runs.

use rustix::process::{Pid, Signal, kill_process_group};

/// The processes a supervisor answers for.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The child's process group, of which the child is the first.
    group: Pid,
}

impl Tree {
    /// The child of this id, and all below.
    pub(crate) fn new(child: Pid) -> Self {
        Self { group: child }
    }

    /// Sends a signal to the child's process group, as a terminal would.
    pub(crate) fn forward(&self, signal: Signal) {
        // None is left, which whoever waits for the end finds out.
        kill_process_group(self.group, signal).ok();
    }

    /// Whether nothing runs any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.members().is_empty()
    }

    /// Sends a signal to each process.
    #[cfg(target_os = "linux")]
    pub(crate) fn signal(&self, signal: Signal) {
        for pid in self.members() {
            // Gone meanwhile, or another user's and out of reach.
            rustix::process::kill_process(pid, signal).ok();
        }
    }

    /// All processes below this one: since the supervisor is where orphans go, these are all that
    /// the child has started, whatever process group or session they have put themselves in.
    #[cfg(target_os = "linux")]
    fn members(&self) -> Vec<Pid> {
        linux::descendants()
    }

    /// Sends a signal to each process.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn signal(&self, signal: Signal) {
        self.forward(signal);
    }

    /// The process group, if it has members: without a subreaper nobody knows of others.
    #[cfg(not(target_os = "linux"))]
    fn members(&self) -> Vec<Pid> {
        rustix::process::test_kill_process_group(self.group)
            .map(|()| self.group)
            .into_iter()
            .collect()
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    use rustix::process::{Pid, getpid};

    /// All processes below this one, near ones first.
    pub(super) fn descendants() -> Vec<Pid> {
        let me = getpid();
        // Kernels may be built without these lists.
        let listed = fs::exists(format!("/proc/self/task/{me}/children")).unwrap_or(false);
        let children = if listed { children } else { children_by_parent };
        let mut found = children(me);
        let mut at = 0;
        while let Some(&pid) = found.get(at) {
            at += 1;
            for child in children(pid) {
                if !found.contains(&child) {
                    found.push(child);
                }
            }
        }
        found
    }

    pub(super) fn children(of: Pid) -> Vec<Pid> {
        let threads = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
        let lists = threads.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
        lists.flat_map(|list| list.split_whitespace().filter_map(pid).collect::<Vec<_>>()).collect()
    }

    /// The slow way: by what each process says of its parent.
    pub(super) fn children_by_parent(of: Pid) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let children = processes.filter_map(|process| {
            let child = pid(process.file_name().to_str()?)?;
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            // `pid (name) state ppid …`; a name may hold anything, brackets included.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            (pid(parent) == Some(of)).then_some(child)
        });
        children.collect()
    }

    fn pid(text: &str) -> Option<Pid> {
        text.parse().ok().and_then(Pid::from_raw)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    use rustix::process::kill_process;

    use super::*;

    #[test]
    fn grandchildren_are_found() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo; wait"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();

        let shell = Pid::from_child(&child);
        let sleep = linux::children(shell);
        assert_eq!(sleep.len(), 1);
        assert_eq!(linux::children_by_parent(shell), sleep);
        let found = linux::descendants();
        assert!(found.contains(&shell) && found.contains(&sleep[0]));

        kill_process(sleep[0], Signal::KILL).unwrap();
        kill_process(shell, Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(!linux::descendants().contains(&shell));
    }
}
