//! What came of reading a configuration again, for whoever asked and for the log.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// What could be taken over was.
    Applied,
    /// There was nothing to take over.
    Unchanged,
    /// It is wrong, and the one before stays.
    Refused,
}

/// What became of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// It is new.
    Added,
    /// It starts anew; its sessions go on.
    Restarted,
    /// Its clients are treated otherwise; it runs on.
    Adjusted,
    /// It is no more.
    Removed,
}

/// One server that did not stay as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerChange {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// The settings that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// What came of reading a configuration again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// In a word.
    pub outcome: Outcome,
    /// The servers that did not stay as they were.
    pub servers: Vec<ServerChange>,
    /// How many did.
    pub kept: usize,
    /// The gateway's own settings that changed, by their keys.
    pub settings: Vec<String>,
    /// Those that changed in the file, and cannot while the gateway runs.
    pub needs_restart: Vec<String>,
    /// What is wrong with the file.
    pub problems: Vec<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

// === impl Change ===

impl Change {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Restarted => "restarted",
            Self::Adjusted => "adjusted",
            Self::Removed => "removed",
        }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            servers: Vec::new(),
            kept: 0,
            settings: Vec::new(),
            needs_restart: Vec::new(),
            problems: Vec::new(),
            took_ms: 0,
        }
    }

    /// Says that nothing changed where nothing did.
    pub(super) fn settle(&mut self) {
        let nothing = self.servers.is_empty() && self.settings.is_empty();
        self.outcome = if nothing { Outcome::Unchanged } else { Outcome::Applied };
    }
}

/// One line each, for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.outcome {
            Outcome::Applied => "the configuration is taken over",
            Outcome::Unchanged => "nothing has changed",
            Outcome::Refused => "the configuration is refused, and the one before stays:",
        })?;
        if self.outcome == Outcome::Applied {
            let servers = if self.kept == 1 { "server" } else { "servers" };
            write!(f, "; {} {servers} noticed nothing", self.kept)?;
        }
        for server in &self.servers {
            write!(f, "\n  {}: {}", server.name, server.change.as_str())?;
            if !server.why.is_empty() {
                write!(f, " ({})", server.why.join(", "))?;
            }
        }
        self.settings.iter().try_for_each(|setting| write!(f, "\n  {setting}"))?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))?;
        self.needs_restart.iter().try_for_each(|it| write!(f, "\n  {it}: needs a restart"))
    }
}
