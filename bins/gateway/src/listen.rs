//! Connections: where they come in, and how many.

use std::{
    convert::Infallible,
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::future::Either;
use gateway_config::{Limits, Listen, Timeouts, Tls};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{door::Door, framing::Watched};

/// How long to wait when no connection can be accepted, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A place that connections come in at.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A unix socket; its file is removed at the end.
    Unix(UnixListener, PathBuf),
}

/// Why nothing can come in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address cannot be had.
    #[error("cannot listen at {at}: {error}{}", remedy(.error))]
    Bind {
        /// Where.
        at: String,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A certificate or key cannot be read or used.
    #[error("TLS: {path}: {what}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program listens there: end it, or choose another port with --listen"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose a higher one"
        }
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        _ => "",
    }
}

// === impl Listener ===

impl Listener {
    /// Opens the places a configuration names.
    pub async fn bind(listen: &Listen) -> Result<Self, ListenError> {
        let failed = |error| ListenError::Bind { at: listen.to_string(), error };
        let bound = match listen {
            // Both families where there are both: `[::]` takes IPv4 as well unless it is told not to.
            Listen::Any(port) => match TcpListener::bind(("::", *port)).await {
                Ok(listener) => Ok(listener),
                Err(_) => TcpListener::bind(("0.0.0.0", *port)).await,
            },
            Listen::Tcp(address) => TcpListener::bind(address).await,
            Listen::Name { host, port } => TcpListener::bind((host.as_str(), *port)).await,
            Listen::Unix(path) => {
                return bind_unix(path).map(|it| Self::Unix(it, path.clone())).map_err(failed);
            }
            _ => Err(io::Error::from(io::ErrorKind::Unsupported)),
        };
        bound.map(Self::Tcp).map_err(failed)
    }

    /// The address, as a client would write it.
    pub fn address(&self) -> String {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.to_string(),
                Err(error) => format!("({error})"),
            },
            Self::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    /// The socket's address, if it has one.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Small answers are not to wait for the peer's acknowledgement of the last.
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok(Box::new(stream))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self
            && let Err(error) = std::fs::remove_file(&*path)
        {
            debug!(path = %path.display(), %error, "the socket's file could not be removed");
        }
    }
}

/// A socket file that an ended process left behind is in the way of a new one.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(error);
            }
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
type Stream = Box<dyn Duplex>;

/// Reads a certificate chain and its key.
pub fn tls(files: &Tls) -> Result<TlsAcceptor, ListenError> {
    let bad = |path: &Path, what: String| ListenError::Tls { path: path.to_owned(), what };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|error| bad(&files.cert, error.to_string()))?;
    if chain.is_empty() {
        return Err(bad(&files.cert, "it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| bad(&files.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&files.cert, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| bad(&files.key, error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// How connections are treated.
#[derive(Clone)]
pub struct Connections {
    http: auto::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    handshake_timeout: Duration,
    room: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Connections {
    /// Within these limits, with TLS if there is an acceptor.
    pub fn new(limits: &Limits, timeouts: &Timeouts, tls: Option<TlsAcceptor>) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.header_read_timeout)
            .max_headers(limits.header_count_max)
            .max_buf_size(limits.header_len_max.max(8192))
            // A client that has nothing more to say is still waiting for its answer.
            .half_close(true);
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.header_len_max).unwrap_or(u32::MAX))
            .max_concurrent_streams(256)
            .keep_alive_interval(Some(Duration::from_secs(30)))
            .keep_alive_timeout(Duration::from_secs(20));
        Self {
            http,
            tls,
            handshake_timeout: timeouts.header_read_timeout,
            room: Arc::new(Semaphore::new(limits.connection_max)),
            tasks: TaskTracker::new(),
        }
    }

    /// Answers what comes in, until told to stop.
    pub async fn serve(&self, listener: Listener, door: Arc<Door>, stop: CancellationToken) {
        let graceful = GracefulShutdown::new();
        loop {
            let next = async {
                let room = Arc::clone(&self.room).acquire_owned().await;
                (room, listener.accept().await)
            };
            let (room, stream) = tokio::select! {
                next = next => next,
                () = stop.cancelled() => break,
            };
            let stream = match stream {
                Ok(stream) => stream,
                Err(error) => {
                    // Out of descriptors, as like as not: others need time to close theirs.
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (http, door) = (self.http.clone(), Arc::clone(&door));
            let (tls, timeout) = (self.tls.clone(), self.handshake_timeout);
            let watcher = graceful.watcher();
            self.tasks.spawn(async move {
                let stream = match tls {
                    None => stream,
                    Some(tls) => match tokio::time::timeout(timeout, tls.accept(stream)).await {
                        Ok(Ok(stream)) => Box::new(stream) as Stream,
                        Ok(Err(error)) => return debug!(%error, "no TLS came of a connection"),
                        Err(_) => return debug!("a TLS handshake took too long"),
                    },
                };
                let (stream, seen) = Watched::new(stream);
                let begun = seen.clone();
                let answer = service_fn(move |request| {
                    let (door, seen) = (Arc::clone(&door), seen.clone());
                    // In a box, since hyper keeps room for the future as long as the connection
                    // lives, and most of them are idle most of the time.
                    Box::pin(async move { Ok::<_, Infallible>(door.answer(request, &seen).await) })
                });
                let connection = http.serve_connection(TokioIo::new(stream), answer).into_owned();
                let served = pin!(watcher.watch(connection));
                // hyper measures a head from its first byte, and waits for that without end.
                let ended = match futures::future::select(served, pin!(sleep(timeout))).await {
                    Either::Left((ended, _)) => ended,
                    Either::Right(((), served)) if begun.has_begun() => served.await,
                    Either::Right(_) => return debug!("a connection asked for nothing in time"),
                };
                if let Err(error) = ended {
                    debug!(error, "a connection ended badly");
                }
                drop(room);
            });
        }
        // What is being written is written; an idle connection ends at once.
        if tokio::time::timeout(Duration::from_secs(1), graceful.shutdown()).await.is_err() {
            debug!("some connections did not end in time");
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections")
            .field("tls", &self.tls.is_some())
            .field("room", &self.room.available_permits())
            .finish_non_exhaustive()
    }
}
