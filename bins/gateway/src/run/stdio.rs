//! `gateway stdio`: one server, or many as one, on standard input and output.

use std::{process::ExitCode, sync::Arc, time::Duration};

use era::{
    behind::BehindOptions,
    front::{Front, FrontOptions},
};
use gateway_config::{Config, Log, ServerConfig};
use mcp_jsonrpc::{
    Era,
    transport::{Caller, Transport},
};
use telemetry::Audit;
use transport_sse::http::{HttpClient, HttpTarget};
use transport_stdio::server::{ServeMax, serve};

use crate::{
    assemble::{self, Behind},
    cli::{RemoteTransport, Stdio},
    door::Door,
    log, run,
};

/// How long a server elsewhere may take to begin to speak: it may be about to be started.
const START_TIMEOUT: Duration = Duration::from_secs(60);

const CLIENT_GONE: &str = "its client has left";

/// What is ended when the client has left.
enum Ending {
    Server(assemble::Rooms, Option<Audit>),
    House(Box<Door>),
    Remote(Front, Arc<era::behind::Behind>),
}

pub(super) async fn run(stdio: Stdio) -> ExitCode {
    let mut settings = Log::default();
    settings.level = stdio.log_level.into();
    let log = match log::start(&settings) {
        Ok(log) => log,
        Err(error) => return run::fail(&error.to_string(), 1),
    };
    let code = match offer(&stdio).await {
        Ok(()) => ExitCode::SUCCESS,
        Err((words, code)) => {
            log.flush();
            return run::fail(&words, code);
        }
    };
    log.flush();
    code
}

async fn offer(stdio: &Stdio) -> Result<(), (String, u8)> {
    let wrong = |words: String| (words, 2);
    let is_url = |name: &str| name.starts_with("http://") || name.starts_with("https://");
    let (transport, end) = match &stdio.server {
        Some(url) if is_url(url) => remote(stdio, url).map_err(wrong)?,
        Some(name) => configured(stdio, name).map_err(wrong)?,
        None => many(stdio).map_err(wrong)?,
    };
    if let Ending::Server(rooms, _) = &end {
        // Its client is there already: the server need not wait for what it says first.
        rooms.server.start();
    }
    let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
    let served = serve(transport, (input, output), Caller::anonymous(), ServeMax::default());
    let served = served.await.map_err(|error| (error.to_string(), 1));
    match end {
        Ending::Server(rooms, audit) => {
            rooms.shut_down(Duration::ZERO, CLIENT_GONE).await;
            run::flush(audit).await;
        }
        Ending::House(door) => {
            door.shut_down(Duration::ZERO).await;
            run::flush(door.audit.clone()).await;
        }
        Ending::Remote(front, behind) => {
            front.shut_down(Duration::ZERO).await;
            behind.shut_down().await;
        }
    }
    served
}

/// A server of the configuration, started by this process and for it alone.
fn configured(stdio: &Stdio, name: &str) -> Result<(Arc<dyn Transport>, Ending), String> {
    let Some(path) = &stdio.config else {
        return Err(format!(
            "where is `{name}` configured? Give the file with --config, or a URL instead of the name"
        ));
    };
    let config = Config::load(path).map_err(|error| error.to_string())?;
    let server: &ServerConfig = config.servers.get(name).ok_or_else(|| {
        let names: Vec<&str> = config.servers.keys().map(String::as_str).collect();
        format!("there is no server `{name}`; there is {}", names.join(", "))
    })?;
    let audit = assemble::audit(&config).map_err(|error| error.to_string())?;
    let behind = Behind::new(&config).audited(audit.clone());
    let rooms = assemble::rooms(&config, server, &behind).map_err(|error| error.to_string())?;
    Ok((assemble::outermost(&config, server, &rooms), Ending::Server(rooms, audit)))
}

/// Many servers of the configuration, started by this process and for it alone.
fn many(stdio: &Stdio) -> Result<(Arc<dyn Transport>, Ending), String> {
    let Some(path) = &stdio.config else {
        return Err("which servers? Give the file that they are configured in with --config, or \
                    the URL of one"
            .to_owned());
    };
    let config = Config::load(path).map_err(|error| error.to_string())?;
    let (door, name) = assemble::opened(config, stdio.group.as_deref())?;
    let joint = door.joint(&name).ok_or("there is no server to offer")?;
    let transport = Arc::new(joint.entry.rooms.front.clone());
    Ok((transport, Ending::House(Box::new(door))))
}

/// A server elsewhere, reached without a configuration.
fn remote(stdio: &Stdio, url: &str) -> Result<(Arc<dyn Transport>, Ending), String> {
    let headers = stdio.headers.iter().map(|header| {
        let (name, value) = header.split_once(':').ok_or_else(|| {
            format!(
                "--header wants 'Name: value'; `{}` has no colon",
                header.split(' ').next().unwrap_or_default()
            )
        })?;
        Ok((name.trim(), value.trim()))
    });
    let headers: Vec<(&str, &str)> = headers.collect::<Result<_, String>>()?;
    let target = HttpTarget::new("remote", url, headers);
    let target = target.map_err(|error| error.to_string())?;
    let http = HttpClient::default();
    let sse = || {
        let options = transport_sse::client::ClientOptions::default();
        transport_sse::client::Connect::new(target.clone(), http.clone(), options)
    };
    let streamable = || {
        let options = transport_streamable::client::ClientOptions::default();
        transport_streamable::client::Connect::new(target.clone(), http.clone(), options)
    };
    let transport: Arc<dyn Transport> = match stdio.transport {
        RemoteTransport::Sse => Arc::new(sse()),
        RemoteTransport::Streamable => Arc::new(streamable()),
        RemoteTransport::Auto => {
            Arc::new(transport_streamable::client::Auto::new(streamable(), sse()))
        }
    };
    let pin = matches!(stdio.transport, RemoteTransport::Sse).then_some(Era::Legacy);
    let options = BehindOptions { pin, probe_timeout: START_TIMEOUT, ..BehindOptions::default() };
    let behind = Arc::new(era::behind::Behind::new(transport, "remote", options));
    let front = Front::new(Arc::clone(&behind) as _, FrontOptions::default());
    Ok((Arc::new(front.clone()), Ending::Remote(front, behind)))
}
