//! Servers that are child processes.

mod children;
mod env;
mod fault;
mod life;
mod words;

use std::{ffi::OsString, fmt, path::PathBuf, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::transport::{
    Caller, Endpoint, ErrorKind, EventId, EventStream, Exchange, Opening, Reply, Session,
    SessionId, Transport, TransportError,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

pub use self::{
    children::{ChildInfo, Children},
    env::{PASSED_ON, PASSED_ON_PREFIXES},
};
use crate::{Limits, StderrMax, Timeouts, child::Start, supervise::Supervisor, wire::Wire};

/// A transport that starts a process for every session.
///
/// The process is started directly: no shell reads `program` or `args`.  It ends with its session:
/// its stdin is closed, and what is left gets SIGTERM and then SIGKILL, after [`Timeouts`].
///
/// With a [`Supervisor`] everything that the child has started ends with it, and all of it ends
/// with this process, even if that gets SIGKILL.  Without one that is true of the child's process
/// group, and only as long as this process can see to it.
#[derive(Clone)]
pub struct Spawn {
    /// What the server is called in errors and in the log.
    pub name: Arc<str>,
    /// What to run: a path, or a name that is looked for in the `PATH` the child gets.
    pub program: OsString,
    /// What to pass it.
    pub args: Vec<OsString>,
    /// What to add to its environment; of two pairs of one name the later one counts.
    pub env: Vec<(OsString, OsString)>,
    /// Whether it gets the whole environment of this process, or only what
    /// [`PASSED_ON`] and [`PASSED_ON_PREFIXES`] name.
    pub inherit_env: bool,
    /// Where to run it; none for where this process runs.
    pub dir: Option<PathBuf>,
    /// Who sees to it that nothing of it survives.
    pub supervisor: Option<Supervisor>,
    /// What is shown to nobody, though the child may write it to stderr: the secrets it is given.
    /// Texts of fewer than four bytes are not looked for.
    pub masked: Vec<Box<str>>,
    /// How much may be said, and wait to be.
    pub limits: Limits,
    /// How long it may take to start and to end.
    pub timeouts: Timeouts,
    /// How much of its stderr is kept.
    pub stderr: StderrMax,
    /// Where its children are entered.
    pub children: Children,
}

/// A session with a child process, of either era.
///
/// What is asked first decides which: `initialize`, or a request that says all about itself
/// (2026-07-28).  A `server/discover` decides nothing: who has asked it may go on in either way.
/// Spoken to without a handshake, the child may be shared by any number of callers, and
/// [`listen`](Session::listen) yields nothing.
///
/// Dropping it ends the child, in a task that [`Children::gone`] waits for.
#[derive(Debug)]
pub struct Process {
    uri: Arc<str>,
    wire: Arc<Wire>,
    info: ChildInfo,
    stop: CancellationToken,
    /// When nothing of the child runs any more.
    over: CancellationToken,
    _stop: DropGuard,
}

// === impl Spawn ===

impl Spawn {
    /// A server of this name, run as this program, with defaults for all else.
    pub fn new(name: impl Into<Arc<str>>, program: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            inherit_env: false,
            dir: None,
            supervisor: None,
            masked: Vec::new(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            stderr: StderrMax::default(),
            children: Children::default(),
        }
    }

    /// Starts a child.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] where it cannot be started: which program was looked for, and
    /// where, and what to do.
    pub async fn start(&self) -> Result<Process, TransportError> {
        let env = env::environment(std::env::vars_os(), self.inherit_env, &self.env);
        let start = Start {
            program: &self.program,
            args: &self.args,
            env: &env,
            dir: self.dir.as_deref(),
            supervisor: self.supervisor.as_ref(),
            timeouts: self.timeouts,
        };
        let started = match start.run().await {
            Ok(started) => started,
            Err(error) => return Err(fault::explain(&start, error).of(&self.name)),
        };
        let pid = started.process.id();
        info!(server = &*self.name, pid, "started");
        Ok(life::begin(self, started))
    }
}

impl Transport for Spawn {
    /// Starts a child, whatever the opening says: it does not make a difference to a child how it
    /// will be spoken to.
    fn open(&self, _: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async { Ok(Arc::new(self.start().await?) as Arc<dyn Session>) }.boxed()
    }

    fn find(&self, _: &SessionId, _: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        let error = TransportError::new(ErrorKind::NoSession, "a process has no session id");
        Err(error.of(&self.name))
    }
}

/// Shows no value of the environment and no argument: they may be secrets.
impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let env: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Spawn")
            .field("name", &self.name)
            .field("program", &self.program)
            .field("args", &self.args.len())
            .field("env", &env)
            .field("dir", &self.dir)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}

// === impl Process ===

impl Process {
    /// The child, as it may be shown.
    pub fn info(&self) -> &ChildInfo {
        &self.info
    }

    /// How many requests wait for their answer.
    pub fn in_flight(&self) -> usize {
        self.wire.in_flight()
    }

    /// How much it said for nobody, while it was spoken to without a handshake.
    pub fn unclaimed(&self) -> u64 {
        self.wire.unclaimed()
    }
}

impl Session for Process {
    /// `stdio:` and the process id.
    fn endpoint(&self) -> Endpoint {
        Endpoint { uri: Arc::clone(&self.uri), session: None }
    }

    fn send(&self, exchange: Exchange) -> BoxFuture<'_, Result<Reply, TransportError>> {
        self.wire.send(exchange).boxed()
    }

    fn listen(&self, _: Option<EventId>) -> BoxFuture<'_, Result<EventStream, TransportError>> {
        async { Ok(self.wire.listen()) }.boxed()
    }

    fn is_open(&self) -> bool {
        self.wire.is_open()
    }

    /// Ends the child and waits until nothing of it runs any more.
    fn close(&self) -> BoxFuture<'_, ()> {
        self.stop.cancel();
        self.over.cancelled().boxed()
    }
}
