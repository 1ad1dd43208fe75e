//! One door to any number of MCP servers.

use std::process::ExitCode;

use clap::Parser;
use gateway::{cli, run};

/// Measured: a tenth less CPU a call than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else: this process may be nobody but the keeper of one child.
    if let Some(args) = cli::supervised(std::env::args_os()) {
        return transport_stdio::supervise::main(args);
    }
    let command = cli::Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return run::fail(&format!("the runtime cannot be started: {error}"), 1),
    };
    let code = runtime.block_on(run::command(command));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}
