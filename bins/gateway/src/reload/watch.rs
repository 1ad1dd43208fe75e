//! Watching the files that a configuration depends on.
//!
//! Folders are watched, since editors put another file in the place of the one there is, and
//! Kubernetes another link; of files only what is written into them.  An event only says that it is time to look: what counts is what the
//! files hold.  Where folders cannot be watched, they are looked at every few seconds.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Reloader, blocking, stamps::Stamps};

/// How long nothing may have happened before the files are read: who writes several, or one in
/// several pieces, is let finish.
const QUIET: Duration = Duration::from_millis(200);
/// How long to wait for that, at most.
const QUIET_TIMEOUT: Duration = Duration::from_secs(2);
/// How often to look where folders cannot be watched.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How many links are followed from a name to its file.
const LINKS_MAX: usize = 16;

/// Has changes taken over, until told to stop.
pub async fn watch(reloader: Arc<Reloader>, stop: CancellationToken) {
    if reloader.file().is_none() {
        return;
    }
    loop {
        let tried = reloader.tried.notified();
        tokio::pin!(tried);
        // From here on, so that nobody's attempt is missed.
        tried.as_mut().enable();
        let files = reloader.files.load_full();
        let look = blocking(move || Folders::of(&files));
        let Some(folders) = look.await else { return };
        // What came before the folders were watched is seen here.
        if reloader.config().watch {
            reloader.reload_if_changed("a file has changed").await;
        }
        tokio::select! {
            () = settled(&folders) => (),
            // Perhaps there are other files to watch now.
            // But not at once, or a file that is written without a pause would be read without one.
            () = async { (&mut tried).await; tokio::time::sleep(QUIET).await } => (),
            () = stop.cancelled() => return,
        }
    }
}

/// Waits until something has happened, and then until nothing has for a while.
async fn settled(folders: &Folders) {
    folders.stirred().await;
    let deadline = Instant::now() + QUIET_TIMEOUT;
    while Instant::now() < deadline && tokio::time::timeout(QUIET, folders.stirred()).await.is_ok()
    {
    }
}

/// The folders that hold some files, and the links on the way to them.
#[derive(Debug)]
struct Folders {
    events: Option<events::Events>,
    /// All of them are watched.
    complete: bool,
}

impl Folders {
    fn of(files: &Stamps) -> Self {
        let folders: BTreeSet<PathBuf> = files.files().flat_map(folders_of).collect();
        let files: Vec<&Path> = files.files().collect();
        match events::Events::of(&folders, &files) {
            Ok((events, complete)) => Self { events: Some(events), complete },
            Err(error) => {
                debug!(%error, "folders are looked at instead of watched");
                Self { events: None, complete: false }
            }
        }
    }

    /// Waits until something has happened in one of them.
    async fn stirred(&self) {
        let Some(events) = &self.events else {
            return tokio::time::sleep(LOOK_INTERVAL).await;
        };
        if self.complete {
            return events.next().await;
        }
        // Too late is no harm: it is time to look.
        tokio::time::timeout(LOOK_INTERVAL, events.next()).await.ok();
    }
}

/// The folder that a file's name is in, and those of every link on the way to the file.
fn folders_of(file: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut at = file.to_owned();
    for _ in 0..LINKS_MAX {
        let folder =
            at.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        folders.insert(folder.to_owned());
        let Ok(target) = std::fs::read_link(&at) else { break };
        at = folder.join(target);
    }
    // Folders on the way may be links as well.
    let real = std::fs::canonicalize(file).ok();
    folders.extend(real.and_then(|it| it.parent().map(Path::to_owned)));
    folders
}

#[cfg(target_os = "linux")]
mod events {
    //! By inotify.

    use std::{
        collections::BTreeSet,
        io,
        mem::MaybeUninit,
        os::fd::OwnedFd,
        path::{Path, PathBuf},
    };

    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use tokio::io::unix::AsyncFd;

    /// Room for many events, whose names are never longer than 255 bytes.
    const BUFFER_LEN: usize = 16 << 10;

    #[derive(Debug)]
    pub(super) struct Events(AsyncFd<OwnedFd>);

    impl Events {
        /// Watches folders, and files for what is written into them; says whether that could be done
        /// for all folders.
        pub(super) fn of(folders: &BTreeSet<PathBuf>, files: &[&Path]) -> io::Result<(Self, bool)> {
            let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            // Not what is written into others: a log that lies beside the configuration would wake
            // us with each of its lines.
            let what = WatchFlags::CLOSE_WRITE
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVE
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR;
            let mut complete = true;
            for folder in folders {
                complete &= inotify::add_watch(&fd, folder, what).is_ok();
            }
            for file in files {
                // One that is not there yet is seen by its folder.
                inotify::add_watch(&fd, *file, WatchFlags::MODIFY).ok();
            }
            #[expect(
                deprecated,
                reason = "unsound for descriptors that somebody else may close, which this is not"
            )]
            Ok((Self(AsyncFd::new(fd)?), complete))
        }

        /// Waits for the next events, and forgets what they were.
        pub(super) async fn next(&self) {
            // Without a runtime that drives it, nothing is ever ready.
            let Ok(mut ready) = self.0.readable().await else { return };
            let mut buffer = [MaybeUninit::uninit(); BUFFER_LEN];
            let mut reader = inotify::Reader::new(self.0.get_ref(), &mut buffer);
            while reader.next().is_ok() {}
            ready.clear_ready();
        }
    }

    #[cfg(test)]
    mod tests {
        use std::{fs::File, io::Write as _};

        use super::*;

        #[tokio::test]
        async fn a_log_beside_the_configuration_wakes_nobody() {
            let folder = tempfile::tempdir().unwrap();
            let [mut log, mut config] =
                ["log", "config"].map(|it| File::create(folder.path().join(it)).unwrap());
            let watched = BTreeSet::from([folder.path().to_owned()]);
            let file = folder.path().join("config");
            let (events, complete) = Events::of(&watched, &[&file]).unwrap();
            assert!(complete);
            let woken = || {
                let mut buffer = [MaybeUninit::uninit(); BUFFER_LEN];
                inotify::Reader::new(events.0.get_ref(), &mut buffer).next().is_ok()
            };
            log.write_all(b"a line").unwrap();
            assert!(!woken());
            config.write_all(b"{").unwrap();
            assert!(woken());
            drop(log);
            assert!(woken(), "it might have been the configuration by another name");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod events {
    //! There are none: folders are looked at.

    use std::{
        collections::BTreeSet,
        io,
        path::{Path, PathBuf},
    };

    #[derive(Debug)]
    pub(super) struct Events;

    impl Events {
        pub(super) fn of(_: &BTreeSet<PathBuf>, _: &[&Path]) -> io::Result<(Self, bool)> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) async fn next(&self) {
            std::future::pending().await
        }
    }
}
