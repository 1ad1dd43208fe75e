//! The process whose forks the supervisors are, and how the gateway holds it.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as Socket,
    },
    sync::Arc,
    time::Duration,
};

use fork::Fork;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use tokio::process::Child;
use tracing::{debug, warn};

use super::{
    control::{HandOver, Report, Taken, report},
    events::{Signals, Woken},
    watch,
};

/// The keeper, as the gateway has it: for as long as somebody does, it goes on.
pub(crate) struct Keeper {
    process: Child,
    socket: Socket,
}

// === impl Keeper ===

impl Keeper {
    /// Starts one, which has the socket it is given as its stdin.
    pub(super) fn start(start: impl Fn(Socket) -> io::Result<Child>) -> io::Result<Self> {
        let (here, there) = Socket::pair()?;
        let process = start(there)?;
        // If it does not take what it is given, nobody waits for that in here.
        here.set_nonblocking(true)?;
        Ok(Self { process, socket: here })
    }

    /// Gives it these streams; false if it runs no more.
    pub(super) fn takes(&self, streams: &HandOver) -> io::Result<bool> {
        match streams.send(&self.socket) {
            Ok(()) => Ok(true),
            Err(error) => match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Ends it at once.  Its supervisors go on.
    pub(super) fn kill(&self) {
        let id = self.process.id().and_then(|it| i32::try_from(it).ok());
        if let Some(id) = id.and_then(Pid::from_raw)
            && let Err(error) = kill_process(id, Signal::KILL)
        {
            debug!(%error, "the keeper of supervisors is gone already");
        }
    }

    /// Lets go of it.  The last one to do so waits until it has ended, but no longer than this.
    pub(crate) async fn release(self: Arc<Self>, timeout: Duration) {
        let Some(Self { mut process, socket }) = Arc::into_inner(self) else { return };
        drop(socket);
        match tokio::time::timeout(timeout, process.wait()).await {
            Ok(Ok(_)) => (),
            Ok(Err(error)) => warn!(%error, "the keeper of supervisors cannot be waited for"),
            Err(_) => {
                warn!("the keeper of supervisors does not come to an end: killed");
                if let Err(error) = process.kill().await {
                    warn!(%error, "the keeper of supervisors cannot be killed");
                }
            }
        }
    }
}

/// What the keeper does: forks for each child, and buries supervisors that are done.
///
/// It ends when the gateway has closed its socket, or was ended, and the last supervisor is gone.
pub(super) fn keep() -> io::Result<u8> {
    let socket = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
    // That there is somebody at the other end tells that nobody started this by hand.
    socket.peer_addr()?;
    let nothing = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    drop(nothing);
    // No terminal: what it sends is for the gateway, and a child that would ask there for a
    // password fails instead of being stopped.
    rustix::process::setsid()?;
    name(c"mcp-keeper")?;
    // Those that ask it to end it does not hear: it ends with its gateway.
    let signals = Signals::new()?;
    let mut open = true;
    while bury() || open {
        if signals.wait(open.then_some(&socket), None)? != Woken::Socket {
            continue;
        }
        let mut streams = match HandOver::receive(&socket)? {
            Taken::Whole(streams) => streams,
            // Whoever it was for finds its socket closed.
            Taken::Part => continue,
            Taken::Nothing => {
                open = false;
                continue;
            }
        };
        match fork::fork() {
            Ok(Fork::Parent(_)) => (),
            Ok(Fork::Child) => {
                drop((socket, signals));
                return watch::supervise(streams);
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or_default();
                report(&mut streams.control, Report::Unsupervised(errno));
            }
        }
    }
    Ok(0)
}

/// Buries the dead; whether there is one left to wait for.
fn bury() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => (),
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// What this process is called in lists of them.
#[cfg(target_os = "linux")]
pub(super) fn name(name: &std::ffi::CStr) -> io::Result<()> {
    Ok(rustix::thread::set_name(name)?)
}

/// What this process is called in lists of them: elsewhere as its program is.
#[cfg(not(target_os = "linux"))]
pub(super) fn name(_: &std::ffi::CStr) -> io::Result<()> {
    Ok(())
}

/// Makes this the stderr of this process.
pub(super) fn speak_to(stderr: OwnedFd) -> io::Result<()> {
    Ok(rustix::stdio::dup2_stderr(stderr)?)
}
