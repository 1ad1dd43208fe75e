//! What `gateway serve` was given: a file or a command, and flags that have the last word.

use std::{collections::BTreeSet, path::PathBuf};

use gateway_config::{Config, ConfigError, Listen};

use crate::{cli::Serve, state};

/// Why what was given cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Wrong {
    /// For somebody who reads it all, with help on lines of its own.
    text: String,
    /// The same, one line a problem.
    pub(crate) problems: Vec<String>,
}

// === impl Wrong ===

impl Wrong {
    fn of(text: String) -> Self {
        Self { problems: vec![text.clone()], text }
    }

    fn of_file(error: &ConfigError, file: &std::path::Path) -> Self {
        let problems = error.problems().iter().map(|problem| {
            let mut line = file.display().to_string();
            if let Some(place) = problem.place {
                line.push_str(&format!(":{place}"));
            }
            if !problem.key.is_empty() {
                line.push_str(&format!(": {}", problem.key));
            }
            line.push_str(&format!(": {}", problem.what));
            if let Some(help) = &problem.help {
                line.push_str(&format!("; {help}"));
            }
            line
        });
        Self { problems: problems.collect(), text: error.to_string() }
    }
}

impl Serve {
    /// What the file or the command says, changed by what the flags say; and every file that the
    /// configuration depends on.
    pub(crate) fn configuration(&self) -> (Result<Config, Wrong>, BTreeSet<PathBuf>) {
        let mut files = BTreeSet::new();
        let config = match (&self.config, self.command.split_first()) {
            (Some(path), _) => {
                let (config, noted) = Config::load_noting(path);
                files = noted;
                config.map_err(|error| Wrong::of_file(&error, path))
            }
            (None, Some((program, args))) => {
                Config::for_command(program, args).map_err(|error| Wrong::of(error.to_string()))
            }
            (None, None) => Ok(Config::demo()),
        };
        (config.and_then(|config| self.changed(config)), files)
    }

    fn changed(&self, mut config: Config) -> Result<Config, Wrong> {
        if !self.listen.is_empty() {
            let listen = self.listen.iter().map(|it| {
                Listen::parse(it).map_err(|error| Wrong::of(format!("--listen {it}: {error}")))
            });
            config.listen = listen.collect::<Result<_, _>>()?;
        }
        if let Some(dir) = &self.state_dir {
            config.state_dir = state::named(dir);
        }
        config.insecure |= self.insecure;
        if let Some(format) = self.log_format {
            config.log.format = format.into();
        }
        if let Some(level) = self.log_level {
            config.log.level = level.into();
        }
        config.check_exposure().map_err(|error| Wrong::of(error.to_string()))?;
        Ok(config)
    }
}
