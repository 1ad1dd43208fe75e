//! The machine, described: figures mean nothing without it.

use std::fs;

use serde::Serialize;

/// What the figures depend on.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    /// Cores this process may use.
    cores: usize,
    /// The processor, as it calls itself.
    processor: String,
    /// Memory in MiB.
    memory_mib: u64,
    /// The kernel.
    kernel: String,
    /// Load average over one minute, before.
    load_before: f64,
    /// And after.
    load_after: f64,
}

impl Machine {
    /// Describes this machine.
    pub(crate) fn here() -> Self {
        let cpu = read("/proc/cpuinfo");
        let processor = value(&cpu, "model name").unwrap_or_default().to_owned();
        let memory = read("/proc/meminfo");
        let memory = value(&memory, "MemTotal").and_then(|it| it.split(' ').next()?.parse().ok());
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            processor,
            memory_mib: memory.map_or(0, |kib: u64| kib / 1024),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before: load(),
            load_after: 0.0,
        }
    }

    /// Notes the load at the end.
    pub(crate) fn finish(&mut self) {
        self.load_after = load();
    }

    /// In a line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} cores of {}, {} MiB, Linux {}; load average {:.2} before, {:.2} after",
            self.cores,
            self.processor,
            self.memory_mib,
            self.kernel,
            self.load_before,
            self.load_after
        )
    }
}

/// What cannot be read is left out of the description.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start().strip_prefix(':')?.trim())
}

fn load() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_name() {
        let text = "model\t\t: 85\nmodel name\t: Some Processor\nMemTotal:       24576 kB\n";
        assert_eq!(value(text, "model name"), Some("Some Processor"));
        assert_eq!(value(text, "MemTotal"), Some("24576 kB"));
        assert_eq!(value(text, "nothing"), None);
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let machine = Machine::here();
        assert!(0 < machine.cores && 0 < machine.memory_mib, "{machine:?}");
    }
}
