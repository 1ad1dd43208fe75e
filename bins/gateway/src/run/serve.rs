//! `gateway serve`: opens the door, starts the servers, and stays until it is told to end.

use std::{io, process::ExitCode, sync::Arc};

use gateway_config::{Config, Listen};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use crate::{
    assemble,
    cli::Serve,
    connection::Connections,
    door::Door,
    home,
    listen::{self, Listener},
    log, run,
    state::{self, State},
};

pub(super) async fn run(serve: Serve) -> ExitCode {
    let config = match configuration(&serve) {
        Ok(config) => config,
        Err(words) => return run::fail(&words, 2),
    };
    let log = match log::start(&config.log) {
        Ok(log) => log,
        Err(error) => return run::fail(&error.to_string(), 1),
    };
    for note in &config.notes {
        warn!(key = note.key, "{}", note.text);
    }
    let code = match open(&config, serve.config.is_none()).await {
        Ok(code) => code,
        Err(words) => {
            log.flush();
            return run::fail(&words, 1);
        }
    };
    log.flush();
    code
}

/// What the file or the command says, changed by what the flags say.
fn configuration(serve: &Serve) -> Result<Config, String> {
    let mut config = match (&serve.config, serve.command.split_first()) {
        (Some(path), _) => Config::load(path).map_err(|error| error.to_string())?,
        (None, Some((program, args))) => {
            Config::for_command(program, args).map_err(|error| error.to_string())?
        }
        (None, None) => Config::demo(),
    };
    if !serve.listen.is_empty() {
        let listen = serve
            .listen
            .iter()
            .map(|it| Listen::parse(it).map_err(|error| format!("--listen {it}: {error}")));
        config.listen = listen.collect::<Result<_, _>>()?;
    }
    if let Some(dir) = &serve.state_dir {
        config.state_dir = state::named(dir);
    }
    config.insecure |= serve.insecure;
    if let Some(format) = serve.log_format {
        config.log.format = format.into();
    }
    if let Some(level) = serve.log_level {
        config.log.level = level.into();
    }
    config.check_exposure().map_err(|error| error.to_string())?;
    Ok(config)
}

async fn open(config: &Config, without_file: bool) -> Result<ExitCode, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    // Before anything that takes time: a signal that comes meanwhile is not to be missed.
    let mut ends = Ends::new().map_err(|error| words(&error))?;
    let tls = config.tls.as_ref().map(listen::tls).transpose().map_err(|error| words(&error))?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let connections = Connections::new(&config.limits, &config.timeouts, tls);
    let mut listeners = Vec::new();
    for listen in &config.listen {
        listeners.push(Listener::bind(listen).await.map_err(|error| words(&error))?);
    }
    let door = assemble::door(config).map_err(|error| words(&error))?;
    let state = State::open(config).map_err(|error| words(&error))?;
    door.keep(&state.keeping);
    let door = Arc::new(door);
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let addresses: Vec<String> = listeners.iter().map(Listener::address).collect();
    for (listener, address) in listeners.into_iter().zip(&addresses) {
        match address.strip_prefix("unix:") {
            Some(path) => info!("listening on unix:{path}"),
            None => info!("listening on {scheme}://{address}"),
        }
        let (connections, door, stop) = (connections.clone(), Arc::clone(&door), stop.clone());
        tasks.spawn(async move { connections.serve(listener, door, stop).await });
    }
    let keys = stop.clone();
    tasks.spawn(async move { keys.run_until_cancelled(state.keep_up()).await });
    door.start();
    if without_file {
        introduce(config, &door, scheme, &addresses);
    }
    let failed = tokio::select! {
        signal = ends.next() => {
            info!(signal, grace = ?config.shutdown_grace, "ending: no new work is taken");
            None
        }
        name = required_failure(&door) => Some(name),
    };
    tokio::select! {
        () = door.shut_down(config.shutdown_grace) => (),
        signal = ends.next() => warn!(signal, "told again: ending at once"),
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    match failed {
        Some(name) => Err(format!("server `{name}` is required and cannot be started")),
        None => {
            info!("ended");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Waits for a server that the gateway is not to run without, and that failed.
async fn required_failure(door: &Door) -> String {
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        if let Some(name) = door.failed_required() {
            return name.to_owned();
        }
    }
}

/// Tells who started the gateway without a file what there is and how to use it.
fn introduce(config: &Config, door: &Door, scheme: &str, addresses: &[String]) {
    let Some(address) = addresses.iter().find(|it| !it.starts_with("unix:")) else { return };
    let url = format!("{scheme}://{address}{}", config.base_path);
    for (name, _) in door.servers() {
        let snippets = home::snippets(&url, name, !config.tokens.is_empty());
        run::say(&format!(
            "\nServer `{name}` is at\n  {url}/{name}/mcp   Streamable HTTP\n  \
             {url}/{name}/sse   HTTP+SSE\n\nTell your client:\n{snippets}\n"
        ));
    }
}

/// The signals that end the gateway.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
