//! What wakes a process without a runtime: signals, and the end of a socket.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream as Socket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Signal,
};
use signal_hook::{SigId, flag, low_level};

/// Those that are for the child, and not for whoever supervises it.
const PASSED_ON: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// The signals that this process gets from now on, until this is dropped: from then on it gets
/// none of them.
pub(super) struct Signals {
    wake: Socket,
    seen: [(Signal, Arc<AtomicBool>); PASSED_ON.len()],
    registered: Vec<SigId>,
}

/// What somebody waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// There has been a signal: a child may have died, and [`Signals::take`] may have some.
    Signal,
    /// The socket can be read, or is at its end.
    Socket,
    /// The time is up.
    Late,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let (wake, waker) = Socket::pair()?;
        wake.set_nonblocking(true)?;
        let seen = PASSED_ON.map(|it| (it, Arc::default()));
        let mut this = Self { wake, seen, registered: Vec::new() };
        for (signal, seen) in &this.seen {
            this.registered.push(flag::register(signal.as_raw(), Arc::clone(seen))?);
        }
        // Behind the flags: who is woken finds them.
        for signal in PASSED_ON.into_iter().chain([Signal::CHILD]) {
            let waker = waker.try_clone()?;
            this.registered.push(low_level::pipe::register(signal.as_raw(), waker)?);
        }
        Ok(this)
    }

    /// Those that came since this was last asked, and are for the child.
    pub(super) fn take(&self) -> impl Iterator<Item = Signal> + '_ {
        let seen = self.seen.iter().filter(|(_, seen)| seen.swap(false, Ordering::SeqCst));
        seen.map(|(signal, _)| *signal)
    }

    /// Waits for a signal or for the socket, if there is one, but no longer than this.
    pub(super) fn wait(
        &self,
        socket: Option<&Socket>,
        timeout: Option<Duration>,
    ) -> io::Result<Woken> {
        // What cannot be said in it is longer than anybody waits.
        let timeout = timeout.and_then(|it| Timespec::try_from(it).ok());
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        fds.extend(socket.map(|it| PollFd::new(it, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) => return Ok(Woken::Late),
            Ok(_) => (),
            Err(rustix::io::Errno::INTR) => return Ok(Woken::Signal),
            Err(error) => return Err(error.into()),
        }
        let is_ready = |nth: usize| fds.get(nth).is_some_and(|it| !it.revents().is_empty());
        if !is_ready(0) {
            return Ok(Woken::Socket);
        }
        // As many as there were: they are all told by their flags.
        while matches!((&self.wake).read(&mut [0; 64]), Ok(1..)) {}
        Ok(Woken::Signal)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            low_level::unregister(id);
        }
    }
}
