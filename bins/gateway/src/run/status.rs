//! `gateway status`: how the servers of a running gateway are.

use std::{process::ExitCode, time::Duration};

use bytes::Bytes;
use hyper::{Method, StatusCode, header::AUTHORIZATION};
use serde::Deserialize;
use transport_sse::{
    body,
    http::{HttpClient, HttpTarget},
};

use crate::{cli::Status, run};

const TIMEOUT: Duration = Duration::from_secs(10);
const BODY_LEN_MAX: usize = 16 << 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Overview {
    status: String,
    #[serde(default)]
    servers: Vec<Server>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Server {
    name: String,
    state: String,
    state_secs: u64,
    transport: String,
    sessions: usize,
    links: usize,
    in_flight: usize,
    restarts: u64,
    #[serde(default)]
    last_error: Option<String>,
}

pub(super) async fn run(status: &Status) -> ExitCode {
    let text = match tokio::time::timeout(TIMEOUT, ask(status)).await {
        Ok(Ok(text)) => text,
        Ok(Err(words)) => return run::fail(&words, 1),
        Err(_) => return run::fail(&format!("{} did not answer within 10 s", status.url), 1),
    };
    let overview: Overview = match serde_json::from_str(&text) {
        Ok(overview) => overview,
        Err(error) => {
            let words = format!("{} is no MCP Gateway: {error}", status.url);
            return run::fail(&words, 1);
        }
    };
    run::say(&if status.json { text } else { table(&overview) });
    ExitCode::from(u8::from(overview.status != "ok"))
}

async fn ask(status: &Status) -> Result<String, String> {
    let url = format!("{}/status", status.url.trim_end_matches('/'));
    let none: [(&str, &str); 0] = [];
    let target = HttpTarget::new("gateway", &url, none).map_err(|error| error.to_string())?;
    let mut request = target.request(Method::GET, target.url().clone());
    if let Some(token) = &status.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
    let response = HttpClient::default().send(&target, request).await;
    let response = response.map_err(|error| error.to_string())?;
    let code = response.status();
    let body = body::read(response.into_body(), BODY_LEN_MAX, TIMEOUT).await;
    let body = body.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&body).into_owned();
    match code {
        StatusCode::OK => Ok(text),
        StatusCode::UNAUTHORIZED => Err(format!("{url} wants a token: give it with --token")),
        code => Err(format!("{url} answered {code}: {text}")),
    }
}

fn table(overview: &Overview) -> String {
    let mut lines = vec![
        ["SERVER", "STATE", "FOR", "TRANSPORT", "SESSIONS", "LINKS", "CALLS", "RESTARTS"]
            .map(str::to_owned),
    ];
    lines.extend(overview.servers.iter().map(|it| {
        [
            it.name.clone(),
            it.state.clone(),
            format!("{} s", it.state_secs),
            it.transport.clone(),
            it.sessions.to_string(),
            it.links.to_string(),
            it.in_flight.to_string(),
            it.restarts.to_string(),
        ]
    }));
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..8).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    for server in &overview.servers {
        if let (Some(error), true) = (&server.last_error, server.state != "ready") {
            text.push_str(&format!("\n{}: {error}\n", server.name));
        }
    }
    text
}
