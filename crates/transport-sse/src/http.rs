//! The HTTP client both client halves share: connections, TLS, time limits.
//!
//! Servers at `http` URLs are spoken to over connections of our own (`connection`), which cost
//! next to nothing while a stream is silent; those at `https` URLs over hyper's, in HTTP/2 where
//! they have it.
//!
//! It sends a server what the gateway has configured for it and nothing else: its own `Host`, no
//! `Origin`, no field of a client's.  Redirects are not followed, since they would take
//! credentials elsewhere.

mod connection;
mod failure;
mod fault;
mod framing;
mod head;
mod idle;
mod incoming;
mod resolve;
mod target;
mod tls;

use std::{
    error::Error,
    fmt, future, io,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, Uri, body::Body, header::CONTENT_TYPE};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use mcp_jsonrpc::transport::TransportError;
use tower_service::Service;
use tracing::debug;

pub use failure::{broken, check, is_json, mentions_session, not_events, refused};
pub use incoming::Incoming;
pub use resolve::{resolve, session_id};
pub use target::{HttpTarget, TargetError};
pub use tls::TlsError;

use connection::{Connection, Failed};
use idle::{Idle, IdleMax};

/// How servers are reached.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// How long name, connection and TLS handshake together may take: 10 s.
    pub connect_timeout: Duration,
    /// After how long without a byte the kernel asks whether the peer is still there: 30 s.
    /// A peer that is not is noticed 30 s later.
    pub tcp_keepalive: Duration,
    /// How many idle connections are kept per server: 64.
    pub idle_per_server_max: usize,
    /// How long an idle `http` connection is kept: 4 s.  Node and uvicorn close theirs after 5,
    /// and a call on a connection that closes meanwhile cannot be repeated.
    pub idle_timeout: Duration,
    /// How long an idle `https` connection is kept: 50 s.  Load balancers close theirs after 60.
    pub idle_timeout_tls: Duration,
    /// The longest head of a response over `http`, in bytes: 64 KiB.
    pub head_len_max: usize,
    /// Authorities trusted beside those of the system: a file of PEM certificates.
    pub ca_file: Option<PathBuf>,
    /// Takes whatever certificate a server shows.  For laboratories.
    pub insecure_tls: bool,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            tcp_keepalive: Duration::from_secs(30),
            idle_per_server_max: 64,
            idle_timeout: Duration::from_secs(4),
            idle_timeout_tls: Duration::from_secs(50),
            head_len_max: 64 << 10,
            ca_file: None,
            insecure_tls: false,
        }
    }
}

/// What reaches servers.  Clones share it.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

type Tls = Client<Timed<HttpsConnector<HttpConnector>>, Full<Bytes>>;

struct Inner {
    options: HttpOptions,
    plain: Timed<HttpConnector>,
    /// Made when first needed: reading the system's certificates takes milliseconds.
    tls: OnceLock<Result<Tls, TlsError>>,
}

// === impl HttpClient ===

impl HttpClient {
    /// A client; nothing is connected, and no certificate read, before it is needed.
    pub fn new(options: HttpOptions) -> Self {
        let plain = Timed { inner: connector(&options), timeout: options.connect_timeout };
        Self(Arc::new(Inner { options, plain, tls: OnceLock::new() }))
    }

    /// Reads the certificates now.
    ///
    /// # Errors
    ///
    /// [`TlsError`] where `ca_file` cannot be read, or nobody would be trusted.
    pub fn prepare_tls(&self) -> Result<(), TlsError> {
        self.tls().as_ref().map(drop).map_err(Clone::clone)
    }

    /// Sends a request and waits for the head of the response, whatever its status.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](mcp_jsonrpc::transport::ErrorKind::Unavailable) where nothing was sent:
    /// no such name, refused, no TLS, no connection in time.
    /// [`Closed`](mcp_jsonrpc::transport::ErrorKind::Closed) where the connection broke before
    /// the head came.
    pub async fn send(
        &self,
        target: &HttpTarget,
        request: Request<Bytes>,
    ) -> Result<Response<Incoming>, TransportError> {
        if target.is_tls() {
            let client = self.tls().as_ref().map_err(|error| failure::no_tls(target, error))?;
            let sent = client.request(request.map(Full::new)).await;
            let response = sent.map_err(|error| failure::unsent_or_broken(target, error))?;
            return Ok(response.map(Incoming::from));
        }
        let (parts, body) = request.into_parts();
        let (is_head, request) = (parts.method == Method::HEAD, head::write(&parts, body));
        let home = target.idle(|| IdleMax {
            count_max: self.0.options.idle_per_server_max,
            timeout: self.0.options.idle_timeout,
        });
        while let Some(connection) = home.take() {
            match self.exchange(connection, home, request.clone(), is_head).await {
                // It was closed just now, and before anything was sent.
                Err(Failed::Unsent(error)) => debug!(%error, "an idle connection was closed"),
                Err(Failed::Broken(error)) => return Err(broken(target, error)),
                Ok(response) => return Ok(response),
            }
        }
        let connected = self.connect(target.url()).await;
        let connection = connected.map_err(|error| failure::unsent(target, error))?;
        match self.exchange(connection, home, request, is_head).await {
            Err(Failed::Unsent(error)) => Err(failure::unsent(target, error.into())),
            Err(Failed::Broken(error)) => Err(broken(target, error)),
            Ok(response) => Ok(response),
        }
    }

    async fn connect(&self, url: &Uri) -> Result<Box<Connection>, BoxError> {
        let mut connector = self.0.plain.clone();
        future::poll_fn(|cx| connector.poll_ready(cx)).await?;
        let stream = connector.call(url.clone()).await?;
        Ok(Box::new(Connection::new(stream.into_inner())))
    }

    async fn exchange(
        &self,
        mut connection: Box<Connection>,
        home: &Arc<Idle>,
        request: [Bytes; 2],
        is_head: bool,
    ) -> Result<Response<Incoming>, Failed> {
        let head_len_max = self.0.options.head_len_max;
        let head = connection.exchange(request, head_len_max).await?;
        let (framing, stays) = head::framing(is_head, &head).map_err(Failed::Broken)?;
        let home = stays.then(|| Arc::clone(home));
        Ok(head.map(|()| Incoming::own(connection, framing, home)))
    }

    fn tls(&self) -> &Result<Tls, TlsError> {
        self.0.tls.get_or_init(|| {
            let options = &self.0.options;
            let https = HttpsConnectorBuilder::new()
                .with_tls_config(tls::config(options)?)
                .https_only()
                .enable_all_versions()
                .wrap_connector({
                    let mut http = connector(options);
                    http.enforce_http(false);
                    http
                });
            let https = Timed { inner: https, timeout: options.connect_timeout };
            Ok(pool(options, options.idle_timeout_tls).build(https))
        })
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new(HttpOptions::default())
    }
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpClient").field(&self.0.options).finish()
    }
}

fn connector(options: &HttpOptions) -> HttpConnector {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_keepalive(Some(options.tcp_keepalive));
    http.set_keepalive_interval(Some(options.tcp_keepalive / 3));
    http.set_keepalive_retries(Some(3));
    http
}

fn pool(options: &HttpOptions, idle_timeout: Duration) -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(idle_timeout)
        .pool_max_idle_per_host(options.idle_per_server_max)
        .http2_adaptive_window(true)
        .http2_keep_alive_interval(options.tcp_keepalive)
        .http2_keep_alive_timeout(options.tcp_keepalive);
    builder
}

/// A connector with a time limit on all it does.
#[derive(Clone, Debug)]
struct Timed<C> {
    inner: C,
    timeout: Duration,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl<C> Service<Uri> for Timed<C>
where
    C: Service<Uri>,
    C::Error: Into<BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.timeout, self.inner.call(uri));
        Box::pin(async {
            match connecting.await {
                Ok(connected) => connected.map_err(Into::into),
                Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed).into()),
            }
        })
    }
}

/// Whether a response is of a content type, whatever its parameters.
pub fn is_type<B: Body>(response: &Response<B>, content_type: &str) -> bool {
    let header = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    header
        .and_then(|it| it.split(';').next())
        .is_some_and(|it| it.trim().eq_ignore_ascii_case(content_type))
}
