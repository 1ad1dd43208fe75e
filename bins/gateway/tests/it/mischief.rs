//! Servers that say too much: a flood of news, a flood of questions, an answer to nobody's
//! request, an answer twice, one that comes when nobody waits any more, one that is too long.
//!
//! Over each wire behind the one request is answered, once, and a session beside it goes on.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use crate::{
    client::{Client, Front},
    rig::{Gateway, servers},
    scripts::greets_and,
};

/// More than `queueLenMax`: what finds no room is dropped.
const NEWS: usize = 2000;
const QUESTIONS: usize = 600;
/// What `limits.messageLenMax` is set to here.
const LEN_MAX: usize = 256 << 10;
/// The last two answer with a message of exactly so many bytes, and of one more.
const TOOLS: [&str; 6] = ["news", "questions", "stray", "twice", "full", "long"];

/// The same for a child: `$id` is the request's.
const CHILD: &str = r#"
say() { printf '{"jsonrpc":"2.0",%s}\n' "$1"; }
done="\"id\":$id,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"done\"}]}"
case $line in
*'"name":"news"'*) n=0; while [ $n -lt 2000 ]; do n=$((n+1))
    say '"method":"notifications/message","params":{"level":"info","data":"much"}'; done ;;
*'"name":"questions"'*) n=0; while [ $n -lt 600 ]; do n=$((n+1))
    say "\"id\":\"q$n\",\"method\":\"roots/list\""; done ;;
*'"name":"stray"'*) say '"id":987654,"result":{"content":[]}'; say '"id":"x","result":{}' ;;
*'"name":"twice"'*) say "$done" ;;
*'"name":"full"'*|*'"name":"long"'*)
    begin="{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"text\":\""
    case $line in *'"name":"long"'*) len=262145 ;; *) len=262144 ;; esac
    printf %s "$begin"; head -c "$((len - ${#begin} - 3))" /dev/zero | tr '\0' x
    printf '"}}\n'; continue ;;
esac
say "$done""#;

/// What a server of HTTP says to a call, message by message.
fn words(tool: &str, id: &Value) -> Vec<String> {
    let done = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [{ "type": "text", "text": "done" }] } });
    let mut said = match tool {
        "news" => {
            let params = json!({ "level": "info", "data": "much" });
            let news =
                json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params });
            vec![news.to_string(); NEWS]
        }
        "questions" => {
            let ask = |n| json!({ "jsonrpc": "2.0", "id": n, "method": "roots/list" }).to_string();
            (0..QUESTIONS).map(ask).collect()
        }
        "stray" => vec![json!({ "jsonrpc": "2.0", "id": 987_654, "result": {} }).to_string()],
        "twice" => vec![done.to_string()],
        "full" | "long" => {
            let said = |text| json!({ "jsonrpc": "2.0", "id": id, "result": { "text": text } });
            let len = LEN_MAX - said(String::new()).to_string().len();
            return vec![said("x".repeat(len + usize::from(tool == "long"))).to_string()];
        }
        _ => Vec::new(),
    };
    said.push(done.to_string());
    said
}

/// A server of either kind over HTTP; it serves until the test ends.
fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let streams = Arc::<Mutex<Vec<TcpStream>>>::default();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let streams = Arc::clone(&streams);
            // Whoever is gone is not answered.
            thread::spawn(move || while answer(&stream, &streams).is_some() {});
        }
    });
    port
}

/// Reads one request and answers it; none where there is no more.
fn answer(wire: &TcpStream, streams: &Mutex<Vec<TcpStream>>) -> Option<()> {
    let mut reader = BufReader::with_capacity(1, wire);
    let (mut line, mut len) = (String::new(), 0);
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok().filter(|read| *read > 0)?;
        let field = field.trim().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(said) = field.strip_prefix("content-length:") {
            len = said.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).ok()?;
    respond(wire, streams, &line, &body)
}

fn respond(
    wire: &TcpStream,
    streams: &Mutex<Vec<TcpStream>>,
    line: &str,
    body: &[u8],
) -> Option<()> {
    let mut out = wire;
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    let empty = |status| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    if line.starts_with("GET /sse") {
        let n = {
            let mut streams = streams.lock().unwrap();
            streams.push(wire.try_clone().ok()?);
            streams.len() - 1
        };
        let first = format!("{events}event: endpoint\ndata: /message?n={n}\n\n");
        out.write_all(first.as_bytes()).ok()?;
        // Its events are written by whoever is posted to.
        return std::io::copy(&mut &*wire, &mut std::io::sink()).ok().and(None);
    }
    if !line.starts_with("POST ") {
        return out.write_all(empty("405 Method Not Allowed").as_bytes()).ok();
    }
    let asked: Value = serde_json::from_slice(body).ok()?;
    let said = match asked["method"].as_str() {
        Some("initialize") => {
            let result = json!({ "protocolVersion": "2025-06-18", "capabilities": { "tools": {}, "logging": {} }, "serverInfo": { "name": "fake", "version": "1" } });
            vec![json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result }).to_string()]
        }
        Some("tools/call") => words(asked["params"]["name"].as_str()?, &asked["id"]),
        Some(_) if !asked["id"].is_null() => {
            vec![json!({ "jsonrpc": "2.0", "id": asked["id"], "result": {} }).to_string()]
        }
        _ => return out.write_all(empty("202 Accepted").as_bytes()).ok(),
    };
    let said: String = said.iter().map(|it| format!("event: message\ndata: {it}\n\n")).collect();
    if let Some((_, n)) = line.split_once("/message?n=") {
        let n: usize = n.split(' ').next()?.parse().ok()?;
        out.write_all(empty("202 Accepted").as_bytes()).ok()?;
        let mut stream = streams.lock().unwrap().get(n)?.try_clone().ok()?;
        return stream.write_all(said.as_bytes()).ok();
    }
    out.write_all(format!("{events}{said}").as_bytes()).ok()?;
    out.shutdown(std::net::Shutdown::Both).ok().and(None)
}

/// Each kind of mischief, and somebody beside it.
fn mischief(server: Value, front: Front) {
    let mut config = servers(json!({ "bad": server }));
    config["gateway"] = json!({ "limits": { "messageLenMax": LEN_MAX } });
    let gateway = Gateway::start(&config);
    let mut beside = Client::connect(&gateway, front, "bad");
    beside.initialize("2025-06-18", &json!({}));
    for tool in TOOLS {
        let mut client = Client::connect(&gateway, front, "bad");
        client.initialize("2025-06-18", &json!({}));
        let params = json!({ "name": tool, "arguments": {} });
        let answer = client.ask("tools/call", params);
        match tool {
            "full" => {
                let text = answer["result"]["text"].as_str().unwrap_or_default();
                assert!(LEN_MAX - 100 < text.len(), "{}", answer["error"]);
            }
            "long" => {
                let said = answer["error"]["message"].as_str().unwrap_or_default();
                let names_the_bound = said.contains("`messageLenMax`");
                assert!(names_the_bound && said.contains(&LEN_MAX.to_string()), "{said}");
            }
            _ => assert_eq!(answer["result"]["content"][0]["text"], "done", "{tool}: {answer}"),
        }
        // Nobody else feels it, and it is the answer's own that comes next, not a second one.
        for who in [&mut beside, &mut client] {
            for _ in 0..3 {
                assert_eq!(who.call("plain", json!({})), "done", "{tool}");
            }
        }
    }
}

#[test]
fn of_a_child() {
    mischief(greets_and(CHILD), Front::Streamable);
    mischief(greets_and(CHILD), Front::Sse);
}

#[test]
fn of_a_server_of_streamable_http() {
    let url = format!("http://127.0.0.1:{}/mcp", serve());
    let server = json!({ "type": "streamable-http", "url": url });
    mischief(server.clone(), Front::Streamable);
    mischief(server, Front::Sse);
}

#[test]
fn of_a_server_of_http_and_sse() {
    let url = format!("http://127.0.0.1:{}/sse", serve());
    mischief(json!({ "type": "sse", "url": url }), Front::Sse);
}
