//! Taking over a changed configuration while the gateway runs.
//!
//! [`Reloader::reload`] reads the file again, refuses all of it or takes over all that can be
//! taken over, and says what it has done.  Who asks for it: a signal, [`watch`], or [`control`].

mod apply;
pub mod control;
mod differences;
pub mod report;
mod stamps;
pub mod watch;

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use gateway_config::Config;
use tokio::{
    sync::{Mutex, Notify},
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, info, warn};

use crate::{
    assemble::next::{self, Next},
    cli::Serve,
    connection::Connections,
    house::House,
    listen, log,
    state::State,
};
use report::{Outcome, Report};
use stamps::Stamps;
pub(crate) use stamps::stamp;

/// What a running gateway is made of, as far as a configuration decides.
#[derive(Debug)]
pub struct Reloader {
    /// The command line, which stays.
    serve: Serve,
    house: Arc<House>,
    connections: Arc<ArcSwap<Connections>>,
    /// What sessions are kept with.
    state: Arc<State>,
    /// The configuration that holds.  Held while another is taken over.
    now: Mutex<Now>,
    /// The same, for whoever only looks.
    config: ArcSwap<Config>,
    files: ArcSwap<Stamps>,
    /// Told after each attempt.
    tried: Notify,
}

struct Now {
    config: Arc<Config>,
    tls: Option<TlsAcceptor>,
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Now").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

/// A configuration as it was read, and what else it takes to hold.
struct Candidate {
    config: Config,
    tls: Option<TlsAcceptor>,
    needs_restart: Vec<String>,
}

// === impl Reloader ===

impl Reloader {
    /// Over what was started with this configuration, which depends on these files.
    pub fn new(
        serve: &Serve,
        config: Config,
        files: BTreeSet<PathBuf>,
        (house, connections): (Arc<House>, Arc<ArcSwap<Connections>>),
        (tls, state): (Option<TlsAcceptor>, Arc<State>),
    ) -> Self {
        let config = Arc::new(config);
        Self {
            serve: serve.clone(),
            house,
            connections,
            config: ArcSwap::new(Arc::clone(&config)),
            state,
            now: Mutex::new(Now { config, tls }),
            files: ArcSwap::from_pointee(Stamps::of(files)),
            tried: Notify::new(),
        }
    }

    /// The configuration that holds.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The file it is read from, if it is.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let file = self.serve.config.as_ref()?;
        Some(std::fs::canonicalize(file).unwrap_or_else(|_| file.clone()))
    }

    /// Reads the file again, and takes over what has changed.  One at a time: whoever asks
    /// meanwhile has the file read once more after that.
    pub async fn reload(&self, cause: &str) -> Report {
        let mut now = self.now.lock().await;
        let report = self.take_over(&mut now, cause).await;
        self.tried.notify_waiters();
        report
    }

    /// The same, unless no file has changed since it was last read.
    async fn reload_if_changed(&self, cause: &str) {
        let mut now = self.now.lock().await;
        let files = self.files.load_full();
        let is_changed = blocking(move || *files != files.again()).await.unwrap_or(true);
        if is_changed {
            self.take_over(&mut now, cause).await;
            self.tried.notify_waiters();
        }
    }

    async fn take_over(&self, now: &mut Now, cause: &str) -> Report {
        let began = Instant::now();
        let mut report = match self.read(now).await {
            Ok(candidate) => self.apply(now, candidate).await,
            Err(problems) => Report { problems, ..Report::of(Outcome::Refused) },
        };
        report.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.log(&report, cause);
        report
    }

    /// Reads the file, and everything that can be wrong with what it says.
    async fn read(&self, now: &Now) -> Result<Candidate, Vec<String>> {
        if self.serve.config.is_none() {
            let what = "nothing to reload: the gateway was started without a configuration file";
            return Err(vec![what.to_owned()]);
        }
        let (serve, before) = (self.serve.clone(), self.files.load_full());
        let read = blocking(move || {
            // Looked at before it is read: a change meanwhile is a change.
            let before = before.again();
            let (config, files) = serve.configuration();
            (config, Stamps::of(files).or(&before))
        });
        let Some((config, files)) = read.await else {
            return Err(vec!["the file was not read: the gateway is ending".to_owned()]);
        };
        let was = self.files.load_full();
        // Where it could not be read to its end, what it named before is looked at as well.
        let files = if config.is_ok() { files } else { files.and(&was) };
        let tls_files: Vec<&PathBuf> =
            now.config.tls.iter().flat_map(|tls| [&tls.cert, &tls.key]).collect();
        let tls_is_touched = files.differ(&was, &tls_files);
        self.files.store(Arc::new(files));
        let mut config = config.map_err(|wrong| wrong.problems)?;
        let needs_restart = differences::keep_what_cannot_change(&now.config, &mut config);
        config.check_exposure().map_err(|error| vec![error.to_string()])?;
        let tls = match &config.tls {
            Some(tls) if now.config.tls.as_ref() == Some(tls) && !tls_is_touched => now.tls.clone(),
            Some(tls) => Some(listen::tls(tls).map_err(|error| vec![error.to_string()])?),
            None => None,
        };
        Ok(Candidate { config, tls, needs_restart })
    }

    async fn apply(&self, now: &mut Now, candidate: Candidate) -> Report {
        let Candidate { config, tls, needs_restart } = candidate;
        let was = Arc::clone(&now.config);
        let door = self.house.door();
        let next = next::next((&was, &door), &config, |server| {
            door.servers.get(&server.name).is_some_and(|entry| entry.ca != next::stamp_of(server))
        });
        let Next { door: next_door, steps, changes } = match next {
            Ok(next) => next,
            Err(error) => {
                return Report {
                    problems: vec![error.to_string()],
                    ..Report::of(Outcome::Refused)
                };
            }
        };
        let mut report = differences::report(&was, &config, &steps);
        let is_kept = |setting: &str, key: &str| {
            setting.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        report.settings.retain(|setting| !needs_restart.iter().any(|key| is_kept(setting, key)));
        report.needs_restart = needs_restart;
        let is_other = |a: &Option<TlsAcceptor>, b: &Option<TlsAcceptor>| match (a, b) {
            (Some(a), Some(b)) => !Arc::ptr_eq(a.config(), b.config()),
            (a, b) => a.is_some() != b.is_some(),
        };
        if is_other(&now.tls, &tls) {
            report.settings.push("gateway.tls: another certificate is shown".to_owned());
        }
        report.settle();
        for note in config.notes.iter().filter(|note| !was.notes.contains(note)) {
            warn!(key = note.key, "{}", note.text);
        }
        log::change(&config.log);
        let connections = Connections::new(&config.limits, &config.timeouts, tls.clone());
        self.connections.store(Arc::new(connections.after(&self.connections.load(), &was.limits)));
        let config = Arc::new(config);
        self.state.reconfigure(&config);
        next_door.keep(&self.state.keeping());
        apply::apply(&self.house, (&was, &config), (next_door, steps, changes));
        self.config.store(Arc::clone(&config));
        *now = Now { config, tls };
        report
    }

    fn log(&self, report: &Report, cause: &str) {
        let (took_ms, file) = (report.took_ms, self.file().unwrap_or_default());
        let file = file.display();
        match report.outcome {
            Outcome::Refused if self.serve.config.is_none() => {
                info!(cause, "{}", report.problems.join("; "));
            }
            Outcome::Refused => {
                error!(cause, %file, took_ms, "the configuration is refused: the one before stays");
                for problem in &report.problems {
                    error!(problem, "configuration");
                }
            }
            Outcome::Unchanged => debug!(cause, %file, took_ms, "the configuration is as it was"),
            Outcome::Applied => {
                for server in &report.servers {
                    let (name, change) = (&server.name, server.change.as_str());
                    match server.why.is_empty() {
                        true => info!(server = name, change, "configuration"),
                        false => info!(
                            server = name,
                            change,
                            why = server.why.join(", "),
                            "configuration"
                        ),
                    }
                }
                for setting in &report.settings {
                    info!(setting, "configuration");
                }
                info!(cause, %file, took_ms, kept = report.kept, "the configuration is taken over");
            }
        }
        for setting in &report.needs_restart {
            warn!(setting, "needs a restart: what was so stays so");
        }
    }
}

/// Does what waits for a disk; none if the runtime ends meanwhile.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
