//! The server over HTTP, of either kind: a thread a connection, which are kept open.

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use serde_json::{Value, json};

use super::server::{PORT, Says, Server};

/// A server and its sessions.
struct Http {
    server: Arc<Server>,
    is_sse: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last: u32,
    /// By their ids: over HTTP+SSE, with their streams.
    sessions: HashMap<String, Option<TcpStream>>,
    /// The streams of calls that have not been answered, by the calls' ids.
    streams: HashMap<String, TcpStream>,
}

struct Request {
    line: String,
    fields: HashMap<String, String>,
    body: String,
}

/// Serves for as long as the process runs.
pub(super) fn serve(server: &Arc<Server>, is_sse: bool) {
    let port: u16 = env::var(PORT).unwrap().parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let http = Arc::new(Http { server: Arc::clone(server), is_sse, state: Mutex::default() });
    server.note("listening", &json!(port));
    for stream in listener.incoming() {
        let (http, stream) = (Arc::clone(&http), stream.unwrap());
        stream.set_nodelay(true).unwrap();
        thread::spawn(move || http.converse(&stream));
    }
}

impl Request {
    /// Reads one; none at the end.
    fn read(from: &mut BufReader<&TcpStream>) -> Option<Self> {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut fields = HashMap::new();
        loop {
            let mut field = String::new();
            from.read_line(&mut field).ok()?;
            let Some((name, value)) = field.trim().split_once(':') else { break };
            fields.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let length = fields.get("content-length").map_or(0, |it| it.parse().unwrap());
        let mut body = vec![0; length];
        from.read_exact(&mut body).ok()?;
        Some(Self { line, fields, body: String::from_utf8(body).unwrap() })
    }

    fn method(&self) -> &str {
        self.line.split(' ').next().unwrap()
    }

    fn session(&self) -> Option<&str> {
        let in_path = self.line.split_once("sessionId=").and_then(|it| it.1.split(' ').next());
        in_path.or_else(|| self.fields.get("mcp-session-id").map(String::as_str))
    }
}

impl Http {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers what comes on a connection, until that ends or becomes a stream.
    fn converse(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader) {
            let goes_on = match request.method() {
                "GET" => self.listen(&request, stream),
                "DELETE" => {
                    self.server.note("DELETE", &json!(null));
                    let known = request.session().and_then(|it| self.state().sessions.remove(it));
                    respond(stream, if known.is_some() { "200 OK" } else { "404 Gone" }, "", "")
                }
                _ => self.post(&request, stream),
            };
            if !goes_on {
                // It is somebody's stream from here on, and ends with the process.
                return;
            }
        }
    }

    fn new_session(&self, stream: Option<TcpStream>) -> String {
        let mut state = self.state();
        state.last += 1;
        let id = format!("s-{}-{}", process::id(), state.last);
        state.sessions.insert(id.clone(), stream);
        id
    }

    fn listen(&self, request: &Request, mut stream: &TcpStream) -> bool {
        if !self.is_sse && !self.knows(request) {
            return self.unknown(stream);
        }
        stream.write_all(EVENTS.as_bytes()).unwrap();
        if self.is_sse {
            let id = self.new_session(Some(stream.try_clone().unwrap()));
            write_event(stream, Some("endpoint"), &format!("/message?sessionId={id}"));
        } else {
            self.state().streams.insert(
                format!("listens {id:?}", id = request.session()),
                stream.try_clone().unwrap(),
            );
            self.server.note("listens", &json!(null));
        }
        false
    }

    fn knows(&self, request: &Request) -> bool {
        request.session().is_some_and(|it| self.state().sessions.contains_key(it))
    }

    fn unknown(&self, stream: &TcpStream) -> bool {
        self.server.note("unknown", &json!(null));
        match self.server.is_to("forget-with-400") {
            true => respond(stream, "400 Bad Request", "", "Bad Request: invalid session"),
            false => respond(stream, "404 Not Found", "", ""),
        }
    }

    fn post(&self, request: &Request, stream: &TcpStream) -> bool {
        let message: Value = serde_json::from_str(&request.body).unwrap();
        let begins = message["method"] == "initialize" && !self.is_sse;
        if !begins && !self.knows(request) {
            return self.unknown(stream);
        }
        if !begins && let Some(status) = self.server.is_to_refuse(&message) {
            return respond(stream, &status, "Retry-After: 1\r\n", "");
        }
        let said = self.server.hear(&message);
        if self.is_sse {
            respond(stream, "202 Accepted", "", "");
            let (said, forgets) = match said {
                Some(Says::Answer(answer)) => (vec![answer], false),
                Some(Says::AnswerAndForget(answer)) => (vec![answer], true),
                Some(Says::Messages(messages)) => (messages, false),
                Some(Says::Nothing | Says::Primer) | None => (Vec::new(), false),
            };
            let mut state = self.state();
            if let Some(Some(stream)) = request.session().and_then(|it| state.sessions.get(it)) {
                said.iter().for_each(|it| write_event(stream, None, &it.to_string()));
            }
            if forgets {
                // The stream stays open, and leads nowhere.
                let streams = std::mem::take(&mut state.sessions).into_iter();
                let streams = streams.filter_map(|(id, stream)| Some((id, stream?)));
                state.streams.extend(streams);
            }
            return true;
        }
        match said {
            None => respond(stream, "202 Accepted", "", ""),
            Some(Says::Answer(answer)) => {
                let session = if begins { self.new_session(None) } else { String::new() };
                let field = format!("Mcp-Session-Id: {session}\r\n");
                let json = "Content-Type: application/json\r\n".to_owned();
                let fields = if begins { json + &field } else { json };
                respond(stream, "200 OK", &fields, &answer.to_string())
            }
            Some(Says::AnswerAndForget(answer)) => {
                self.state().sessions.clear();
                respond(stream, "200 OK", "Content-Type: application/json\r\n", &answer.to_string())
            }
            Some(Says::Nothing) => {
                self.state().streams.insert(message["id"].to_string(), stream.try_clone().unwrap());
                false
            }
            Some(Says::Primer) => {
                self.stream(&message["id"], stream, &[]);
                false
            }
            Some(Says::Messages(messages)) if message["method"].is_string() => {
                self.stream(&message["id"], stream, &messages);
                false
            }
            // What a client has answered ends the call that asked.
            Some(Says::Messages(messages)) => {
                let asked = self.state().streams.remove(&messages[0]["id"].to_string());
                if let Some(asked) = asked {
                    write_event(&asked, None, &messages[0].to_string());
                    drop(asked.shutdown(Shutdown::Both));
                }
                respond(stream, "202 Accepted", "", "")
            }
        }
    }

    /// Answers with a stream, which begins as those of 2025-11-25 do, and ends with the answer.
    fn stream(&self, id: &Value, mut stream: &TcpStream, messages: &[Value]) {
        stream.write_all(EVENTS.as_bytes()).unwrap();
        stream.write_all(b"id: e-0\ndata:\n\n").unwrap();
        for message in messages {
            write_event(stream, None, &message.to_string());
        }
        if messages.iter().any(|message| message["method"].is_null()) {
            drop(stream.shutdown(Shutdown::Write));
            return;
        }
        self.state().streams.insert(id.to_string(), stream.try_clone().unwrap());
    }
}

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

fn write_event(mut stream: &TcpStream, kind: Option<&str>, data: &str) {
    let kind = kind.map_or_else(String::new, |kind| format!("event: {kind}\n"));
    // Who does not listen any more misses it.
    drop(stream.write_all(format!("{kind}data: {data}\n\n").as_bytes()));
}

/// Whether the connection goes on.
fn respond(mut stream: &TcpStream, status: &str, fields: &str, body: &str) -> bool {
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).is_ok()
}
