//! `gateway serve`: opens the door, starts the servers, and stays until it is told to end.

use std::{collections::BTreeSet, io, path::PathBuf, process::ExitCode, sync::Arc};

use arc_swap::ArcSwap;
use gateway_config::Config;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{
    assemble,
    cli::Serve,
    connection::Connections,
    door::Door,
    home,
    house::House,
    listen::{self, Listener},
    log,
    reload::{Reloader, control, watch},
    run,
    state::State,
};

pub(super) async fn run(serve: Serve) -> ExitCode {
    let (config, files) = serve.configuration();
    let config = match config {
        Ok(config) => config,
        Err(wrong) => return run::fail(&wrong.to_string(), 2),
    };
    let log = match log::start(&config.log) {
        Ok(log) => log,
        Err(error) => return run::fail(&error.to_string(), 1),
    };
    for note in &config.notes {
        warn!(key = note.key, "{}", note.text);
    }
    let code = match open(&serve, config, files).await {
        Ok(code) => code,
        Err(words) => {
            log.flush();
            return run::fail(&words, 1);
        }
    };
    log.flush();
    code
}

async fn open(serve: &Serve, config: Config, files: BTreeSet<PathBuf>) -> Result<ExitCode, String> {
    let words = |error: &dyn std::error::Error| error.to_string();
    // Before anything that takes time: a signal that comes meanwhile is not to be missed.
    let mut ends = Ends::new().map_err(|error| words(&error))?;
    let hangups = signal(SignalKind::hangup()).map_err(|error| words(&error))?;
    let tls = config.tls.as_ref().map(listen::tls).transpose().map_err(|error| words(&error))?;
    let scheme = config.tls.as_ref().map_or("http", |_| "https");
    let connections = Connections::new(&config.limits, &config.timeouts, tls.clone());
    let connections = Arc::new(ArcSwap::from_pointee(connections));
    let mut listeners = Vec::new();
    for listen in &config.listen {
        listeners.push(Listener::bind(listen).await.map_err(|error| words(&error))?);
    }
    let door = assemble::door(&config).map_err(|error| words(&error))?;
    let state = Arc::new(State::open(&config).map_err(|error| words(&error))?);
    door.keep(&state.keeping());
    let house = Arc::new(House::new(door));
    let control = control(&config, &listeners);
    let parts = (Arc::clone(&house), Arc::clone(&connections));
    let reloader = Arc::new(Reloader::new(serve, config, files, parts, (tls, Arc::clone(&state))));
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();
    let addresses: Vec<String> = listeners.iter().map(Listener::address).collect();
    let door = house.door();
    // Before anybody can ask whether all is ready.
    door.start();
    for (listener, address) in listeners.into_iter().zip(&addresses) {
        announce(scheme, address);
        let (connections, house) = (Arc::clone(&connections), Arc::clone(&house));
        tasks.spawn(Connections::serve(connections, listener, house, stop.clone()));
    }
    let keys = stop.clone();
    tasks.spawn(async move { keys.run_until_cancelled(state.keep_up()).await });
    if serve.config.is_none() {
        introduce(&reloader.config(), &door, scheme, &addresses);
    }
    drop(door);
    let minder = CancellationToken::new();
    if let Some(listener) = control {
        let (reloader, stop) = (Arc::clone(&reloader), minder.clone());
        tasks.spawn(control::serve(listener, reloader, addresses, stop));
    }
    tasks.spawn(watch::watch(Arc::clone(&reloader), minder.clone()));
    tasks.spawn(hear(hangups, Arc::clone(&reloader), minder.clone()));
    let failed = tokio::select! {
        signal = ends.next() => {
            let grace = reloader.config().shutdown_grace;
            info!(signal, ?grace, "ending: no new work is taken");
            None
        }
        name = required_failure(&house) => Some(name),
    };
    minder.cancel();
    tokio::select! {
        () = house.shut_down(reloader.config().shutdown_grace) => (),
        signal = ends.next() => warn!(signal, "told again: ending at once"),
    }
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    run::flush(house.door().audit.clone()).await;
    match failed {
        Some(name) => Err(format!("server `{name}` is required and cannot be started")),
        None => {
            info!("ended");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Says that something listens: scripts and people wait for this line.
fn announce(scheme: &str, address: &str) {
    match address.strip_prefix("unix:") {
        Some(path) => info!("listening on unix:{path}"),
        None => info!("listening on {scheme}://{address}"),
    }
}

/// The socket by which the gateway is told what to do.  It does without one, if need be.
fn control(config: &Config, listeners: &[Listener]) -> Option<Listener> {
    let path = control::place(config, listeners)?;
    match control::bind(config, &path) {
        Ok(listener) => {
            debug!(at = listener.address(), "hears `gateway reload`");
            Some(listener)
        }
        Err(error) => {
            let path = path.display();
            warn!(%path, %error, "`gateway reload` will not be heard; SIGHUP is");
            None
        }
    }
}

/// Reads the configuration again whenever it is told to by SIGHUP.
async fn hear(mut hangups: Signal, reloader: Arc<Reloader>, stop: CancellationToken) {
    while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
        stop.run_until_cancelled(reloader.reload("SIGHUP")).await;
    }
}

/// Waits for a server that the gateway is not to run without, and that failed.
async fn required_failure(house: &House) -> String {
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        if let Some(name) = house.door().failed_required() {
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
