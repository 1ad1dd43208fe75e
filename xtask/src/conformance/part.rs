//! Programs beside the suite: each in a process group of its own, heard, bounded in time, and gone
//! with everything it started when it is dropped.

use std::{
    env, fs,
    fs::File,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::run::pause;

/// How often a program is asked after.
const STEP: Duration = Duration::from_millis(20);
/// How long a program may take to say where it serves.
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// What a program gets after SIGTERM, before SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of what a program said last is repeated where it went wrong.
const TAIL_LINES_MAX: usize = 8;

/// A running program.
#[derive(Debug)]
pub(crate) struct Part {
    name: String,
    child: Child,
    /// What it says, both streams.
    log: PathBuf,
}

/// A command line, and where it runs.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    /// The folder for what it says and for its home.
    pub(crate) dir: &'a Path,
    /// What it is called here; two that run at the same time have different names.
    pub(crate) name: &'a str,
    pub(crate) program: &'a Path,
    pub(crate) args: &'a [&'a str],
    /// All it finds in its environment, beside a path and an empty home.
    pub(crate) env: &'a [(&'a str, &'a str)],
}

impl Part {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// Says what could not be made or started.
    pub(crate) fn start(start: &Start<'_>) -> Result<Self, String> {
        let file_name = start.name.replace(['/', ' '], "-");
        let (logs, home) = (start.dir.join("logs"), start.dir.join("home").join(&file_name));
        let said = |what: &Path, error| format!("{}: {error}", what.display());
        // A home left by an earlier run is none to start from; that there is none is as well.
        drop(fs::remove_dir_all(&home));
        for dir in [&logs, &home] {
            fs::create_dir_all(dir).map_err(|error| said(dir, error))?;
        }
        let log = logs.join(file_name + ".log");
        let out = File::create(&log).map_err(|error| said(&log, error))?;
        let err = out.try_clone().map_err(|error| said(&log, error))?;
        let mut command = with_its_parent(start.program);
        command.args(start.args).current_dir(&home).process_group(0).env_clear();
        command.env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", &home);
        command.envs(start.env.iter().copied());
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn().map_err(|error| said(start.program, error))?;
        Ok(Self { name: start.name.to_owned(), child, log })
    }

    /// Waits until it says where it serves, and returns that: the word that begins with `http://`
    /// on the first line that has `mark`.
    ///
    /// # Errors
    ///
    /// It ended, or never said it; with its last words.
    pub(crate) fn address(&self, mark: &str) -> Result<String, String> {
        let mut waited = Duration::ZERO;
        loop {
            // The last line may not be whole yet.
            let text = self.said();
            let whole = text.rsplit_once('\n').map_or("", |it| it.0);
            let line = whole.lines().find(|it| it.contains(mark));
            let word =
                line.and_then(|it| it.split_whitespace().find(|it| it.starts_with("http://")));
            if let Some(word) = word {
                return Ok(word.to_owned());
            }
            if self.ended() {
                return Err(format!("{} ended{}", self.name, self.tail()));
            }
            if START_TIMEOUT < waited {
                return Err(format!("{} does not say where it serves{}", self.name, self.tail()));
            }
            pause(STEP);
            waited += STEP;
        }
    }

    /// Waits for its end, however it ends.
    ///
    /// # Errors
    ///
    /// It took longer than `timeout`; with its last words.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), String> {
        let mut waited = Duration::ZERO;
        while !self.ended() {
            if timeout < waited {
                let after = timeout.as_secs();
                return Err(format!("{} took more than {after} s{}", self.name, self.tail()));
            }
            pause(STEP);
            waited += STEP;
        }
        Ok(())
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it ended.  It is not reaped: until it is, its number belongs to no other group.
    fn ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        !matches!(waitid(WaitId::Pid(Pid::from_child(&self.child)), options), Ok(None))
    }

    fn tail(&self) -> String {
        let text = self.said();
        let lines: Vec<&str> = text.lines().filter(|it| !it.trim().is_empty()).collect();
        let from = lines.len().saturating_sub(TAIL_LINES_MAX);
        lines.get(from..).unwrap_or_default().iter().map(|it| format!("\n  | {it}")).collect()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.child);
        // A group that is gone cannot be told anything, and need not.
        kill_process_group(group, Signal::TERM).ok();
        drop(self.wait(STOP_TIMEOUT));
        kill_process_group(group, Signal::KILL).ok();
        drop(self.child.wait());
    }
}

/// A command that ends with whoever started it, where the system has a program for that.
fn with_its_parent(program: &Path) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let Some(setpriv) =
        env::split_paths(&path).map(|it| it.join("setpriv")).find(|it| it.is_file())
    else {
        return Command::new(program);
    };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(name: &str, script: &str) -> Part {
        let dir = env::temp_dir().join(format!("conformance-part-{}", std::process::id()));
        let args = ["-c", script];
        let program = Path::new("/bin/sh");
        Part::start(&Start { dir: &dir, name, program, args: &args, env: &[("IT", "that")] })
            .unwrap()
    }

    #[test]
    fn it_says_where_it_serves() {
        let part = shell("says", "echo no http://a; echo here: $IT http://b/c; exec sleep 60");
        assert_eq!(part.address("here: that"), Ok("http://b/c".to_owned()));
    }

    #[test]
    fn it_ends_before_it_serves() {
        let part = shell("ends", "echo so it is");
        assert_eq!(part.address("here"), Err("ends ended\n  | so it is".to_owned()));
    }

    #[test]
    fn it_takes_too_long_and_goes_with_its_children() {
        let part = shell("long", "sleep 60 & echo $!; wait");
        while !part.said().ends_with('\n') {
            pause(STEP);
        }
        let child: i32 = part.said().trim().parse().unwrap();
        let late = part.wait(Duration::ZERO).unwrap_err();
        assert_eq!(late, format!("long took more than 0 s\n  | {child}"));
        drop(part);
        // Nobody has to reap it here: dead is enough, and the signal may still be on its way.
        let stat = || fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        while !stat().is_empty() && !stat().contains(") Z ") {
            pause(STEP);
        }
    }
}
