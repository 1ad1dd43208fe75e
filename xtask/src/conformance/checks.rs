//! What the suite found: scenarios and their checks, read from the files it leaves.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

/// Scenarios and what was checked in each; a check may have been made several times.
pub(crate) type Scenarios = BTreeMap<String, Vec<Check>>;

/// How long the words of a check may be that are repeated.
const ERROR_LEN_MAX: usize = 300;

/// One check, made once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Check {
    pub(crate) id: String,
    pub(crate) status: Status,
    /// What was wrong; empty where nothing was.
    pub(crate) error: String,
}

/// How a check ended, from the best to the worst.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Status {
    /// As it should be.
    #[default]
    Success,
    /// Not applicable here, as an answer in JSON where events would have been looked at.
    Info,
    /// Not made.
    Skipped,
    /// Against a SHOULD.
    Warning,
    /// Against a MUST.
    Failure,
}

impl Status {
    /// The suite's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Success => "SUCCESS",
            Self::Info => "INFO",
            Self::Skipped => "SKIPPED",
            Self::Warning => "WARNING",
            Self::Failure => "FAILURE",
        }
    }

    /// A word the suite does not have yet is as bad as the worst.
    fn read(word: &str) -> Self {
        let all = [Self::Success, Self::Info, Self::Skipped, Self::Warning];
        all.into_iter().find(|it| it.word() == word).unwrap_or(Self::Failure)
    }
}

impl Check {
    fn read(value: &Value) -> Self {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let error = text("errorMessage").split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            id: text("id").to_owned(),
            status: Status::read(text("status")),
            error: error.chars().take(ERROR_LEN_MAX).collect(),
        }
    }
}

/// Reads every `checks.json` below `dir`.
///
/// # Errors
///
/// Says which file could not be read.  A scenario that broke down leaves no file, and none is
/// expected: whoever compares two runs sees that its checks are absent.
pub(crate) fn read(dir: &Path) -> Result<Scenarios, String> {
    let mut found = Scenarios::new();
    walk(dir, dir, &mut found)?;
    Ok(found)
}

fn walk(top: &Path, dir: &Path, found: &mut Scenarios) -> Result<(), String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    for path in entries.flatten().map(|it| it.path()) {
        if path.is_dir() {
            walk(top, &path, found)?;
        } else if path.ends_with("checks.json") {
            let said = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let text = fs::read_to_string(&path).map_err(|error| said(&error))?;
            let checks: Vec<Value> = serde_json::from_str(&text).map_err(|error| said(&error))?;
            let below = dir.strip_prefix(top).unwrap_or(dir).to_string_lossy();
            found
                .entry(scenario(&below).to_owned())
                .or_default()
                .extend(checks.iter().map(Check::read));
        }
    }
    Ok(())
}

/// The scenario whose folder this is: `server-ping-2026-01-31T10-20-30-456Z` is of `ping`.
fn scenario(folder: &str) -> &str {
    let name = folder.rsplit_once('T').map_or(folder, |(before, time)| {
        let digits = |it: char| it.is_ascii_digit() || it == '-' || it == 'Z';
        let date = before.len().checked_sub("-2026-01-31".len());
        match date.and_then(|at| Some((before.get(..at)?, before.get(at..)?))) {
            Some((name, date))
                if time.ends_with('Z') && (time.to_owned() + date).chars().all(digits) =>
            {
                name
            }
            _ => folder,
        }
    });
    // `server-initialize` is itself the name of a scenario, and then the folder says it twice.
    name.strip_prefix("server-").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_named_after_scenarios() {
        let time = "-2026-01-31T10-20-30-456Z";
        for (folder, name) in [
            ("server-ping", "ping"),
            ("server-server-initialize", "server-initialize"),
            ("sse-retry", "sse-retry"),
            ("auth/metadata-Terse", "auth/metadata-Terse"),
        ] {
            assert_eq!(scenario(folder), name);
            assert_eq!(scenario(&format!("{folder}{time}")), name);
        }
    }

    #[test]
    fn an_unknown_status_is_the_worst() {
        let check = |status: &str| {
            Check::read(
                &serde_json::json!({"id": "a", "status": status, "errorMessage": "so\n so"}),
            )
        };
        assert_eq!(check("WARNING").status, Status::Warning);
        assert_eq!(check("PERHAPS").status, Status::Failure);
        assert_eq!(check("SKIPPED").error, "so so");
    }

    #[test]
    fn what_a_suite_leaves_behind() {
        let dir = std::env::temp_dir().join(format!("conformance-checks-{}", std::process::id()));
        let place = dir.join("auth/one-2026-01-31T10-20-30-456Z");
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("checks.json"), r#"[{"id":"a","status":"SUCCESS"}]"#).unwrap();
        let found = read(&dir);
        fs::remove_dir_all(&dir).unwrap();
        let check = Check { id: "a".to_owned(), status: Status::Success, error: String::new() };
        assert_eq!(found, Ok(Scenarios::from([("auth/one".to_owned(), vec![check])])));
        assert!(read(&dir).unwrap_err().contains("conformance-checks-"));
    }
}
