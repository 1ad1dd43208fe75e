//! `gateway reload`: has a running gateway read its configuration again, and says what came of it.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use hyper::{Method, Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use transport_sse::body::{self, Outgoing};

use crate::{
    cli::Reload,
    reload::{
        control::{self, About},
        report::{Outcome, Report},
    },
    run,
};

/// How long a gateway may take to say who it is.
const ABOUT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it may take to read its configuration.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);
const BODY_LEN_MAX: usize = 4 << 20;

pub(super) async fn run(reload: &Reload) -> ExitCode {
    let socket = match find(reload).await {
        Ok(socket) => socket,
        Err(words) => return run::fail(&words, 1),
    };
    let report: Report = match ask(&socket, Method::POST, "/reload", RELOAD_TIMEOUT).await {
        Ok(report) => report,
        Err(words) => return run::fail(&words, 1),
    };
    let text = match reload.json {
        true => match serde_json::to_string_pretty(&report) {
            Ok(text) => text,
            Err(error) => return run::fail(&error.to_string(), 1),
        },
        false => report.to_string(),
    };
    if report.outcome == Outcome::Refused && !reload.json {
        return run::fail(&text, 2);
    }
    run::say(&format!("{text}\n"));
    ExitCode::from(if report.outcome == Outcome::Refused { 2 } else { 0 })
}

/// The socket of the gateway that is meant.
async fn find(reload: &Reload) -> Result<PathBuf, String> {
    if let Some(path) = &reload.control {
        return Ok(path.clone());
    }
    // What the file says, where it can be read; it may be just what is wrong.
    let file = reload.config.as_deref();
    let said = file.and_then(|file| gateway_config::Config::load(file).ok());
    if let Some(gateway_config::Control::At(path)) = said.map(|config| config.control) {
        return Ok(path);
    }
    let folder = control::folder();
    let running = running(&folder).await;
    let port = reload.url.as_deref().map(port_of).transpose()?;
    let file = file.map(|file| std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned()));
    let fits = |about: &About| {
        let at = |port: u16| about.listen.iter().any(|it| it.ends_with(&format!(":{port}")));
        port.is_none_or(at) && (file.is_none() || about.config == file)
    };
    let mut fitting: Vec<_> = running.iter().filter(|(_, about)| fits(about)).collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some((socket, _)), true) => Ok(socket.clone()),
        (None, _) => {
            let mut words = match (&file, port) {
                (Some(file), _) => format!("no gateway runs with {}", file.display()),
                (None, Some(port)) => format!("no gateway listens at port {port}"),
                (None, None) => "no gateway runs".to_owned(),
            };
            words.push_str(&format!(", as far as {} tells", folder.display()));
            words.push_str(&list(&running.iter().collect::<Vec<_>>()));
            words.push_str("\n    help: where its `gateway.control` is a path, give that with --control; a SIGHUP does the same");
            Err(words)
        }
        (Some(last), false) => {
            fitting.push(last);
            let words = "several gateways run: say which with --config or --url";
            Err(format!("{words}{}", list(&fitting)))
        }
    }
}

fn list(running: &[&(PathBuf, About)]) -> String {
    let lines = running.iter().map(|(_, about)| {
        let config = about.config.as_deref().map(Path::display);
        let config = config.map_or_else(|| "no file".to_owned(), |it| it.to_string());
        format!("\n  {} with {config} (process {})", about.listen.join(", "), about.pid)
    });
    lines.collect()
}

/// The gateways whose sockets are in this folder.  What nobody answers at is left out.
async fn running(folder: &Path) -> Vec<(PathBuf, About)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let sockets = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let sockets = sockets.filter(|path| path.extension().is_some_and(|it| it == "sock"));
    let asked = sockets.map(async |path| {
        let about = ask(&path, Method::GET, "/about", ABOUT_TIMEOUT).await.ok()?;
        Some((path, about))
    });
    let mut running: Vec<_> =
        futures::future::join_all(asked).await.into_iter().flatten().collect();
    running.sort_by(|(one, _), (other, _)| one.cmp(other));
    running
}

fn port_of(url: &str) -> Result<u16, String> {
    let uri: Result<hyper::Uri, _> = url.parse();
    let uri = uri.map_err(|error| format!("--url {url}: {error}"))?;
    let port = uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    });
    port.ok_or_else(|| format!("--url {url}: want something like http://127.0.0.1:9090"))
}

async fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    timeout: Duration,
) -> Result<T, String> {
    let at = socket.display();
    let asked = tokio::time::timeout(timeout, exchange(socket, method, path)).await;
    let (status, text) = match asked {
        Ok(answer) => answer?,
        Err(_) => return Err(format!("{at} did not answer within {} s", timeout.as_secs())),
    };
    if status != StatusCode::OK {
        return Err(format!("{at} answered {status}: {}", String::from_utf8_lossy(&text)));
    }
    serde_json::from_slice(&text).map_err(|error| format!("{at} is no MCP Gateway: {error}"))
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
) -> Result<(StatusCode, bytes::Bytes), String> {
    let at = socket.display();
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("no gateway answers at {at}: {error}")
        }
        _ => format!("{at}: {error}"),
    })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| format!("{at}: {error}"))?;
    let asking = async {
        let request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        let request = request.body(Outgoing::empty()).map_err(|error| error.to_string())?;
        let failed = |error: hyper::Error| format!("{at}: {error}");
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        let body = body::read(response.into_body(), BODY_LEN_MAX, RELOAD_TIMEOUT).await;
        Ok((status, body.map_err(|error| format!("{at}: {error}"))?))
    };
    let driving = async {
        // How it ends is told to whoever asks.
        connection.await.ok();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = asking => answer,
        () = driving => Err(format!("{at}: the connection ended")),
    }
}
