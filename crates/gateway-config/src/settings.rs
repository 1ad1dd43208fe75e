//! Bounds and waits: every one with its key, its default and its reason, in one table each.

use std::time::Duration;

use crate::{
    quantity::{show_duration, show_size},
    reader::{Cx, Object},
    schema::Key,
};

macro_rules! kind {
    (size) => {
        usize
    };
    (count) => {
        usize
    };
    (duration) => {
        Duration
    };
}

macro_rules! shown {
    (size, $value:expr) => {
        show_size($value)
    };
    (count, $value:expr) => {
        $value.to_string()
    };
    (duration, $value:expr) => {
        show_duration($value)
    };
}

/// Writes a struct of settings: the type, its defaults, its keys, its reader, its reference.
macro_rules! settings {
    (
        $(#[$about:meta])*
        pub struct $name:ident {
            $($(#[doc = $doc:literal])+ $field:ident: $kind:ident = $default:expr, $key:literal;)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name { $($(#[doc = $doc])+ pub $field: kind!($kind),)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl $name {
            pub(crate) const NAMES: &'static [&'static str] = &[$($key),+];

            /// Takes over what the object says; `ours` is its path in our own schema.
            pub(crate) fn read(&mut self, cx: &mut Cx<'_>, object: &mut Object<'_>, ours: &str) {
                $(
                    let given = cx.$kind(object, $key);
                    cx.set(&format!("{ours}.{}", $key), &mut self.$field, given);
                )+
            }

            pub(crate) fn keys() -> Vec<Key> {
                let default = Self::default();
                vec![$(Key {
                    name: $key,
                    kind: stringify!($kind),
                    default: shown!($kind, default.$field),
                    meaning: concat!($($doc),+).trim().to_owned(),
                }),+]
            }
        }
    };
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

settings! {
    /// What bounds the gateway. Each counts what its name says; `_len_max` and `_bytes_max` are in
    /// bytes. Nothing here can be switched off.
    pub struct Limits {
        /// One message from a server behind: tools return images and whole tables.
        message_len_max: size = 64 << 20, "messageLenMax";
        /// The body of one request in front: arguments are smaller than results, and strangers send them.
        body_len_max: size = 16 << 20, "bodyLenMax";
        /// All header lines of one request in front together; tokens of identity providers reach 16 KiB.
        header_len_max: size = 64 << 10, "headerLenMax";
        /// Header lines of one request in front.
        header_count_max: count = 100, "headerCountMax";
        /// Connections in front at one time; a further one waits to be accepted.
        connection_max: count = 10_000, "connectionMax";
        /// Sessions of one server; a further one gets 503.
        session_max: count = 10_000, "sessionMax";
        /// Open listening streams of one session; a further one ends the oldest, which may be a dead client's.
        stream_max: count = 16, "streamMax";
        /// Requests of one session that are not answered yet; a further one is refused.
        in_flight_max: count = 256, "inFlightMax";
        /// Bytes that wait for one slow reader (one message alone may be longer); beyond, its session ends, and nobody else feels it.
        queue_bytes_max: size = 4 << 20, "queueBytesMax";
        /// Messages that wait for one slow reader; beyond, its session ends.
        queue_len_max: count = 1024, "queueLenMax";
        /// Bytes of one session's streams kept for a client that loses one and comes back.
        replay_bytes_max: size = 1 << 20, "replayBytesMax";
        /// Messages and streams of one session kept for that.
        replay_len_max: count = 1024, "replayLenMax";
        /// Messages in one batch (revision 2025-03-26 alone has batches).
        batch_len_max: count = 100, "batchLenMax";
        /// Nesting of one message: parsers behind may be recursive.
        depth_max: count = 512, "depthMax";
        /// Child processes of one server; a further session waits, then gets 503.
        child_max: count = 64, "childMax";
        /// Sessions and requests that wait for one of `childMax` children (or `sessionMax` sessions of an HTTP server); a further one gets 503 at once.
        child_queue_max: count = 100, "childQueueMax";
        /// Streams of one server on which clients of 2026-07-28 listen for changes; a further one gets 503.
        listen_max: count = 10_000, "listenMax";
        /// Calls of one server that wait for what their clients of 2026-07-28 answer to questions in mid-call; a further question is refused in its client's stead.
        parked_max: count = 10_000, "parkedMax";
        /// And those of one caller.
        parked_per_caller_max: count = 256, "parkedPerCallerMax";
        /// How often one call may ask its client, where client and server are of different eras; after that it is ended.
        round_max: count = 10, "roundMax";
        /// Bytes kept of what one child wrote to stderr.
        stderr_bytes_max: size = 64 << 10, "stderrBytesMax";
        /// Lines kept of what one child wrote to stderr.
        stderr_lines_max: count = 200, "stderrLinesMax";
    }
}

settings! {
    /// How long things may take. Those toward servers behind can be set for each of them too.
    pub struct Timeouts {
        /// A request's head in front, from its first byte to its end; TLS handshakes too.
        header_read_timeout: duration = seconds(30), "headerRead";
        /// How long a connection in front may wait for its next request: longer than clients keep
        /// theirs, so that none sends into a connection that closes.
        connection_idle_timeout: duration = seconds(75), "connectionIdle";
        /// Between two parts of a request's body in front.
        body_read_timeout: duration = seconds(30), "bodyRead";
        /// A request's body in front, from its head to its end.
        body_total_timeout: duration = seconds(5 * 60), "bodyTotal";
        /// One write to a client that does not read; then its connection is closed.
        write_timeout: duration = seconds(30), "write";
        /// A session in front that nobody uses and nobody listens to gives up its place and what
        /// it holds behind; its id stays good.
        session_idle_timeout: duration = seconds(30 * 60), "sessionIdle";
        /// How long what went down a stream is kept for a client that lost it.
        replay_timeout: duration = seconds(5 * 60), "replay";
        /// How long a session's id is good for, from its beginning: until then its client may come
        /// back, whatever happened to the gateway meanwhile.
        session_age_max: duration = seconds(30 * 24 * 3600), "sessionMaxAge";
        /// How long a session over HTTP+SSE is kept whose client lost its stream and may come back by
        /// itself, as browsers and their like do.
        sse_reconnect_timeout: duration = seconds(60), "sseReconnect";
        /// Between two comments on a silent stream: the shortest-tempered proxies cut at 30 s.
        keep_alive_interval: duration = seconds(15), "keepAlive";
        /// How long a request waits for its server to start: `npx` may have to fetch a package first.
        start_timeout: duration = seconds(60), "start";
        /// How long a child may take to say whether it speaks 2026-07-28, asked once; one that says nothing does not. HTTP servers have `start`.
        probe_timeout: duration = seconds(5), "probe";
        /// How long a client may take to answer a question in mid-call, where client and server are of different eras.
        parked_timeout: duration = seconds(10 * 60), "parked";
        /// Connecting to an HTTP server behind, TLS included.
        connect_timeout: duration = seconds(10), "connect";
        /// From a request to the first part of its answer; progress begins it anew.
        first_byte_timeout: duration = seconds(5 * 60), "firstByte";
        /// Between two parts of an answer; progress begins it anew.
        idle_timeout: duration = seconds(5 * 60), "idle";
        /// From a request to the end of its answer, whatever happens meanwhile.
        request_timeout: duration = seconds(60 * 60), "request";
        /// What a child gets after its stdin is closed, and again after SIGTERM, before SIGKILL.
        stop_timeout: duration = seconds(3), "stop";
        /// What running requests get of a server that a changed configuration restarts or removes.
        drain_timeout: duration = seconds(60), "drain";
        /// How long a session or a request waits where a server has as many children as it may; then it gets 503.
        child_wait_timeout: duration = seconds(10), "childWait";
        /// How long a child that sessions share is kept when none uses it any more.
        child_idle_timeout: duration = seconds(5 * 60), "childIdle";
        /// After so much silence a server that somebody uses is asked whether it is there (`ping`).
        ping_interval: duration = seconds(30), "pingInterval";
        /// A child without a request to work on that does not answer a `ping` for so long is ended, and replaced.
        ping_timeout: duration = seconds(30), "pingTimeout";
    }
}

settings! {
    /// What happens when a server behind dies.
    pub struct Restart {
        /// The wait before the second new attempt; it doubles with each. The first is made at once, and until so long after it a server that cannot be reached is looked for more often.
        backoff_min: duration = Duration::from_millis(500), "backoffMin";
        /// The longest wait between two attempts.
        backoff_max: duration = seconds(30), "backoffMax";
        /// So many failures within `crashLoopWindow`, with no work done between them, are a crash loop: it rests until somebody calls it.
        crash_loop_count: count = 5, "crashLoopCount";
        /// The time in which failures are counted.
        crash_loop_window: duration = seconds(300), "crashLoopWindow";
    }
}
