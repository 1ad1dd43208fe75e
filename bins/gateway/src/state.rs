//! What survives a restart: where it is kept, and what is lost where it cannot be.

use std::{env, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use gateway_config::{Config, StateDir};
use router::keep::Keeping;
use seal::{Clock, Keyring};
use store::{Disk, DiskMax, KeyFile, Memory, Rotation, StateError, Store};
use tokio::{sync::Notify, time::MissedTickBehavior};
use tracing::{info, warn};

/// The folder of ours below where such folders are.
const NAME: &str = "mcp-gateway";
/// How often the file of keys is looked at.
const KEEP_UP_INTERVAL: Duration = Duration::from_secs(60);
/// How much is kept in memory where there is no state directory.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// What sessions are kept with, and the file their keys are in.
#[derive(Debug)]
pub struct State {
    keyring: Keyring,
    store: Arc<dyn Store>,
    keys: Option<Arc<KeyFile>>,
    rotation: ArcSwap<Rotation>,
    /// Told when the keys are to be looked at at once.
    look: Notify,
}

// === impl State ===

impl State {
    /// Opens the state directory.  One that nobody asked for by name and that cannot be used is
    /// warned of, and sessions are kept in memory.
    ///
    /// # Errors
    /// A directory that was asked for cannot be used.
    pub fn open(config: &Config) -> Result<Self, StateError> {
        match &config.state_dir {
            StateDir::At(path) => Self::at(path.clone(), config),
            StateDir::None => {
                info!("no state directory: sessions do not survive a restart of the gateway");
                Self::in_memory(config)
            }
            _ => {
                let Some(path) = usual() else {
                    warn!(
                        "neither HOME nor XDG_STATE_HOME is set: sessions do not survive a restart of the gateway (say where with --state-dir)"
                    );
                    return Self::in_memory(config);
                };
                Self::at(path, config).or_else(|error| {
                    warn!(%error, "sessions do not survive a restart of the gateway (say where to keep them with --state-dir)");
                    Self::in_memory(config)
                })
            }
        }
    }

    fn at(path: PathBuf, config: &Config) -> Result<Self, StateError> {
        let clock = Clock::system();
        let dir = store::StateDir::open(&path)?;
        let keys = KeyFile::new(&dir, clock.clone());
        let keyring = Keyring::new(keys.load()?, clock.clone())?;
        let disk = Disk::open(&dir, clock, DiskMax::default());
        let disk = disk.map_err(|error| StateError::Io { path, what: "written", error })?;
        info!(path = %dir.path().display(), "sessions are kept");
        Ok(Self::new(keyring, Arc::new(disk), Some(Arc::new(keys)), config))
    }

    fn in_memory(config: &Config) -> Result<Self, StateError> {
        let clock = Clock::system();
        let keyring = Keyring::fresh(clock.clone())?;
        let memory = Arc::new(Memory::new(clock, MEMORY_BYTES_MAX));
        Ok(Self::new(keyring, memory, None, config))
    }

    fn new(
        keyring: Keyring,
        store: Arc<dyn Store>,
        keys: Option<Arc<KeyFile>>,
        config: &Config,
    ) -> Self {
        let rotation = ArcSwap::from_pointee(rotation(config));
        Self { keyring, store, keys, rotation, look: Notify::new() }
    }

    /// For each server, as things are configured now.
    pub fn keeping(&self) -> Keeping {
        let (keyring, store) = (self.keyring.clone(), Arc::clone(&self.store));
        Keeping { keyring, store, age_max: self.rotation.load().keep }
    }

    /// Goes by another configuration from now on, and looks at the keys at once.
    pub fn reconfigure(&self, config: &Config) {
        self.rotation.store(Arc::new(rotation(config)));
        self.look.notify_one();
    }

    /// Keeps the keys up to date, for as long as it is polled: with the time, and with what other
    /// processes and `gateway key` do to their file.
    pub async fn keep_up(&self) {
        let Some(keys) = &self.keys else { return std::future::pending().await };
        let mut tick = tokio::time::interval(KEEP_UP_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = false;
        loop {
            tokio::select! {
                _ = tick.tick() => (),
                () = self.look.notified() => (),
            }
            let (keys, keyring) = (Arc::clone(keys), self.keyring.clone());
            let rotation = **self.rotation.load();
            let kept = tokio::task::spawn_blocking(move || keys.keep_up(&keyring, rotation)).await;
            match kept {
                Ok(Err(error)) if !complained => {
                    complained = true;
                    warn!(%error, "session keys stay as they are");
                }
                Ok(Ok(())) => complained = false,
                _ => (),
            }
        }
    }
}

fn rotation(config: &Config) -> Rotation {
    Rotation { every: config.session_key_rotation, keep: config.timeouts.session_age_max }
}

/// The file of keys that a configuration means, for commands about it.
///
/// # Errors
/// There is no state directory, or it cannot be used.
pub(crate) fn key_file(config: &Config) -> Result<KeyFile, String> {
    let path = match &config.state_dir {
        StateDir::At(path) => path.clone(),
        StateDir::None => {
            return Err("there is no state directory: `stateDir` is `none`".to_owned());
        }
        _ => usual().ok_or("where is the state directory? Say so with --state-dir")?,
    };
    let dir = store::StateDir::open(&path).map_err(|error| error.to_string())?;
    Ok(KeyFile::new(&dir, Clock::system()))
}

/// What a flag says.
pub(crate) fn named(text: &str) -> StateDir {
    match text {
        "none" => StateDir::None,
        path => StateDir::At(std::path::absolute(path).unwrap_or_else(|_| path.into())),
    }
}

/// Where the system keeps such things for who runs this.
fn usual() -> Option<PathBuf> {
    let is_root = rustix::process::geteuid().is_root();
    usual_for(is_root, |name| env::var_os(name).map(PathBuf::from))
}

fn usual_for(is_root: bool, var: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name: &str| var(name).filter(|path| path.is_absolute());
    // systemd's StateDirectory=; of several the first, which is ours to use as it is.
    if let Some(dirs) = var("STATE_DIRECTORY")
        && let Some(first) = env::split_paths(&dirs).find(|path| path.is_absolute())
    {
        return Some(first);
    }
    if let Some(state) = absolute("XDG_STATE_HOME") {
        return Some(state.join(NAME));
    }
    if is_root {
        return Some(PathBuf::from("/var/lib").join(NAME));
    }
    Some(absolute("HOME")?.join(".local/state").join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(is_root: bool, vars: &[(&str, &str)], expect: Option<&str>) {
        let var = |name: &str| {
            vars.iter().find(|(it, _)| *it == name).map(|(_, value)| PathBuf::from(value))
        };
        assert_eq!(usual_for(is_root, var), expect.map(PathBuf::from));
    }

    #[test]
    fn where_it_is_kept() {
        check(false, &[("HOME", "/home/a")], Some("/home/a/.local/state/mcp-gateway"));
        let both = [("HOME", "/home/a"), ("XDG_STATE_HOME", "/s")];
        check(false, &both, Some("/s/mcp-gateway"));
        check(
            false,
            &[("HOME", "/home/a"), ("XDG_STATE_HOME", "s")],
            Some("/home/a/.local/state/mcp-gateway"),
        );
        check(true, &[("HOME", "/root")], Some("/var/lib/mcp-gateway"));
        check(true, &[("STATE_DIRECTORY", "/var/lib/g:/var/lib/h")], Some("/var/lib/g"));
        check(false, &[], None);
    }
}
