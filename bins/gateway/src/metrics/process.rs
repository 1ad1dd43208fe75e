//! What the system says of this process, where it says so in `/proc`.

use rustix::process::Resource;

/// What this process takes; none of what cannot be known.
#[derive(Debug, Default)]
pub(super) struct Process {
    pub(super) cpu_secs: Option<f64>,
    pub(super) resident_bytes: Option<f64>,
    pub(super) open_fds: Option<f64>,
    pub(super) max_fds: Option<f64>,
}

/// Looks.
pub(super) fn read() -> Process {
    let limit = rustix::process::getrlimit(Resource::Nofile).current;
    let stat = std::fs::read_to_string("/proc/self/stat").ok();
    let statm = std::fs::read_to_string("/proc/self/statm").ok();
    Process {
        cpu_secs: stat.as_deref().and_then(cpu_secs),
        resident_bytes: statm.as_deref().and_then(resident_bytes),
        // The one by which they are looked at is not counted.
        open_fds: std::fs::read_dir("/proc/self/fd").ok().map(|it| it.count() as f64 - 1.0),
        max_fds: limit.map(|it| it as f64),
    }
}

/// User and system time, fields 14 and 15 (proc_pid_stat(5)); the second is the name, in
/// parentheses, with whatever is in it.
fn cpu_secs(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let (user, system) = (ticks()?, ticks()?);
    Some((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The second field, in pages (proc_pid_statm(5)).
fn resident_bytes(statm: &str) -> Option<f64> {
    let pages = statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?;
    Some(pages as f64 * rustix::param::page_size() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let ticks = rustix::param::clock_ticks_per_second();
        let stat = format!("7 (a) b) S 1 7 7 0 -1 4194560 5 0 0 0 {} {ticks} 0 0 20", 2 * ticks);
        assert_eq!(cpu_secs(&stat), Some(3.0));
        assert_eq!(cpu_secs("7 (a"), None);
        let page = rustix::param::page_size() as f64;
        assert_eq!(resident_bytes("900 12 3 4"), Some(12.0 * page));
    }
}
