//! Whether a server that has answered a discovery takes a handshake too, where it does not say so.
//!
//! Servers on the SDK for Python 2.x, FastMCP 4 among them, name 2026-07-28 alone and take a
//! handshake all the same, where they were asked for nothing else in that process or session before;
//! and some of their tools can ask a client in mid-call only then.  So before the first client that
//! has a handshake one is tried, in a session of its own, once for all.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use mcp_jsonrpc::{
    Id, Message, ProtocolVersion,
    transport::{Caller, Exchange, Opening, Session, TransportError},
};
use serde_json::json;
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info};

use super::{Inner, Verdict, unwritten, verdict, watched};

/// The revision in which it is tried.
const VERSION: ProtocolVersion = ProtocolVersion::V2025_11_25;

/// A server may take so many times as long to answer a handshake as it took to answer a discovery,
/// both from its start on: it was quick to say what it needs not, so that one that says nothing to
/// this has none.
const TIMES: u32 = 4;

/// But at least so long: a machine that was idle then may be busy now.
const TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// After an attempt that has shown nothing, since the server could not be reached, none is made for
/// so long, and it is spoken to in what it is known to speak.
const AGAIN: Duration = Duration::from_secs(60);

/// What is known of a handshake of a server that names none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Greeted {
    /// Nothing.
    #[default]
    NotYet,
    /// Nothing could be found out: from then on it is tried again.
    InVain(Instant),
    /// Whether it takes one: the [`Verdict`] says which.
    Done,
}

/// What one attempt has shown.
#[derive(Debug)]
pub(super) enum Shown {
    /// It takes a handshake.
    Takes,
    /// It does not, for this is how it answered.
    TakesNone(&'static str),
    /// Nothing: this went wrong.
    Nothing(TransportError),
}

impl Greeted {
    fn is_due(self) -> bool {
        match self {
            Self::NotYet => true,
            Self::InVain(again) => again <= Instant::now(),
            Self::Done => false,
        }
    }
}

impl Inner {
    /// Whether it is still to be found out if this server takes a handshake.
    pub(super) fn is_to_be_greeted(&self) -> bool {
        let state = self.state();
        self.options.pin.is_none()
            && state.verdict == Some(Verdict::Modern)
            && state.greeted.is_due()
    }

    /// Finds it out.  All who want to know wait for one attempt, which goes on without them.
    pub(super) async fn greet(&self, caller: &Caller) {
        let mut running = {
            let mut state = self.state();
            if let Some(running) = &state.greeting {
                running.clone()
            } else if !state.greeted.is_due() {
                return;
            } else {
                let (done, running) = watch::channel(false);
                state.greeting = Some(running.clone());
                let (home, caller) = (Weak::clone(&self.me), caller.clone());
                let stop = self.stop.clone();
                self.tasks.spawn(stop.run_until_cancelled_owned(async move {
                    if let Some(home) = home.upgrade() {
                        home.find_manners(&caller).await;
                    }
                    done.send_replace(true);
                }));
                running
            }
        };
        if running.wait_for(|done| *done).await.is_err() {
            debug!(server = %self.name, "it ends before it was found out whether it is to be greeted");
        }
    }

    async fn find_manners(&self, caller: &Caller) {
        let began = Instant::now();
        let shown = self.try_handshake(caller).await;
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut state = self.state();
        state.greeting = None;
        state.greeted = match shown {
            Shown::Nothing(_) => Greeted::InVain(Instant::now() + AGAIN),
            Shown::Takes | Shown::TakesNone(_) => Greeted::Done,
        };
        // It may have turned out to be of another era meanwhile.
        let is_same = state.verdict == Some(Verdict::Modern);
        drop(state);
        let server = &self.name;
        match shown {
            Shown::Takes if is_same => {
                info!(%server, took_ms, "it takes a handshake, though it names no such revision");
                self.decide(Verdict::Both);
            }
            Shown::Takes => (),
            Shown::TakesNone(why) => info!(
                %server, took_ms, why,
                "it takes no handshake: sessions of clients that have one are made by the gateway"
            ),
            Shown::Nothing(error) => info!(
                %server, took_ms, %error,
                "whether it takes a handshake could not be found out: it is tried again"
            ),
        }
    }

    /// Begins a session as clients of before 2026-07-28 do, and ends it.
    async fn try_handshake(&self, caller: &Caller) -> Shown {
        let opening = Opening { caller: caller.clone(), version: Some(VERSION), at: Arc::from("") };
        let until = Instant::now() + self.greeting_timeout();
        let session = match tokio::time::timeout_at(until, self.transport.open(opening)).await {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return verdict::of_greeting(Ok(Err(error)), false),
            Err(late) => return verdict::of_greeting(Err(late), false),
        };
        let shown = match hello(caller) {
            Ok(hello) => {
                let asked = watched::ask(&*session, hello);
                let said = tokio::time::timeout_at(until, asked).await;
                let has_ended = self.options.is_child && !session.is_open();
                match verdict::of_greeting(said, has_ended) {
                    // It answers each request by itself, so it can ask nobody in mid-call, nor say
                    // anything unasked: of what the gateway makes a client has more (the SDK for
                    // TypeScript 2.x serves older clients so, if it is not told otherwise).
                    Shown::Takes if !self.keeps(&*session) => {
                        Shown::TakesNone("it answers `initialize`, but begins no session")
                    }
                    shown => shown,
                }
            }
            Err(error) => Shown::Nothing(error),
        };
        self.tasks.spawn(async move { session.close().await });
        shown
    }

    /// Whether what was begun is a session: a process is one, and over HTTP it has an id.
    fn keeps(&self, session: &dyn Session) -> bool {
        self.options.is_child || session.endpoint().session.is_some()
    }

    /// How long the server may take to answer, from now on.
    fn greeting_timeout(&self) -> Duration {
        let took = self.state().took;
        took.saturating_mul(TIMES).max(TIMEOUT_MIN).min(self.options.greeting_timeout)
    }
}

/// The handshake with which the gateway tries whether there is one: no client's, and gone at once.
fn hello(caller: &Caller) -> Result<Exchange, TransportError> {
    let params = json!({
        "protocolVersion": VERSION.as_str(),
        "capabilities": {},
        "clientInfo": { "name": "mcp-gateway", "version": env!("CARGO_PKG_VERSION") },
    });
    let message = Message::request(&Id::from("greeting"), "initialize", &params);
    let mut exchange = Exchange::new(message.map_err(unwritten)?, caller.clone());
    exchange.version = Some(VERSION);
    Ok(exchange)
}
