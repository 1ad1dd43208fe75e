//! What can be wrong with a file, what is worth saying about it, and where in it that is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Complaints kept of one file. After that many it says only how many more there are.
pub const PROBLEM_COUNT_MAX: usize = 50;

/// A position in the file's text, for people: both numbers start at 1, columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which line.
    pub line: usize,
    /// Which character of it.
    pub column: usize,
}

/// Where a value came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody gave one: the default.
    #[default]
    Default,
    /// It was written in the file.
    File {
        /// The path of keys to it, such as `mcpServers.fetch.args[1]`.
        key: String,
        /// Where its value begins.
        place: Place,
        /// What was put in for references, as written: `${TOKEN}`, `${file:token.txt}`.
        variables: Vec<String>,
    },
    /// The product that the file was written for does it so.
    Dialect(&'static str),
}

/// Something the operator should know, but that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The path of keys it is about; empty for the whole file.
    pub key: String,
    /// What there is to know. Never a secret.
    pub text: String,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of keys to it; empty for the whole file.
    pub key: String,
    /// Where it is, if it is anywhere.
    pub place: Option<Place>,
    /// What is wrong. Never a secret.
    pub what: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// Why there is no configuration: everything that is wrong with it, in the file's order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    file: Option<PathBuf>,
    problems: Vec<Problem>,
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Dialect(whose) => write!(f, "as {whose} does"),
            Self::File { key, place, variables } => {
                write!(f, "{key} ({place})")?;
                variables.iter().try_for_each(|name| write!(f, " from {name}"))
            }
        }
    }
}

// === impl Place ===

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

// === impl Note ===

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.text),
            key => write!(f, "{key}: {}", self.text),
        }
    }
}

// === impl ConfigError ===

impl ConfigError {
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        if problems.len() > PROBLEM_COUNT_MAX {
            let rest = problems.len() - PROBLEM_COUNT_MAX;
            problems.truncate(PROBLEM_COUNT_MAX);
            problems.push(Problem::whole(format!("and {rest} more")));
        }
        Self { file: None, problems }
    }

    pub(crate) fn one(problem: Problem) -> Self {
        Self { file: None, problems: vec![problem] }
    }

    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self { file: Some(path.to_owned()), ..self }
    }

    /// What is wrong, at least one thing, at most [`PROBLEM_COUNT_MAX`] and one that counts the
    /// rest.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    /// One line each, as compilers write them, with the help on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match (&self.file, problem.place) {
                (Some(file), Some(place)) => write!(f, "{}:{place}: ", file.display())?,
                (Some(file), None) => write!(f, "{}: ", file.display())?,
                (None, Some(place)) => write!(f, "{place}: ")?,
                (None, None) => {}
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

// === impl Problem ===

impl Problem {
    pub(crate) fn whole(what: impl Into<String>) -> Self {
        Self { key: String::new(), place: None, what: what.into(), help: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        self.help.iter().try_for_each(|help| write!(f, "\n    help: {help}"))
    }
}
