//! What Prometheus is told at `/metrics`: what was counted, and what is known anyway.

use std::sync::Arc;

use hyper::{
    HeaderMap, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue},
};
use router::status::{State, Status};
use telemetry::{
    Counts, Method, Outcome,
    text::{Format, Text, Type},
};
use transport_sse::body::Outgoing;

use crate::{
    answer,
    door::{Door, Entry},
    home,
};

/// Outcomes of calls that are there from the beginning, so that the first of a kind is an increase.
const ALWAYS: [Outcome; 3] = [Outcome::Ok, Outcome::ToolError, Outcome::Error];

/// All states, as `/status` names them.
const STATES: [(State, &str); 6] = [
    (State::Idle, "idle"),
    (State::Starting, "starting"),
    (State::Ready, "ready"),
    (State::Backoff, "backoff"),
    (State::Parked, "parked"),
    (State::Closed, "closed"),
];

/// A server's samples: what was counted of it, and its life, of which many as one have none.
struct Row<'a> {
    name: &'a str,
    counts: &'a Counts,
    life: Option<Life>,
    sessions: usize,
}

struct Life {
    status: Status,
    children: usize,
    front: era::front::FrontCounts,
}

/// One number of a server's life.
type Number = (&'static str, Type, &'static str, fn(&Life) -> u64);

/// What is read of each server when it is asked for.
const LIVES: [Number; 12] = [
    (
        "mcp_gateway_backend_up",
        Type::Gauge,
        "Whether the server is well, or was not needed yet.",
        |it| u64::from(home::is_well(it.status.state)),
    ),
    (
        "mcp_gateway_backend_restarts_total",
        Type::Counter,
        "How often the server died or was lost unexpectedly.",
        |it| it.status.restarts,
    ),
    (
        "mcp_gateway_backend_links",
        Type::Gauge,
        "Children of the server, or sessions open with it.",
        |it| it.status.links as u64,
    ),
    ("mcp_gateway_backend_children", Type::Gauge, "Processes of the server.", |it| {
        it.children as u64
    }),
    (
        "mcp_gateway_backend_hung_total",
        Type::Counter,
        "Children that were replaced because they did not answer a ping.",
        |it| it.status.hung,
    ),
    (
        "mcp_gateway_backend_waiting",
        Type::Gauge,
        "Requests that wait for a child or a session of the server.",
        |it| it.status.waiting as u64,
    ),
    (
        "mcp_gateway_backend_turned_away_total",
        Type::Counter,
        "Requests that waited for one in vain.",
        |it| it.status.turned_away,
    ),
    ("mcp_gateway_requests_in_flight", Type::Gauge, "Requests that are being answered.", |it| {
        it.status.in_flight as u64
    }),
    (
        "mcp_gateway_listening",
        Type::Gauge,
        "Streams on which clients of 2026-07-28 listen for changes.",
        |it| (it.status.listening + it.front.listens) as u64,
    ),
    (
        "mcp_gateway_parked_calls",
        Type::Gauge,
        "Calls that wait for an answer of their client (2026-07-28).",
        |it| it.front.parked as u64,
    ),
    (
        "mcp_gateway_expired_calls_total",
        Type::Counter,
        "Calls that waited for one in vain.",
        |it| it.front.expired,
    ),
    (
        "mcp_gateway_dropped_messages_total",
        Type::Counter,
        "Messages of the server that were for nobody, or found no room.",
        |it| it.status.dropped + it.front.dropped,
    ),
];

/// Answers whoever may know.
pub(crate) fn response(door: &Door, headers: &HeaderMap) -> Response<Outgoing> {
    let Some(counts) = &door.counts else {
        let how = "nothing is counted: set `\"metrics\": true` in `gateway` and start it again\n";
        return answer::respond(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", how);
    };
    let accept = headers.get(ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    let mut text = Text::new(format);
    of_process(door, &mut text);
    let mut rows = vec![Row { name: "", counts, life: None, sessions: 0 }];
    let servers = door.servers.values().filter(|entry| door.sees(headers, entry));
    rows.extend(servers.filter_map(|entry| row(entry, true)));
    let joints = door.joints.values().filter(|joint| door.sees(headers, &joint.entry));
    rows.extend(joints.filter_map(|joint| row(&joint.entry, false)));
    of_lives(&rows, &mut text);
    of_requests(&rows, &mut text);
    let mut response = answer::respond(StatusCode::OK, "", text.end());
    let content_type = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn row(entry: &Arc<Entry>, has_life: bool) -> Option<Row<'_>> {
    let server = &entry.rooms.server;
    let status = server.status();
    let sessions = status.sessions;
    let children = if has_life { entry.rooms.way.children.running().len() } else { 0 };
    let front = entry.rooms.front.counts();
    let life = has_life.then_some(Life { status, children, front });
    Some(Row { name: server.name(), counts: entry.rooms.counts()?, life, sessions })
}

/// The gateway itself.
fn of_process(door: &Door, text: &mut Text) {
    text.family("mcp_gateway_build_info", Type::Gauge, "Which gateway this is.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.family("mcp_gateway_uptime_seconds", Type::Gauge, "For how long it has been running.");
    text.sample(&[], door.began.elapsed().as_secs());
    text.family("mcp_gateway_draining", Type::Gauge, "Whether it is ending.");
    text.sample(&[], u8::from(door.draining.is_cancelled()));
    let process = process::read();
    for (name, kind, help, value) in [
        (
            "process_cpu_seconds_total",
            Type::Counter,
            "Processor time of the gateway, without its servers.",
            process.cpu_secs,
        ),
        (
            "process_resident_memory_bytes",
            Type::Gauge,
            "Resident memory of the gateway.",
            process.resident_bytes,
        ),
        ("process_open_fds", Type::Gauge, "Open descriptors.", process.open_fds),
        ("process_max_fds", Type::Gauge, "How many it may open.", process.max_fds),
    ] {
        if let Some(value) = value {
            text.family(name, kind, help);
            text.sample(&[], value);
        }
    }
}

/// What is known of servers without being counted.
fn of_lives(rows: &[Row<'_>], text: &mut Text) {
    for (name, kind, help, read) in LIVES {
        text.family(name, kind, help);
        for row in rows {
            if let Some(life) = &row.life {
                text.sample(&[("server", row.name)], read(life));
            }
        }
    }
    let help = "Where the server is in its life: 1 for one of the states.";
    text.family("mcp_gateway_backend_state", Type::Gauge, help);
    for row in rows {
        let Some(life) = &row.life else { continue };
        for (state, name) in STATES {
            let labels = [("server", row.name), ("state", name)];
            text.sample(&labels, u8::from(life.status.state == state));
        }
    }
    text.family("mcp_gateway_sessions", Type::Gauge, "Sessions that clients have open.");
    for row in rows.iter().filter(|row| !row.name.is_empty()) {
        text.sample(&[("server", row.name)], row.sessions);
    }
}

/// What was counted.
fn of_requests(rows: &[Row<'_>], text: &mut Text) {
    let help = "Requests by the status they were answered with; without `server`: for none.";
    text.family("mcp_gateway_http_requests_total", Type::Counter, help);
    for row in rows {
        for (code, count) in row.counts.codes() {
            let code = code.map_or_else(|| "other".to_owned(), |code| code.to_string());
            text.sample(&[("server", row.name), ("code", &code)], count);
        }
    }
    text.family(
        "mcp_gateway_refused_total",
        Type::Counter,
        "Requests that got no further than the door, by the reason.",
    );
    for row in rows {
        for (why, count) in row.counts.all_turned_away() {
            text.sample(&[("server", row.name), ("reason", why.as_str())], count);
        }
    }
    let servers = || rows.iter().filter(|row| !row.name.is_empty());
    let help = "Calls of tools by what came of them.";
    text.family("mcp_gateway_tool_calls_total", Type::Counter, help);
    for row in servers() {
        for outcome in Outcome::ALL {
            let count = row.counts.requests(Method::CALL, outcome);
            if count > 0 || ALWAYS.contains(&outcome) {
                text.sample(&[("server", row.name), ("outcome", outcome.as_str())], count);
            }
        }
    }
    let help = "Requests of the protocol by their method and what came of them.";
    text.family("mcp_gateway_requests_total", Type::Counter, help);
    for row in servers() {
        for method in Method::all() {
            for outcome in Outcome::ALL {
                let count = row.counts.requests(method, outcome);
                if count > 0 {
                    let (method, outcome) = (method.as_str(), outcome.as_str());
                    let labels = [("server", row.name), ("method", method), ("outcome", outcome)];
                    text.sample(&labels, count);
                }
            }
        }
    }
    let help = "From a request to the end of its answer; listening is not in it.";
    text.family("mcp_gateway_request_duration_seconds", Type::Histogram, help);
    for row in servers() {
        text.histogram(&[("server", row.name)], &row.counts.durations());
    }
    let help = "From the request for an event stream of HTTP+SSE until it is there.";
    text.family("mcp_gateway_sse_setup_seconds", Type::Histogram, help);
    for row in servers() {
        text.histogram(&[("server", row.name)], &row.counts.sse_setups());
    }
    text.family(
        "mcp_gateway_message_bytes_total",
        Type::Counter,
        "Bytes of messages from clients (in) and to them (out), without what HTTP adds.",
    );
    for row in servers() {
        let (came, went) = row.counts.bytes();
        text.sample(&[("server", row.name), ("direction", "in")], came);
        text.sample(&[("server", row.name), ("direction", "out")], went);
    }
    let help = "Streams of events that are open to clients.";
    text.family("mcp_gateway_streams", Type::Gauge, help);
    for row in servers() {
        text.sample(&[("server", row.name)], row.counts.streams());
    }
}

mod process;
