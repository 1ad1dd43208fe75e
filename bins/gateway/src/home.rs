//! What the gateway says about itself: the page at `/`, the state of its servers, and how a
//! client is set up.

use gateway_config::ServerConfig;
use router::status::{State, Status};
use serde::Serialize;

use crate::joint::JointOverview;

/// What `GET /` and `GET /status` answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// What the gateway calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// For how long it has been running, in seconds.
    pub uptime_secs: u64,
    /// `ok`, or `degraded` where a server is not.
    pub status: &'static str,
    /// Each server.
    pub servers: Vec<ServerOverview>,
    /// All of them as one, and groups of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aggregates: Vec<JointOverview>,
}

/// One server, and where it is to be had.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerOverview {
    /// Its life.
    #[serde(flatten)]
    pub status: Status,
    /// What it turned out to speak, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speaks: Option<&'static str>,
    /// Sessions kept with it for clients that know none (2026-07-28).
    pub kept: usize,
    /// Calls of theirs that wait for answers.
    pub parked: usize,
    /// How many have waited for too long.
    pub expired: u64,
    /// How it is reached behind.
    pub transport: &'static str,
    /// Where it is to be had in front.
    pub routes: Vec<String>,
    /// Its processes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pids: Vec<u32>,
    /// What the last of them wrote to stderr last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stderr: Vec<std::sync::Arc<str>>,
}

/// Whether a server does what it should, as far as anybody has asked it to.
pub fn is_well(state: State) -> bool {
    matches!(state, State::Ready | State::Idle | State::Starting)
}

/// The page, for people.
pub fn page(overview: &Overview) -> String {
    let rows: String = overview.servers.iter().map(row).collect();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{name}</title>\
         <meta name=viewport content=\"width=device-width\">\
         <style>body{{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         table{{border-collapse:collapse;width:100%}}td,th{{text-align:left;padding:.4rem;\
         border-bottom:1px solid #ccc;vertical-align:top}}code{{font-size:.9em}}</style>\
         <h1>{name}</h1><p>MCP Gateway {version}. Each server is at its own routes; point a client \
         at one of them.</p><table><tr><th>Server<th>State<th>Routes</tr>{rows}</table>",
        name = escaped(&overview.name),
        version = escaped(&overview.version),
    )
}

fn row(server: &ServerOverview) -> String {
    let status = &server.status;
    let routes: Vec<String> =
        server.routes.iter().map(|it| format!("<code>{}</code>", escaped(it))).collect();
    let error = match &status.last_error {
        Some(error) if !is_well(status.state) => format!("<br>{}", escaped(error)),
        _ => String::new(),
    };
    let state = format!("{:?}", status.state).to_lowercase();
    let (name, routes) = (escaped(&status.name), routes.join("<br>"));
    format!("<tr><td>{name}<td>{state}{error}<td>{routes}</tr>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The routes of a server, below `base`.
pub fn routes(base: &str, server: &ServerConfig) -> Vec<String> {
    server.routes().iter().map(|route| format!("{base}{route}")).collect()
}

/// How the common clients are told of one server.
pub fn snippets(url: &str, name: &str, with_token: bool) -> String {
    let header = if with_token { " --header \"Authorization: Bearer TOKEN\"" } else { "" };
    let json = |key: &str, extra: &str| {
        let headers = match with_token {
            true => ", \"headers\": {\"Authorization\": \"Bearer TOKEN\"}",
            false => "",
        };
        format!("{{\"{name}\": {{{extra}\"{key}\": \"{url}/{name}/mcp\"{headers}}}}}")
    };
    let codex = match with_token {
        true => "\n               bearer_token_env_var = \"MCP_TOKEN\"",
        false => "",
    };
    format!(
        "  Claude Code  claude mcp add --transport http {name} {url}/{name}/mcp{header}\n  \
           VS Code      .vscode/mcp.json: {{\"servers\": {vscode}}}\n  \
           Gemini CLI   ~/.gemini/settings.json: {{\"mcpServers\": {gemini}}}\n  \
           Codex        ~/.codex/config.toml: [mcp_servers.{name}]\n               \
           url = \"{url}/{name}/mcp\"{codex}\n",
        vscode = json("url", "\"type\": \"http\", "),
        gemini = json("httpUrl", ""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_no_markup_of_a_servers() {
        let status = Status {
            name: "a<b>".into(),
            state: State::Backoff,
            state_secs: 1,
            last_error: Some("<script>".into()),
            server_info: None,
            protocol_version: None,
            sessions: 0,
            links: 0,
            in_flight: 0,
            listening: 0,
            restarts: 0,
            waiting: 0,
            turned_away: 0,
            dropped: 0,
            refused: 0,
            hung: 0,
        };
        let server = ServerOverview {
            status,
            speaks: None,
            kept: 0,
            parked: 0,
            expired: 0,
            transport: "stdio",
            routes: vec!["/a/mcp".into()],
            pids: vec![],
            stderr: vec![],
        };
        let page = page(&Overview {
            name: "g".into(),
            version: "0".into(),
            uptime_secs: 1,
            status: "degraded",
            servers: vec![server],
            aggregates: Vec::new(),
        });
        assert!(page.contains("a&lt;b&gt;") && page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains("<script>"));
    }

    #[test]
    fn snippets_are_json_where_they_should_be() {
        for with_token in [true, false] {
            let text = snippets("http://127.0.0.1:9090", "demo", with_token);
            for line in text.lines().filter(|line| line.contains("json: ")) {
                let (_, json) = line.split_once("json: ").unwrap();
                let value: serde_json::Value = serde_json::from_str(json).unwrap();
                assert_eq!(value.to_string().contains("TOKEN"), with_token);
            }
        }
    }
}
