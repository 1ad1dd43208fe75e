//! The unix socket by which this machine's user tells a running gateway what to do.
//!
//! `GET /about` says who answers; `POST /reload` has the configuration read again.  Only the user
//! that the gateway runs as, and root, are heard.

use std::{
    convert::Infallible,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gateway_config::{Config, Control};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::{net::UnixStream, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};
use transport_sse::body::Outgoing;

use super::Reloader;
use crate::{
    answer::{self, Refusal},
    listen::{self, Listener},
};

/// How many may be heard at once.
const CONNECTION_MAX: usize = 16;
/// How long a request may take to be said.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait when no connection can be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The process.
    pub pid: u32,
    /// The configuration file, if there is one.
    pub config: Option<PathBuf>,
    /// Where it listens.
    pub listen: Vec<String>,
}

/// The folder that sockets are in where no place is configured.
pub fn folder() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|it| it.is_absolute()) {
        Some(runtime) => runtime.join("mcp-gateway"),
        None => {
            let uid = rustix::process::geteuid().as_raw();
            std::env::temp_dir().join(format!("mcp-gateway-{uid}"))
        }
    }
}

/// Where the socket of a gateway is that listens at these places; none if there is to be none.
pub(crate) fn place(config: &Config, listeners: &[Listener]) -> Option<PathBuf> {
    match &config.control {
        Control::Off => None,
        Control::At(path) => Some(path.clone()),
        _ => {
            let port = listeners.iter().find_map(Listener::socket_address).map(|it| it.port());
            let name = match port {
                Some(port) => format!("{port}.sock"),
                None => format!("pid-{}.sock", std::process::id()),
            };
            Some(folder().join(name))
        }
    }
}

/// Opens the socket.  One that an ended gateway left behind is in nobody's way; that of a running
/// one is left alone, and another name is taken beside it.
pub(crate) fn bind(config: &Config, path: &Path) -> io::Result<Listener> {
    if config.control == Control::Auto {
        private(path.parent().unwrap_or_else(|| Path::new("/")))?;
    }
    let bound = match listen::bind_unix(path) {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse && config.control == Control::Auto =>
        {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let path = path.with_file_name(format!("{stem}-{}.sock", std::process::id()));
            listen::bind_unix(&path).map(|socket| (socket, path))
        }
        bound => bound.map(|socket| (socket, path.to_owned())),
    };
    let (socket, path) = bound?;
    let listener = Listener::Unix(socket, path.clone());
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// A folder that is this user's alone.
fn private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = fs::symlink_metadata(folder)?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if !ours || found.mode() & 0o022 != 0 {
        let what = format!("{} is not a folder of this user's alone", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(())
}

/// Answers, until told to stop.
pub(crate) async fn serve(
    listener: Listener,
    reloader: Arc<Reloader>,
    listen: Vec<String>,
    stop: CancellationToken,
) {
    let (room, tasks) = (Arc::new(Semaphore::new(CONNECTION_MAX)), TaskTracker::new());
    let Listener::Unix(socket, _) = &listener else { return };
    let listen = Arc::new(listen);
    loop {
        let next = async {
            let room = Arc::clone(&room).acquire_owned().await;
            (room, socket.accept().await)
        };
        let (room, stream) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        let stream = match stream {
            Ok((stream, _)) if is_ours(&stream) => stream,
            Ok(_) => {
                warn!("somebody else's process has knocked at the control socket: turned away");
                continue;
            }
            Err(error) => {
                warn!(%error, "the control socket cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (reloader, listen) = (Arc::clone(&reloader), Arc::clone(&listen));
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move {
            let service = service_fn(move |request| {
                let (reloader, listen) = (Arc::clone(&reloader), Arc::clone(&listen));
                async move { Ok::<_, Infallible>(answer(&reloader, &listen, request).await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                debug!(%error, "a connection of the control socket ended badly");
            }
            drop(room);
        }));
    }
    tasks.close();
    tasks.wait().await;
}

fn is_ours(stream: &UnixStream) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == ours || peer.uid() == 0)
}

async fn answer(
    reloader: &Reloader,
    listen: &[String],
    request: Request<Incoming>,
) -> Response<Outgoing> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/about") => {
            let about =
                About { pid: std::process::id(), config: reloader.file(), listen: listen.to_vec() };
            answer::json(StatusCode::OK, &about)
        }
        (&Method::POST, "/reload") => {
            answer::json(StatusCode::OK, &reloader.reload("`gateway reload`").await)
        }
        _ => Refusal::new(StatusCode::NOT_FOUND, "there is nothing here")
            .expect("GET /about or POST /reload")
            .into_response(),
    }
}
