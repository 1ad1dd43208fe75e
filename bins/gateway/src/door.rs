//! The front door: every request comes in here, and every answer goes out, with one line of log.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use auth::{Access, Denied, Guard};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::{Body, Bytes},
    header::{ACCEPT, HeaderMap, ORIGIN},
};
use mcp_jsonrpc::transport::{Caller, Transport};
use router::{
    keep::Keeping,
    route::{self, Door as Way, Route},
    server::Server,
};
use telemetry::{Audit, Counts};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use transport_sse::{body::Outgoing, respond};
use transport_stdio::client::ChildInfo;

use crate::{
    access_log::Line,
    answer::{self, Refusal, Routes},
    assemble::Rooms,
    head::Unreadable,
    home::{self, Overview, ServerOverview},
    joint::{self, Joint, Joints},
    metrics,
    origin::Origins,
};

const SHUTTING_DOWN: &str = "the gateway is shutting down";
/// How many of a child's last lines are shown.
const STDERR_LINES_SHOWN_MAX: usize = 10;

/// The front door of the gateway.
#[derive(Debug)]
pub struct Door {
    pub(crate) name: String,
    pub(crate) version: String,
    /// What all paths begin with; empty, or `/a/b`.
    pub(crate) base_path: String,
    pub(crate) guard: Guard,
    pub(crate) origins: Origins,
    pub(crate) servers: BTreeMap<String, Arc<Entry>>,
    /// All of them as one, and groups of them.
    pub(crate) joints: Joints,
    /// The servers that are configured and not served.
    pub(crate) disabled: BTreeSet<String>,
    /// The servers that an earlier configuration had, as many as are remembered.
    pub(crate) removed: BTreeSet<String>,
    /// What is counted of requests for no server, and whether anything is.
    pub(crate) counts: Option<Arc<Counts>>,
    /// Where it is written down who asks what.
    pub(crate) audit: Option<Audit>,
    pub(crate) began: Instant,
    /// Cancelled once no new work is taken.
    pub(crate) draining: CancellationToken,
}

/// One server, by all its doors.
#[derive(Debug)]
pub struct Entry {
    pub(crate) rooms: Rooms,
    /// The same, as one of many that are offered as one.
    pub(crate) member: Arc<dyn Transport>,
    pub(crate) streamable: transport_streamable::server::Server,
    pub(crate) sse: Arc<transport_sse::server::Server>,
    pub(crate) access: Access,
    pub(crate) transport: &'static str,
    /// What the file of certificates held that its server is trusted by.
    pub(crate) ca: Option<u64>,
    pub(crate) routes: Vec<String>,
    /// Where its HTTP+SSE clients are told to post.
    pub(crate) messages_path: String,
    pub(crate) required: bool,
    /// Whether the gateway ends if it fails: a configuration that is taken over later than at the
    /// start ends nothing.
    pub(crate) vital: bool,
    /// Whether each of its requests is worth a line at `info`, or only those refused.
    pub(crate) logged: bool,
    /// What a message for an HTTP+SSE session that is not there is answered with.
    pub(crate) unknown_session: StatusCode,
}

// === impl Door ===

impl Door {
    /// Answers one request, whatever it is.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Outgoing>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.answer_to(None, request).await
    }

    /// The same for a client at this address.
    pub async fn answer_to<B>(
        &self,
        address: Option<Arc<str>>,
        request: Request<B>,
    ) -> Response<Outgoing>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut line = Line::begin(&request).counted(self.counts.as_ref()).from(address);
        let origin = request.headers().get(ORIGIN).cloned();
        let (mut response, permitted) = match self.origins.check(&request) {
            Ok(()) => (self.dispatch(request, &mut line).await, true),
            Err(refusal) => (refusal.into_response(), false),
        };
        if let (Some(origin), true) = (origin, permitted) {
            self.origins.permit(&origin, &mut response);
        }
        line.end(&mut response, self);
        response
    }

    /// Answers what is no request: in words, and with a line of log, as if it were one.
    ///
    /// Nothing of it is to be relied on, so it is told what anybody may know.
    pub(crate) fn refuse(&self, unreadable: &Unreadable) -> Response<Outgoing> {
        let line = Line::of(unreadable.method.as_ref(), unreadable.uri.as_ref());
        let line = line.counted(self.counts.as_ref());
        let (headers, path) = (HeaderMap::new(), unreadable.uri.as_ref().map(Uri::path));
        let visible: Vec<(&String, &Entry)> = self.visible(&headers).collect();
        let nearest = path.and_then(|path| self.nearest(path, &visible));
        let mut response = Refusal::new(unreadable.status, unreadable.what.as_str())
            .expect(unreadable.expected.as_str())
            .routes(nearest, routes_of(visible))
            .into_response();
        line.end(&mut response, self);
        response
    }

    async fn dispatch<B>(&self, request: Request<B>, line: &mut Line) -> Response<Outgoing>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Some(response) = self.origins.preflight(request.method(), request.headers()) {
            return response;
        }
        let path = request.uri().path();
        let path = path.strip_prefix(self.base_path.as_str()).unwrap_or(path);
        let found = match Route::read(path) {
            Some(Route::Server(name, way)) => {
                let found = self.servers.get_key_value(name);
                found.map(|(name, entry)| (name, entry, way, path_of as PathOf))
            }
            Some(route @ (Route::All(way) | Route::Group(_, way))) => {
                let joint = joint::meant(route).and_then(|it| self.joints.get_key_value(&it));
                joint.map(|(name, it)| (name, &it.entry, way, joint::path_of as PathOf))
            }
            Some(route) => return self.service(route, request.method(), request.headers()),
            None => None,
        };
        let Some((name, entry, way, path_of)) = found else {
            return self.lost(path, request.headers());
        };
        line.server(name, entry, way);
        let mut caller = match self.guard.admit(request.headers(), &entry.access) {
            Ok(caller) => caller,
            Err(denied) => return self.turn_away(&denied, request.headers()),
        };
        line.caller(&mut caller);
        let (meant, asking) = (Entry::meant(way, request.method()), caller.clone());
        let mut response = entry.handle(way, request, caller).await;
        answer::guide(&mut response, || {
            let meant = format!("{}{}/{}", self.base_path, path_of(name), meant.as_str());
            let open = self.all().filter(|(_, entry)| entry.access.admits(&asking));
            Routes { meant, all: routes_of(open.collect()) }
        });
        response
    }

    /// Answers what is about the gateway itself.
    fn service(
        &self,
        route: Route<'_>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Response<Outgoing> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let allow = "GET, HEAD, OPTIONS";
            if *method == Method::OPTIONS {
                return respond::options(allow);
            }
            let what = format!("this path does not take {method}");
            return Refusal::new(StatusCode::METHOD_NOT_ALLOWED, what)
                .expect(allow)
                .allow(allow)
                .into_response();
        }
        match route {
            Route::Ping => answer::respond(StatusCode::OK, "text/plain", "pong"),
            Route::Health => self.health(),
            Route::Ready => self.readiness(),
            Route::Status => match self.guard_admits_anything(headers) {
                Ok(_) => answer::json(StatusCode::OK, &self.overview(headers)),
                Err(denied) => self.turn_away(&denied, headers),
            },
            Route::Metrics => match self.guard_admits_anything(headers) {
                Ok(_) => metrics::response(self, headers),
                Err(denied) => self.turn_away(&denied, headers),
            },
            _ => self.home(headers),
        }
    }

    /// The gateway's own pages want any token, where there are tokens at all.
    fn guard_admits_anything(&self, headers: &HeaderMap) -> Result<Caller, Denied> {
        let open = self.guard.is_empty();
        self.guard.admit(headers, if open { &Access::Anybody } else { &Access::AnyToken })
    }

    fn home(&self, headers: &HeaderMap) -> Response<Outgoing> {
        let overview = self.overview(headers);
        let accept = headers.get(ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
        if accept.contains("text/html") {
            let page = home::page(&overview);
            return answer::respond(StatusCode::OK, "text/html; charset=utf-8", page);
        }
        answer::json(StatusCode::OK, &overview)
    }

    /// The process is alive: that is all.
    fn health(&self) -> Response<Outgoing> {
        let body = serde_json::json!({
            "status": "ok",
            "name": self.name,
            "version": self.version,
            "serverCount": self.servers.len(),
        });
        answer::json(StatusCode::OK, &body)
    }

    /// New work is taken, and every server that has to be well is.
    fn readiness(&self) -> Response<Outgoing> {
        let is_required = |entry: &Arc<Entry>| {
            entry.required || entry.rooms.server.state() != router::status::State::Idle
        };
        let ill = self
            .servers
            .iter()
            .filter(|(_, entry)| is_required(entry) && !home::is_well(entry.rooms.server.state()));
        let ill: Vec<&str> = ill.map(|(name, _)| name.as_str()).collect();
        let starting = self
            .servers
            .values()
            .any(|it| it.rooms.server.state() == router::status::State::Starting);
        let status = match () {
            () if self.draining.is_cancelled() => "unavailable",
            () if !ill.is_empty() => "degraded",
            () if starting => "initializing",
            () => "ok",
        };
        let code = if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        answer::json(code, &serde_json::json!({ "status": status, "unhealthy": ill }))
    }

    /// Whether whoever sends this may know of a server.
    pub(crate) fn sees(&self, headers: &HeaderMap, entry: &Entry) -> bool {
        self.guard.admit(headers, &entry.access).is_ok()
    }

    /// What this caller may know of the servers.
    fn overview(&self, headers: &HeaderMap) -> Overview {
        let sees = |entry: &Entry| self.sees(headers, entry);
        let seen = self.servers.values().filter(|entry| sees(entry));
        let servers: Vec<_> = seen.map(|entry| entry.overview()).collect();
        let joints = self.joints.iter().filter(|(_, it)| sees(&it.entry));
        let well = servers.iter().all(|server| home::is_well(server.status.state));
        Overview {
            name: self.name.clone(),
            version: self.version.clone(),
            uptime_secs: self.began.elapsed().as_secs(),
            status: if well { "ok" } else { "degraded" },
            servers,
            aggregates: joints.map(|(name, it)| it.overview(name)).collect(),
        }
    }

    /// Everything that has a door: servers, and many as one.
    fn all(&self) -> impl Iterator<Item = (&String, &Entry)> {
        let servers = self.servers.iter().map(|(name, entry)| (name, &**entry));
        servers.chain(self.joints.iter().map(|(name, it)| (name, &*it.entry)))
    }

    fn visible<'a>(
        &'a self,
        headers: &'a HeaderMap,
    ) -> impl Iterator<Item = (&'a String, &'a Entry)> + 'a {
        self.all().filter(|(_, entry)| self.sees(headers, entry))
    }

    /// Says what would have been found, so that a wrong path is one look away from a right one.
    ///
    /// Strangers are asked for a token first, where one is needed for everything there is.
    fn lost(&self, path: &str, headers: &HeaderMap) -> Response<Outgoing> {
        let visible: Vec<(&String, &Entry)> = self.visible(headers).collect();
        if visible.is_empty()
            && !self.servers.is_empty()
            && let Err(denied) = self.guard.admit(headers, &Access::AnyToken)
        {
            return self.turn_away(&denied, headers);
        }
        if let Some(name) = self.disabled(path) {
            let name = self.guard.masked(name);
            let what = format!("server `{name}` is disabled in the configuration");
            let how = "another server, or its entry without `disabled`";
            let refusal = Refusal::new(StatusCode::SERVICE_UNAVAILABLE, what).expect(how);
            return refusal.routes(None, routes_of(visible)).into_response();
        }
        let nearest = self.nearest(path, &visible);
        let path = &*self.guard.masked(path);
        let shown: String = path.chars().filter(|it| !it.is_control()).take(200).collect();
        let what = match Route::read(path) {
            Some(Route::Server(name, _)) if self.removed.contains(name) => {
                format!("server `{name}` was removed from the configuration")
            }
            Some(Route::Server(name, _)) => format!("there is no server `{name}`"),
            Some(Route::Group(name, _)) => format!("there is no group `{name}`"),
            Some(Route::All(_)) => "servers are not offered as one here".to_owned(),
            _ => format!("there is nothing at `{shown}`"),
        };
        Refusal::new(StatusCode::NOT_FOUND, what)
            .expect("/NAME/mcp (Streamable HTTP) or /NAME/sse (HTTP+SSE), NAME one of the servers")
            .routes(nearest, routes_of(visible))
            .into_response()
    }

    /// The route that was probably meant.
    fn nearest(&self, path: &str, visible: &[(&String, &Entry)]) -> Option<String> {
        let names = visible.iter().map(|(name, _)| name.as_str());
        let nearest = route::nearest(path, names.filter(|name| *name != joint::ALL));
        let wanted = if path.contains("sse") { Way::Sse } else { Way::Mcp };
        nearest.map(|name| format!("{}/{name}/{}", self.base_path, wanted.as_str()))
    }

    /// The disabled server that a path leads to.
    fn disabled<'a>(&self, path: &'a str) -> Option<&'a str> {
        match Route::read(path)? {
            Route::Server(name, _) => self.disabled.contains(name).then_some(name),
            _ => None,
        }
    }

    /// Asks for a token, or for another one; whoever brought one is told what it opens.
    fn turn_away(&self, denied: &Denied, headers: &HeaderMap) -> Response<Outgoing> {
        let routes = routes_of(self.visible(headers).collect());
        Refusal::new(denied.status(), denied.to_string())
            .challenge(denied.challenge())
            .routes(None, routes)
            .into_response()
    }

    /// The servers, by name.
    pub fn servers(&self) -> impl Iterator<Item = (&str, &Server)> {
        self.servers.iter().map(|(name, entry)| (name.as_str(), &entry.rooms.server))
    }

    /// Many servers as one, by their name here.
    pub(crate) fn joint(&self, name: &str) -> Option<&Arc<Joint>> {
        self.joints.get(name)
    }

    /// A server that the gateway is not to run without, and that failed.
    pub fn failed_required(&self) -> Option<&str> {
        let mut vital = self.servers.iter().filter(|(_, entry)| entry.vital);
        vital.find(|(_, it)| !home::is_well(it.rooms.server.state())).map(|(name, _)| name.as_str())
    }

    /// Lets sessions outlive this process, as far as `keeping` does.
    pub fn keep(&self, keeping: &Keeping) {
        for entry in self.servers.values() {
            entry.rooms.server.keep(keeping.clone());
            entry.rooms.front.seal_with(&keeping.keyring);
        }
        self.joints.values().for_each(|joint| joint.keep(keeping));
    }

    /// Starts every server that starts with the gateway.
    pub fn start(&self) {
        self.servers.values().for_each(|entry| entry.rooms.server.start());
        self.joints.values().for_each(|joint| joint.entry.rooms.server.start());
    }

    /// Takes no new work, lets what runs end for up to `grace`, and ends the servers.
    pub async fn shut_down(&self, grace: Duration) {
        self.draining.cancel();
        let joints = self.joints.values().map(|joint| joint.shut_down(grace, SHUTTING_DOWN));
        let servers = self.servers.values().map(|entry| entry.shut_down(grace, SHUTTING_DOWN));
        // At once: a server lets what runs end, and so what waits for it.
        tokio::join!(futures::future::join_all(joints), futures::future::join_all(servers));
    }
}

// === impl Entry ===

impl Entry {
    /// Takes no new work, lets what runs end for up to `grace`, and ends the server.  Whoever
    /// comes meanwhile, or still listens, is told `why`.
    pub(crate) async fn shut_down(&self, grace: Duration, why: &'static str) {
        self.rooms.shut_down(grace, why).await;
        self.sse.shut_down(why).await;
        self.rooms.way.children.gone().await;
    }

    fn overview(&self) -> ServerOverview {
        let children = &self.rooms.way.children;
        let running = children.running();
        let last = running.last().cloned().or_else(|| children.last());
        let counts = self.rooms.front.counts();
        let mut status = self.rooms.server.status();
        status.listening += counts.listens;
        status.dropped += counts.dropped;
        status.refused += counts.refused;
        ServerOverview {
            status,
            speaks: self.rooms.way.transport.speaks(),
            kept: counts.sessions,
            parked: counts.parked,
            expired: counts.expired,
            transport: self.transport,
            routes: self.routes.clone(),
            pids: running.iter().map(ChildInfo::pid).collect(),
            stderr: last.map(|child| child.stderr(STDERR_LINES_SHOWN_MAX)).unwrap_or_default(),
        }
    }

    /// The way by which a client that speaks like this should have come.
    fn meant(way: Way, method: &Method) -> Way {
        match way {
            // A message posted there is a Streamable HTTP client's.
            Way::Sse if *method == Method::POST => Way::Mcp,
            Way::Mcp => Way::Mcp,
            // Whoever has lost its session begins where sessions begin.
            Way::Sse | Way::Messages => Way::Sse,
        }
    }

    async fn handle<B>(&self, way: Way, request: Request<B>, caller: Caller) -> Response<Outgoing>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match way {
            Way::Mcp => self.streamable.handle(request, caller).await,
            Way::Sse => self.sse.handle_stream(request, caller, &self.messages_path).await,
            Way::Messages => {
                let mut response = self.sse.handle_message(request, caller).await;
                if response.status() == StatusCode::NOT_FOUND {
                    *response.status_mut() = self.unknown_session;
                }
                response
            }
        }
    }
}

/// Where a name is found: see [`joint::path_of`].
type PathOf = fn(&str) -> String;

/// The path below the mount path that a server's name stands for, without its last segment.
fn path_of(name: &str) -> String {
    format!("/{name}")
}

fn routes_of(visible: Vec<(&String, &Entry)>) -> Vec<String> {
    visible.iter().flat_map(|(_, entry)| entry.routes.clone()).collect()
}
