//! The generator's own MCP clients: one session, one call at a time.

mod connection;
mod modern;
mod openapi;
mod pipe;
mod sse;
mod streamable;

use std::{net::SocketAddr, str::FromStr, time::Duration};

use crate::{
    error::{Failure, Result, within},
    modern::Era,
    rpc::{self, Call},
};

/// Opening a session may take this long: a child may have to start for it.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// A transport, in front or behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Standard input and output of a child.
    Stdio,
    /// HTTP+SSE of 2024-11-05.
    Sse,
    /// Streamable HTTP.
    Streamable,
    /// 2026-07-28 over HTTP.
    Modern,
    /// 2026-07-28 over standard input and output of a child.
    ModernStdio,
    /// Tools as paths of an OpenAPI description: no MCP, and only in front of a peer.
    OpenApi,
}

impl Wire {
    /// The text which [`FromStr`] reads.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Stdio => "stdio",
            Self::Sse => "sse",
            Self::Streamable => "streamable",
            Self::Modern => "modern",
            Self::ModernStdio => "modern-stdio",
            Self::OpenApi => "openapi",
        }
    }

    /// What is spoken over it.
    pub(crate) fn era(self) -> Era {
        match self {
            Self::Modern | Self::ModernStdio => Era::Modern,
            Self::Stdio | Self::Sse | Self::Streamable | Self::OpenApi => Era::Legacy,
        }
    }

    /// Is it that of a child?
    pub(crate) fn is_child(self) -> bool {
        matches!(self, Self::Stdio | Self::ModernStdio)
    }

    /// The nearest transport on which this era is spoken.
    pub(crate) fn in_era(self, era: Era) -> Self {
        match (self, era) {
            _ if self.era() == era => self,
            (_, Era::Modern) if self.is_child() => Self::ModernStdio,
            (_, Era::Modern) => Self::Modern,
            (_, Era::Legacy) if self.is_child() => Self::Stdio,
            (_, Era::Legacy) => Self::Streamable,
        }
    }

    /// Where our own servers offer it.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Sse => "/sse",
            Self::OpenApi => "",
            _ => "/mcp",
        }
    }
}

impl FromStr for Wire {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Stdio, Self::Sse, Self::Streamable, Self::Modern, Self::ModernStdio]
            .into_iter()
            .find(|it| it.text() == text)
            .ok_or(())
    }
}

/// What a session is opened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A URL.
    Http {
        /// What is spoken there.
        wire: Wire,
        /// Host and port.
        addr: SocketAddr,
        /// The path.
        path: String,
        /// What precedes the names of tools there.
        prefix: &'static str,
        /// Without which nobody is let in, over Streamable HTTP.
        token: Option<&'static str>,
    },
    /// A child of its own: what it speaks, program and arguments.
    Child(Era, std::path::PathBuf, Vec<String>),
}

/// An open session.
pub(crate) struct Session {
    wire: Open,
    call_timeout: Duration,
    era: Era,
    prefix: &'static str,
}

enum Open {
    /// Over Streamable HTTP.
    Streamable(streamable::Session),
    /// 2026-07-28 over HTTP, which knows no session.
    Modern(modern::Session),
    /// Over HTTP+SSE.
    Sse(sse::Session),
    /// With a child of its own.
    Pipe(pipe::Session),
    /// Over OpenAPI.
    Plain(openapi::Session),
}

impl Session {
    /// Opens a session: `initialize`, its answer checked, `notifications/initialized`; in
    /// 2026-07-28 `server/discover`.  A call in it may take `call_timeout`.
    ///
    /// # Errors
    /// Whatever went wrong; nothing stays behind.
    pub(crate) async fn open(target: &Target, call_timeout: Duration) -> Result<Self> {
        Self::open_in(rpc::REVISION, target, call_timeout).await
    }

    /// The same, where that is over Streamable HTTP, with a client of this revision.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub(crate) async fn open_in(
        revision: &str,
        target: &Target,
        call_timeout: Duration,
    ) -> Result<Self> {
        let wire = within(OPEN_TIMEOUT, "opening a session", async {
            Ok(match target {
                Target::Http { wire: Wire::Sse, addr, path, .. } => {
                    Open::Sse(sse::Session::open(*addr, path).await?)
                }
                Target::Http { wire: Wire::Modern, addr, path, .. } => {
                    Open::Modern(modern::Session::open(*addr, path).await?)
                }
                Target::Http { wire: Wire::OpenApi, addr, path, .. } => {
                    Open::Plain(openapi::Session::open(*addr, path).await?)
                }
                Target::Http { addr, path, token, .. } => Open::Streamable(
                    streamable::Session::open(*addr, path, *token, revision).await?,
                ),
                Target::Child(era, program, args) => {
                    Open::Pipe(pipe::Session::open(*era, program, args).await?)
                }
            })
        })
        .await?;
        let (era, prefix) = match target {
            Target::Http { wire, prefix, .. } => (wire.era(), *prefix),
            Target::Child(era, ..) => (*era, ""),
        };
        Ok(Self { wire, call_timeout, era, prefix })
    }

    /// The call number `id` of the session number `nth`, as it is written here.
    pub(crate) fn write(&self, ask: &rpc::Ask, nth: usize, id: u64) -> Call {
        Call::of(self.era, self.prefix, ask, (nth, id))
    }

    /// Makes one call and checks its answer.
    ///
    /// # Errors
    /// [`Failure::Wrong`] for an answer that is not this call's, otherwise what broke.
    pub(crate) async fn call(&mut self, call: &Call) -> Result<()> {
        if let Open::Plain(session) = &mut self.wire {
            return within(self.call_timeout, "a call", session.call(call)).await;
        }
        let (answer, notes) = self.ask(call.id, call.body.clone(), Some(call.tool)).await?;
        call.check(&answer, notes)
    }

    /// Calls a tool, and returns whatever answers it.
    ///
    /// # Errors
    /// What broke.
    pub(crate) async fn say(
        &mut self,
        id: u64,
        body: bytes::Bytes,
        tool: &'static str,
    ) -> Result<bytes::Bytes> {
        self.ask(id, body, Some(tool)).await.map(|(answer, _)| answer)
    }

    /// As [`Session::call`], for where things break: returns the words of a JSON-RPC error that
    /// answered the call, if one did, and whatever else was said before the answer may be said.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub(crate) async fn attempt(&mut self, call: &Call) -> Result<Option<String>> {
        let (answer, _) = self.ask(call.id, call.body.clone(), Some(call.tool)).await?;
        match call.refusal(&answer) {
            Some(refusal) => Ok(Some(refusal)),
            None => call.check(&answer, call.notifications).map(|()| None),
        }
    }

    /// Goes on with this very session after whatever carried it broke, as clients do that need
    /// not begin anew.
    ///
    /// # Errors
    /// [`Failure::Wrong`] when it is another session; otherwise what broke.
    pub(crate) async fn come_back(&mut self) -> Result<()> {
        match &mut self.wire {
            // The next request connects again, and says whose it is.
            Open::Streamable(session) => session.rest(),
            Open::Modern(session) => session.rest(),
            Open::Sse(session) => {
                within(OPEN_TIMEOUT, "coming back to a session", session.come_back()).await?;
            }
            Open::Pipe(_) | Open::Plain(_) => {
                return Err(Failure::Process("there is no session to come back to".to_owned()));
            }
        }
        Ok(())
    }

    /// Asks for the tools and checks that they are ours.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub(crate) async fn list_tools(&mut self, id: u64) -> Result<()> {
        let body = match self.era {
            Era::Legacy => rpc::list_tools(id),
            Era::Modern => crate::modern::request(id, "tools/list"),
        };
        let (answer, _) = self.ask(id, body, None).await?;
        rpc::check_list(&answer, id, self.prefix)
    }

    /// Opens the stream for what the server says unasked, where the transport has one of its own.
    ///
    /// # Errors
    /// [`Failure::Status`] when the server has none.
    pub(crate) async fn listen(&mut self) -> Result<()> {
        match &mut self.wire {
            Open::Streamable(session) => session.listen().await,
            Open::Modern(_) | Open::Sse(_) | Open::Pipe(_) | Open::Plain(_) => Ok(()),
        }
    }

    /// Gives up connections that only requests need, as a client's pool does after a while.
    pub(crate) fn rest(&mut self) {
        match &mut self.wire {
            Open::Streamable(session) => session.rest(),
            Open::Modern(session) => session.rest(),
            Open::Sse(session) => session.rest(),
            Open::Plain(session) => session.rest(),
            Open::Pipe(_) => {}
        }
    }

    /// Ends the session as its transport provides.
    ///
    /// # Errors
    /// What broke.
    pub(crate) async fn close(self) -> Result<()> {
        match self.wire {
            Open::Streamable(session) => session.close().await,
            Open::Modern(_) | Open::Sse(_) | Open::Plain(_) => Ok(()),
            Open::Pipe(session) => session.close().await,
        }
    }

    /// The child that this session has for itself.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.wire {
            Open::Pipe(session) => session.pid(),
            Open::Streamable(_) | Open::Modern(_) | Open::Sse(_) | Open::Plain(_) => None,
        }
    }

    /// Sends a request, and reads no more of its answer than the head, as a client does that is
    /// too slow; where the transport has an answer for itself.
    ///
    /// # Errors
    /// What broke.
    pub(crate) async fn stall(&mut self, body: bytes::Bytes) -> Result<()> {
        match &mut self.wire {
            Open::Streamable(session) => {
                within(self.call_timeout, "the head of an answer", session.stall(body)).await
            }
            _ => Err(Failure::Process("only over Streamable HTTP".to_owned())),
        }
    }

    /// Sends a request that is none of the usual; its answer is the caller's to check.
    ///
    /// # Errors
    /// What broke.
    pub(crate) async fn raw(&mut self, id: u64, body: bytes::Bytes) -> Result<bytes::Bytes> {
        self.ask(id, body, None).await.map(|(answer, _)| answer)
    }

    /// Waits until this is said unasked, where the transport has a stream for that.
    ///
    /// # Errors
    /// [`Failure::Timeout`] when it is not; [`Failure::Process`] where nobody listens.
    pub(crate) async fn hears(&mut self, what: &str) -> Result<()> {
        let Open::Streamable(session) = &mut self.wire else {
            return Err(Failure::Process("nobody listens".to_owned()));
        };
        within(self.call_timeout, "what is said unasked", session.hears(what)).await
    }

    /// The answer to `id`, and how many notifications preceded it.  Without a tool it is
    /// `tools/list`.
    async fn ask(
        &mut self,
        id: u64,
        body: bytes::Bytes,
        tool: Option<&'static str>,
    ) -> Result<(bytes::Bytes, u32)> {
        within(self.call_timeout, "a call", async {
            match &mut self.wire {
                Open::Streamable(session) => session.ask(body).await,
                Open::Modern(session) => session.ask(body, tool).await,
                Open::Sse(session) => session.ask(body).await,
                Open::Pipe(session) => session.ask(&body).await,
                Open::Plain(_) => Err(Failure::Process("OpenAPI has only calls".to_owned())),
            }
        })
        .await
        .map_err(|cause| match cause {
            Failure::Timeout { limit, .. } => {
                Failure::Timeout { what: format!("call {id}"), limit }
            }
            other => other,
        })
    }
}

/// Is it an answer, or something on the way to it?
fn is_answer(message: &[u8]) -> Result<bool> {
    Ok(rpc::Envelope::read(message)?.method().is_none())
}
