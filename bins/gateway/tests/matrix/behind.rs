//! Puppets behind each wire: children, HTTP+SSE, Streamable HTTP.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use mcp_jsonrpc::ProtocolVersion;
use serde_json::{Value, json};

use crate::{
    puppet::{COMPLAINTS, Puppet, Say, lock},
    said::Said,
};

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Child,
    Sse,
    Streamable,
    /// In the gateway itself: the demonstration server alone.
    BuiltIn,
}

pub(crate) const BEHIND: [Behind; 3] = [Behind::Child, Behind::Sse, Behind::Streamable];

/// The name of a server in the configuration; `shared` if all its clients share one session.
pub(crate) fn name(behind: Behind, version: ProtocolVersion, shared: bool) -> String {
    let who = if shared { "all" } else { "each" };
    format!("{behind:?}-{version}-{who}").to_lowercase()
}

/// Sessions by their ids.
static SESSIONS: LazyLock<Mutex<HashMap<String, Arc<Puppet>>>> = LazyLock::new(Mutex::default);
static LAST: AtomicU64 = AtomicU64::new(0);

/// Starts a server of each revision behind each wire; returns their entries.
pub(crate) fn start(dir: &Path) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(&stream));
        }
    });
    let mut entries = json!({});
    for version in ProtocolVersion::LEGACY {
        let url = |path: &str| format!("http://{at}/{version}/{path}");
        let child = child(dir, version);
        for (behind, entry) in [
            (Behind::Child, child),
            (Behind::Sse, json!({ "url": url("sse"), "type": "sse" })),
            (Behind::Streamable, json!({ "url": url("mcp"), "type": "streamable-http" })),
        ] {
            entries[name(behind, version, true)] = entry.clone();
            entries[name(behind, version, true)]["isolation"] = json!("shared");
            entries[name(behind, version, false)] = entry;
        }
    }
    entries
}

// === Children ===

/// Joins its own pipes to two fifos, and tells where they are.
const CHILD: &str = r#"
d=$(mktemp -d "$0/child-XXXXXX") && mkfifo "$d/in" "$d/out" && echo "$d" > "$0/announced"
cat "$d/out" &
exec cat > "$d/in"
"#;

/// A child that is a pair of pipes to a puppet in here.
fn child(dir: &Path, version: ProtocolVersion) -> Value {
    let dir = dir.join(version.as_str());
    std::fs::create_dir(&dir).unwrap();
    let announced = dir.join("announced");
    assert!(Command::new("mkfifo").arg(&announced).status().unwrap().success());
    thread::spawn(move || {
        // Open for both, so that it neither waits for the first child nor ends with the last.
        let announced = OpenOptions::new().read(true).write(true).open(announced).unwrap();
        for dir in BufReader::new(announced).lines().map_while(Result::ok) {
            thread::spawn(move || talk(Path::new(&dir), version));
        }
    });
    json!({ "command": "sh", "args": ["-c", CHILD.replace('$', "$$"), dir] })
}

fn talk(dir: &Path, version: ProtocolVersion) {
    let Ok(read) = File::open(dir.join("in")) else { return };
    let Ok(write) = OpenOptions::new().write(true).open(dir.join("out")) else { return };
    let write = Mutex::new(write);
    let say: Say = Arc::new(move |text| drop(writeln!(lock(&write), "{text}")));
    let puppet = Puppet::new(version);
    puppet.listen(Arc::clone(&say));
    for line in BufReader::new(read).lines().map_while(Result::ok) {
        take(&puppet, line, &say);
    }
}

/// Takes a message where all that is said shares one channel.
fn take(puppet: &Arc<Puppet>, text: String, say: &Say) {
    let (puppet, say) = (Arc::clone(puppet), Arc::clone(say));
    // What is no request is done at once, and in order.
    if Said::all(&text).iter().all(|it| it.id.is_none() || it.method.is_none()) {
        return puppet.take(&text, &say);
    }
    thread::spawn(move || puppet.take(&text, &say));
}

// === HTTP ===

struct Request {
    line: String,
    head: String,
    body: String,
}

impl Request {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|it| it.1.trim())
    }
}

fn read(from: &mut BufReader<&TcpStream>) -> Option<Request> {
    let (mut line, mut head) = (String::new(), String::new());
    from.read_line(&mut line).ok().filter(|it| 0 < *it)?;
    while !head.ends_with("\r\n\r\n") && head != "\r\n" {
        from.read_line(&mut head).ok().filter(|it| 0 < *it)?;
    }
    let mut request = Request { line, head, body: String::new() };
    let len = request.field("content-length").map_or(0, |it| it.parse().unwrap());
    let mut body = vec![0; len];
    from.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}

/// One connection, for as long as it is open.
fn serve(stream: &TcpStream) {
    let mut from = BufReader::new(stream);
    while let Some(request) = read(&mut from) {
        let mut words = request.line.split([' ', '?']);
        let (verb, path) = (words.next().unwrap(), words.next().unwrap());
        let mut steps = path.trim_start_matches('/').split('/');
        let version: ProtocolVersion = steps.next().unwrap().parse().unwrap();
        let puppet = session(&request);
        let goes_on = match (verb, steps.next(), puppet) {
            ("GET", Some("sse"), _) => sse(stream, version),
            ("POST", Some("message"), Some(puppet)) => message(stream, &puppet, &request),
            ("POST", Some("mcp"), Some(puppet)) => post(stream, &puppet, None, &request),
            ("POST", Some("mcp"), None) if request.body.contains("\"initialize\"") => {
                let (id, puppet) = enter(version);
                post(stream, &puppet, Some(&id), &request)
            }
            ("GET", Some("mcp"), Some(puppet)) => {
                listen(stream, &puppet, "");
                false
            }
            ("DELETE", Some("mcp"), Some(_)) => {
                lock(&SESSIONS).remove(request.field("mcp-session-id").unwrap_or_default());
                respond(stream, "200 OK", "Content-Length: 0\r\n", "")
            }
            _ => respond(stream, "404 Not Found", "Content-Length: 0\r\n", ""),
        };
        if !goes_on {
            return;
        }
    }
}

fn respond(mut stream: &TcpStream, status: &str, fields: &str, body: &str) -> bool {
    write!(stream, "HTTP/1.1 {status}\r\n{fields}\r\n{body}").is_ok()
}

fn enter(version: ProtocolVersion) -> (String, Arc<Puppet>) {
    let id = format!("puppet-{}", LAST.fetch_add(1, Ordering::Relaxed));
    let puppet = Puppet::new(version);
    lock(&SESSIONS).insert(id.clone(), Arc::clone(&puppet));
    (id, puppet)
}

/// The session a request names, if it is not over.
fn session(request: &Request) -> Option<Arc<Puppet>> {
    let id = request.line.split_once("session=").map(|it| it.1.split(' ').next().unwrap());
    let id = id.or_else(|| request.field("mcp-session-id")).unwrap_or_default();
    lock(&SESSIONS).get(id).cloned()
}

const EVENTS: &str = "Content-Type: text/event-stream\r\nConnection: close\r\n";

fn event(text: &str) -> String {
    format!("event: message\ndata: {text}\n\n")
}

/// Says what is said unasked on this connection until its client goes.
fn listen(stream: &TcpStream, puppet: &Puppet, first: &str) {
    if !respond(stream, "200 OK", EVENTS, first) {
        return;
    }
    let write = Mutex::new(stream.try_clone().unwrap());
    puppet.listen(Arc::new(move |text| drop(lock(&write).write_all(event(text).as_bytes()))));
    let mut rest = [0; 64];
    while matches!((&mut &*stream).read(&mut rest), Ok(1..)) {}
}

fn sse(stream: &TcpStream, version: ProtocolVersion) -> bool {
    let (id, puppet) = enter(version);
    let endpoint = format!("event: endpoint\ndata: /{version}/message?session={id}\n\n");
    listen(stream, &puppet, &endpoint);
    lock(&SESSIONS).remove(&id);
    false
}

fn message(stream: &TcpStream, puppet: &Arc<Puppet>, request: &Request) -> bool {
    let going = respond(stream, "202 Accepted", "Content-Length: 0\r\n", "");
    let unasked = Arc::clone(puppet);
    let say: Say = Arc::new(move |text| unasked.say_unasked(text));
    take(puppet, request.body.clone(), &say);
    going
}

/// What has been said to a POST.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Nothing,
    Events,
    Answer,
}

fn post(stream: &TcpStream, puppet: &Puppet, opened: Option<&str>, request: &Request) -> bool {
    let (said, version) = (Said::all(&request.body), puppet.version);
    let named = request.field("mcp-protocol-version");
    let has_header = ProtocolVersion::V2025_06_18 <= version;
    if has_header && opened.is_none() && named != Some(version.as_str()) {
        lock(&COMPLAINTS).push(format!("a server of {version} was sent the header {named:?}"));
    }
    if said.iter().all(|it| it.id.is_none() || it.method.is_none()) {
        let mute: Say = Arc::new(|_| ());
        puppet.take(&request.body, &mute);
        return respond(stream, "202 Accepted", "Content-Length: 0\r\n", "");
    }
    let session = opened.map(|id| format!("Mcp-Session-Id: {id}\r\n")).unwrap_or_default();
    let spoken = Arc::new(Mutex::new(Spoken::Nothing));
    let (state, write) = (Arc::clone(&spoken), stream.try_clone().unwrap());
    let say: Say = Arc::new(move |text| {
        let mut state = lock(&state);
        let is_answer = Said::all(text).iter().any(|it| it.method.is_none());
        if is_answer && *state == Spoken::Nothing {
            let len = text.len();
            let fields =
                format!("{session}Content-Type: application/json\r\nContent-Length: {len}\r\n");
            respond(&write, "200 OK", &fields, text);
            *state = Spoken::Answer;
            return;
        }
        if *state == Spoken::Nothing {
            respond(&write, "200 OK", EVENTS, "");
            *state = Spoken::Events;
        }
        drop((&write).write_all(event(text).as_bytes()));
    });
    puppet.take(&request.body, &say);
    // Streams end with their connection.
    let spoken = *lock(&spoken);
    spoken == Spoken::Answer
}
