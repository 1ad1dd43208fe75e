//! The commands: what each does from its start to its exit code.
//!
//! Exit codes: 0, it went well; 1, it did not; 2, the configuration or the command line is wrong.

mod check;
mod key;
mod reload;
mod serve;
mod status;
mod stdio;
mod tools;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use telemetry::Audit;
use tracing::warn;

use crate::cli::Command;

/// Runs a command.
pub async fn command(command: Command) -> ExitCode {
    match command {
        Command::Serve(serve) => serve::run(serve.settled()).await,
        Command::Check(check) => check::run(&check),
        Command::Reload(reload) => reload::run(&reload).await,
        Command::Stdio(stdio) => stdio::run(stdio).await,
        Command::Tools(tools) => tools::run(&tools).await,
        Command::Key(key) => key::run(&key),
        Command::Status(status) => status::run(&status).await,
    }
}

/// Says why there is nothing more to do.
pub fn fail(words: &str, code: u8) -> ExitCode {
    // Where standard error is gone, the exit code has to do.
    writeln!(io::stderr(), "gateway: {words}").ok();
    ExitCode::from(code)
}

/// Lets what is left of an audit log be written.
pub(crate) async fn flush(audit: Option<Audit>) {
    if let Some(audit) = audit
        && let Err(error) = tokio::task::spawn_blocking(move || audit.flush()).await
    {
        warn!(%error, "the end of the audit log may not be written");
    }
}

/// Writes to standard output.  A reader that has seen enough, as `head` has, is no failure.
pub(crate) fn say(text: &str) {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}
