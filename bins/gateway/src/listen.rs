//! Where connections come in: ports, sockets, and the certificates shown there.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gateway_config::{Listen, Tls};
use rustix::net::sockopt;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener},
};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

/// After how much silence the kernel asks whether a client is still there.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(30);
/// How often it asks again, and how often it is to go without an answer.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_PROBES: u32 = 3;

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

    /// The next connection.  A client that takes nothing for as long as `write_timeout` loses it:
    /// the kernel sees to that, whatever is waiting to be written.
    ///
    /// With it comes the address of its client, where it has one.
    pub(crate) async fn accept(
        &self,
        write_timeout: Duration,
    ) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                if let Err(error) = tune(&stream, write_timeout) {
                    // It is gone already, as like as not: whoever reads from it will see.
                    debug!(%error, "a connection could not be set up");
                }
                Ok((Box::new(stream), Some(from.ip().to_canonical())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), None))
            }
        }
    }
}

fn tune(stream: &TcpStream, write_timeout: Duration) -> io::Result<()> {
    // Small answers are not to wait for the peer's acknowledgement of the last.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_PROBES)?;
    let ms = u32::try_from(write_timeout.as_millis()).unwrap_or(u32::MAX);
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, ms)?;
    #[cfg(not(target_os = "linux"))]
    let _: u32 = ms;
    Ok(())
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
pub(crate) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
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

/// What bytes come and go by.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
pub(crate) type Stream = Box<dyn Duplex>;

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

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that is gone without a word is noticed, whether or not there is something to be
    /// written: the kernel is told how long to wait, and this is what it was told.
    #[tokio::test]
    async fn the_kernel_asks_whether_a_client_is_still_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (_client, stream) = (client.unwrap(), accepted.unwrap().0);
        tune(&stream, Duration::from_secs(7)).unwrap();
        assert!(stream.nodelay().unwrap() && sockopt::socket_keepalive(&stream).unwrap());
        let asks = (
            sockopt::tcp_keepidle(&stream).unwrap(),
            sockopt::tcp_keepintvl(&stream).unwrap(),
            sockopt::tcp_keepcnt(&stream).unwrap(),
        );
        assert_eq!(asks, (KEEP_ALIVE_IDLE, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_PROBES));
        assert!(asks.0 + asks.1 * asks.2 <= Duration::from_secs(60));
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 7000);
    }
}
