//! Story 1, one door for the whole LAN: that operator's own file, its servers, ten clients at once.

use std::{sync::Barrier, thread};

use serde_json::{Value, json};

use crate::{
    client::{CLIENTS, Client, Sdk, Wire, over},
    http,
    parts::{Part, Parts},
    rig::{Gateway, Scratch},
    servers::{PASSWORD, Postgres, PostgresMcp},
};

const TOKEN: &str = "lan-token-4711";
const CLIENT_COUNT: usize = 10;

/// The file as that operator wrote it for another proxy, but for the addresses of this test.
fn config(postgres: &str, timescale: &str, files: &str, parts: &Parts) -> Value {
    json!({
        "mcpProxy": {
            "baseURL": "http://linuxserver.lan:9090",
            "addr": ":9090",
            "name": "Central MCP Proxy",
            "version": "1.0.0",
            "type": "sse",
            "options": {
                "panicIfInvalid": false,
                "logEnabled": true,
                "authTokens": ["${MCP_PROXY_TOKEN}"]
            }
        },
        "mcpServers": {
            "postgres": { "transportType": "sse", "url": postgres },
            "timescale": { "url": timescale, "options": { "logEnabled": true } },
            "filesystem": {
                "command": "npx",
                "args": ["-y", "@modelcontextprotocol/server-filesystem", files]
            },
            "fetch": {
                "command": parts.python("servers", "mcp-server-fetch"),
                "args": ["--allow-private-ips", "--ignore-robots-txt"]
            },
            "time": {
                "command": parts.python("servers", "mcp-server-time"),
                "args": ["--local-timezone", "Europe/Berlin"]
            }
        }
    })
}

/// One call of one server, and what its answer must contain.
struct Job {
    server: &'static str,
    tool: &'static str,
    args: Value,
    answer: &'static str,
}

fn jobs(file: &str, page: &str) -> [Job; 5] {
    let average = "select sensor, count(*) from readings group by 1 order by 1";
    let noon =
        json!({ "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Kolkata" });
    [
        Job {
            server: "postgres",
            tool: "execute_sql",
            args: json!({ "sql": "select * from sensors order by id" }),
            answer: "[{'id': 1, 'name': 'cellar'}, {'id': 2, 'name': 'roof'}, {'id': 3, 'name': 'Küche'}]",
        },
        Job {
            server: "filesystem",
            tool: "read_text_file",
            args: json!({ "path": file }),
            answer: "from the cellar",
        },
        Job { server: "time", tool: "convert_time", args: noon, answer: "17:30:00+05:30" },
        Job {
            server: "timescale",
            tool: "execute_sql",
            args: json!({ "sql": average }),
            answer: "[{'sensor': 1, 'count': 10}, {'sensor': 2, 'count': 10}, {'sensor': 3, 'count': 10}]",
        },
        Job {
            server: "fetch",
            tool: "fetch",
            args: json!({ "url": page, "raw": true }),
            answer: "a page of the LAN",
        },
    ]
}

#[test]
fn ten_clients_at_one_door() {
    let Some(parts) = Parts::need(&[Part::Node, Part::Python, Part::Postgres]) else { return };
    let database = Postgres::start(&parts);
    let (first, second) = (database.uri("postgres"), database.uri("timescale"));
    let postgres = PostgresMcp::start(&parts, &first);
    let timescale = PostgresMcp::start(&parts, &second);
    let files = Scratch::new();
    let file = files.write("note.txt", "from the cellar\n");
    let config = config(&postgres.url, &timescale.url, files.text(), &parts);
    let gateway = Gateway::start(&parts, &config, &[("MCP_PROXY_TOKEN", TOKEN)]);
    let jobs = jobs(&file, &http::page("a page of the LAN"));
    let all_connected = Barrier::new(CLIENT_COUNT);
    thread::scope(|scope| {
        let clients = jobs.iter().cycle().zip(CLIENTS.iter().cycle()).take(CLIENT_COUNT);
        let running: Vec<_> = clients
            .map(|(job, (sdk, wire))| {
                let url = gateway.url(job.server, *wire);
                let (parts, all_connected) = (&parts, &all_connected);
                let name = format!("{sdk:?} over {wire:?} at {}", job.server);
                let work =
                    move || visit(parts, *sdk, &over(*wire, &url, Some(TOKEN)), job, all_connected);
                (name, scope.spawn(work))
            })
            .collect();
        let failed: Vec<String> = running
            .into_iter()
            .filter_map(|(name, it)| {
                it.join()
                    .unwrap_or_else(|_| Err("panicked".into()))
                    .err()
                    .map(|why| format!("{name}: {why}"))
            })
            .collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    });
    guarded(&parts, &gateway);
    let log = gateway.process.said();
    for secret in [TOKEN, PASSWORD] {
        assert!(!log.contains(secret), "the log shows {secret}");
    }
}

/// Connects, waits until all the others have, and does the job three times over.
fn visit(parts: &Parts, sdk: Sdk, connect: &Value, job: &Job, all: &Barrier) -> Result<(), String> {
    let (mut client, opened) = Client::try_connect(parts, sdk, connect);
    // Whoever could not connect must not keep the others waiting.
    all.wait();
    if opened["ok"] != true {
        return Err(opened.to_string());
    }
    if !client.tools().iter().any(|it| it == job.tool) {
        return Err(format!("does not see {}", job.tool));
    }
    for _ in 0..3 {
        let answer = client.call(job.tool, &job.args);
        if !answer.contains(job.answer) {
            return Err(format!("{} answers {answer}", job.tool));
        }
    }
    client.close();
    Ok(())
}

/// Nobody gets in without the token, by hand or with an SDK.
fn guarded(parts: &Parts, gateway: &Gateway) {
    let wrong = ("Authorization", "Bearer wrong");
    for fields in [&[][..], &[wrong][..]] {
        for server in ["postgres", "filesystem", "time"] {
            let sse = gateway.get(&format!("/{server}/sse"), fields);
            let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
            let mcp = gateway.post(&format!("/{server}/mcp"), fields, &ping);
            for answer in [sse, mcp] {
                assert_eq!(answer.status, 401, "{answer:?}");
                assert!(answer.field("www-authenticate").is_some(), "{answer:?}");
                assert!(answer.json().is_object());
            }
        }
    }
    for (sdk, wire) in [(Sdk::Python, Wire::Sse), (Sdk::TypeScript, Wire::Streamable)] {
        let connect = over(wire, &gateway.url("time", wire), None);
        let (_, opened) = Client::try_connect(parts, sdk, &connect);
        assert_eq!(opened["ok"], false, "{opened}");
        assert_eq!(opened["error"]["status"], 401, "{opened}");
    }
    gateway.logged(&["/time/sse", "401"]);
}
