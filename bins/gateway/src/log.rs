//! What is logged, how, and where: one line an event, on standard error.

mod writer;

use std::{
    fmt::Write,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use gateway_config::{Log, LogFormat, LogLevel};
use telemetry::stamp;
use tracing::{
    Event, Level, Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest,
};
use tracing_subscriber::{
    Layer,
    fmt::{
        self, FmtContext, FormatEvent, FormatFields,
        format::{self, Format},
        time::SystemTime,
    },
    layer::Context,
    registry::LookupSpan,
};

use crate::access_log::Said;

pub use writer::Writer;

/// What is logged, as tracing numbers it; how.
static LEVEL: AtomicU8 = AtomicU8::new(INFO);
static JSON: AtomicBool = AtomicBool::new(false);
static REQUESTS: OnceLock<Option<Requests>> = OnceLock::new();

/// Where the lines of requests go.
#[derive(Debug)]
pub(crate) struct Requests {
    writer: Writer,
}

/// The log of requests, where the gateway has a log of its own; none where it is part of another
/// service.
pub(crate) fn requests() -> Option<&'static Requests> {
    REQUESTS.get()?.as_ref()
}

impl Requests {
    /// Writes one line, or nothing where this level is not logged.
    pub(crate) fn write(&self, said: &Said<'_>, level: Level) {
        let (enabled, level) = match level {
            Level::DEBUG => (tracing::enabled!(Level::DEBUG), "DEBUG"),
            _ => (tracing::enabled!(Level::INFO), "INFO"),
        };
        if !enabled {
            return;
        }
        let mut line = String::with_capacity(256);
        let json = JSON.load(Ordering::Relaxed);
        let quote = if json { "{\"timestamp\":\"" } else { "" };
        line.push_str(quote);
        stamp::now(&mut line);
        if json {
            // Writing to a string cannot fail.
            write!(line, "\",\"level\":\"{level}\",\"message\":\"request\",").ok();
            let said = serde_json::to_string(said).unwrap_or_default();
            line.push_str(said.strip_prefix('{').unwrap_or("}"));
            line.push('\n');
        } else {
            line.push_str(if level == "INFO" { "  INFO request " } else { " DEBUG request " });
            said.write(&mut line);
            line.push('\n');
        }
        self.writer.line(line.as_bytes());
    }
}

/// Logs from here on.  The guard writes what is left when it is dropped.
///
/// Fails only where a log was set up before.
pub fn start(log: &Log) -> Result<Writer, tracing::subscriber::SetGlobalDefaultError> {
    let writer = Writer::stderr();
    change(log);
    let lines = fmt::Subscriber::builder()
        .with_max_level(Level::TRACE)
        .with_ansi(false)
        .event_format(Lines::new())
        .with_writer(writer.clone());
    tracing::subscriber::set_global_default(Threshold.with_subscriber(lines.finish()))?;
    REQUESTS.get_or_init(|| Some(Requests { writer: writer.clone() }));
    Ok(writer)
}

/// Logs what this says, as it says, from now on.
pub fn change(log: &Log) {
    let level = match log.level {
        LogLevel::Error => 1,
        LogLevel::Warn => 2,
        LogLevel::Debug => 4,
        LogLevel::Trace => 5,
        _ => INFO,
    };
    JSON.store(matches!(log.format, LogFormat::Json), Ordering::Relaxed);
    if LEVEL.swap(level, Ordering::Relaxed) != level {
        // Each place that logs remembers whether it is heard.
        tracing::callsite::rebuild_interest_cache();
    }
}

const INFO: u8 = 3;

/// Lets through what is as grave as the level that holds now.
struct Threshold;

fn threshold() -> LevelFilter {
    match LEVEL.load(Ordering::Relaxed) {
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        4 => LevelFilter::DEBUG,
        5 => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    }
}

impl<S: Subscriber> Layer<S> for Threshold {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match *metadata.level() <= threshold() {
            true => Interest::always(),
            false => Interest::never(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= threshold()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(threshold())
    }
}

/// Lines in the format that holds now.
struct Lines {
    text: Format<format::Full, SystemTime>,
    json: Format<format::Json, SystemTime>,
}

impl Lines {
    fn new() -> Self {
        let plain = || format::format().with_timer(SystemTime).with_ansi(false).with_target(false);
        let json = plain().json().flatten_event(true);
        Self { text: plain(), json: json.with_current_span(false).with_span_list(false) }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        cx: &FmtContext<'_, S, N>,
        writer: format::Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        match JSON.load(Ordering::Relaxed) {
            true => self.json.format_event(cx, writer, event),
            false => self.text.format_event(cx, writer, event),
        }
    }
}
