//! An MCP server inside the process: the demo, and the fixture of most tests.
//!
//! A [`DemoServer`] is a [`Transport`]: whatever can offer a transport to clients can offer it.
//! It has something of everything that MCP knows, in all five revisions: tools that answer, fail, take
//! long, report progress, log, and ask their caller; resources, templates and subscriptions;
//! prompts, completion, changing lists, pages.  To each revision it shows what that revision has.
//!
//! It spawns no task: a call runs while its reply is pulled, and dropping the reply cancels it.
//!
//! ```
//! use demo_server::DemoServer;
//! use mcp_jsonrpc::{Message, transport::{Caller, Exchange, Opening, Reply, Transport}};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let caller = Caller::anonymous();
//! let opening = Opening { caller: caller.clone(), version: None, at: "/demo/mcp".into() };
//! let session = DemoServer::default().open(opening).await?;
//! for (raw, says) in [
//!     (
//!         r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{
//!             "protocolVersion":"2025-06-18","capabilities":{},
//!             "clientInfo":{"name":"doc","version":"1"}}}"#,
//!         r#""protocolVersion":"2025-06-18""#,
//!     ),
//!     (
//!         r#"{"jsonrpc":"2.0","id":2,"method":"tools/call",
//!             "params":{"name":"add","arguments":{"a":2,"b":3}}}"#,
//!         r#""structuredContent":{"sum":5}"#,
//!     ),
//! ] {
//!     let exchange = Exchange::new(Message::parse(raw)?, caller.clone());
//!     let Reply::Single(answer) = session.send(exchange).await? else {
//!         panic!("nothing precedes this answer");
//!     };
//!     assert!(answer.mentions(says));
//! }
//! # Ok(())
//! # }
//! ```

mod call;
mod completion;
mod content;
mod modern;
mod page;
mod prompts;
mod resources;
mod revision;
mod session;
mod state;
mod tools;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::transport::{
    Caller, Endpoint, ErrorKind, InboxMax, Opening, Session, SessionId, Transport, TransportError,
};

use crate::{
    modern::{Hall, Stateless},
    session::DemoSession,
};

/// An MCP server inside the process.  A clone is the same server.
#[derive(Clone, Default)]
pub struct DemoServer {
    shared: Arc<Shared>,
    /// The sessions that have ids.
    sessions: Arc<Sessions>,
}

/// How a [`DemoServer`] behaves, and how much it takes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Whether sessions have ids, by which [`find`](Transport::find) finds them, and live until
    /// they are closed.  Without ids a session lives as long as somebody holds it.
    pub sessions_have_ids: bool,
    /// How many sessions there may be at once.
    pub session_count_max: usize,
    /// How many calls of one session may run at once.
    pub in_flight_max: usize,
    /// How many resources a session may subscribe to.
    pub subscription_count_max: usize,
    /// How many entries a page of a listing holds.
    pub page_len_max: usize,
    /// How many bytes the tool `blob` returns at most.
    pub blob_len_max: usize,
    /// How long a call runs at most that is told how long to take.
    pub duration_max: Duration,
    /// How long a client's answer to a question is awaited.
    pub answer_timeout: Duration,
    /// How much may wait for the listener of a session.
    pub inbox: InboxMax,
}

/// What all sessions of a server have in common.
#[derive(Default)]
struct Shared {
    options: Options,
    /// How often the tool `count` was called.
    counted: AtomicU64,
    open: AtomicUsize,
    /// What those see who speak without a session.
    modern: Hall,
}

/// Sessions by their ids.
#[derive(Default)]
struct Sessions(Mutex<HashMap<SessionId, Arc<DemoSession>>>);

/// A demo server with default [`Options`].
pub fn transport() -> impl Transport + Clone {
    DemoServer::default()
}

// === impl Options ===

impl Default for Options {
    /// No ids; 10,000 sessions of 256 calls and 1,000 subscriptions; 50 entries a page; 60 MiB;
    /// an hour to run, ten minutes to answer.
    fn default() -> Self {
        Self {
            sessions_have_ids: false,
            session_count_max: 10_000,
            in_flight_max: 256,
            subscription_count_max: 1000,
            page_len_max: 50,
            blob_len_max: 60 << 20,
            duration_max: Duration::from_secs(3600),
            answer_timeout: Duration::from_secs(600),
            inbox: InboxMax::default(),
        }
    }
}

// === impl DemoServer ===

impl DemoServer {
    /// A server without sessions.
    pub fn new(options: Options) -> Self {
        let shared = Arc::new(Shared { options, ..Shared::default() });
        Self { shared, sessions: Arc::default() }
    }

    /// How often the tool `count` has been called, in all sessions together.
    pub fn counted(&self) -> u64 {
        self.shared.counted.load(Ordering::Relaxed)
    }

    /// How many sessions are open.
    pub fn session_count(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    fn open_now(&self, opening: Opening) -> Result<Arc<dyn Session>, TransportError> {
        let shared = &self.shared;
        let place = Place::take(shared).ok_or_else(|| {
            let what = "the demo server has as many sessions as it may";
            TransportError::new(ErrorKind::Exhausted, what)
        })?;
        if !shared.options.sessions_have_ids {
            let endpoint = Endpoint { uri: Arc::from("demo:"), session: None };
            return Ok(Arc::new(DemoSession::new(place, endpoint, opening.caller, Weak::new())));
        }
        let id = random_id()?;
        let endpoint = Endpoint { uri: opening.at, session: Some(id.clone()) };
        let sessions = Arc::downgrade(&self.sessions);
        let session = Arc::new(DemoSession::new(place, endpoint, opening.caller, sessions));
        self.sessions.lock().insert(id, Arc::clone(&session));
        Ok(session)
    }
}

impl Transport for DemoServer {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            if opening.with_handshake().is_ok() {
                return self.open_now(opening);
            }
            let endpoint = Endpoint { uri: Arc::from("demo:"), session: None };
            let shared = Arc::clone(&self.shared);
            Ok(Arc::new(Stateless { shared, endpoint }) as Arc<dyn Session>)
        }
        .boxed()
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        let session = self.sessions.lock().get(id).cloned();
        match session.filter(|session| session.is_of(caller)) {
            Some(session) => Ok(session),
            None => Err(TransportError::new(ErrorKind::NoSession, "no such session")),
        }
    }
}

impl fmt::Debug for DemoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sessions = self.session_count();
        f.debug_struct("DemoServer").field("sessions", &sessions).finish_non_exhaustive()
    }
}

// === impl Sessions ===

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<DemoSession>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session's place among those there may be; free again when dropped.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let max = shared.options.session_count_max;
        let another = |open: usize| (open < max).then_some(open + 1);
        shared.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, another).ok()?;
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn random_id() -> Result<SessionId, TransportError> {
    let hex = random_hex()?;
    SessionId::new(&hex).ok_or_else(|| TransportError::new(ErrorKind::Protocol, "no id"))
}

fn random_hex() -> Result<String, TransportError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        let what = "there is no randomness for an id";
        TransportError::new(ErrorKind::Exhausted, what).because(error.to_string())
    })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
