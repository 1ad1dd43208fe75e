//! `gateway check`: what a configuration means, or what is wrong with it.

use std::process::ExitCode;

use gateway_config::Config;

use crate::{cli::Check, run};

pub(super) fn run(check: &Check) -> ExitCode {
    let config = match Config::load(check.file()) {
        Ok(config) => config,
        Err(error) => return run::fail(&error.to_string(), 2),
    };
    run::say(&if check.json { config.render_json() } else { config.render_masked() });
    match config.check_exposure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => run::fail(&error.to_string(), 2),
    }
}
