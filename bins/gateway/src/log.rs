//! What is logged, how, and where: one line an event, on standard error.

mod writer;

use std::{fmt::Write, sync::OnceLock};

use gateway_config::{Log, LogFormat, LogLevel};
use tracing::Level;
use tracing_subscriber::fmt::{
    self, format,
    time::{FormatTime, SystemTime},
};

use crate::access_log::Said;

pub use writer::Writer;

static REQUESTS: OnceLock<Option<Requests>> = OnceLock::new();

/// Where the lines of requests go.
#[derive(Debug)]
pub(crate) struct Requests {
    writer: Writer,
    json: bool,
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
        let quote = if self.json { "{\"timestamp\":\"" } else { "" };
        line.push_str(quote);
        // Writing to a string cannot fail.
        SystemTime.format_time(&mut format::Writer::new(&mut line)).ok();
        if self.json {
            write!(line, "\",\"level\":\"{level}\",\"message\":\"request\",").ok();
            let said = serde_json::to_string(said).unwrap_or_default();
            line.push_str(said.strip_prefix('{').unwrap_or("}"));
            line.push('\n');
        } else {
            writeln!(line, " {level:>5} request {said}").ok();
        }
        self.writer.line(line.as_bytes());
    }
}

/// Logs from here on.  The guard writes what is left when it is dropped.
///
/// Fails only where a log was set up before.
pub fn start(log: &Log) -> Result<Writer, tracing::subscriber::SetGlobalDefaultError> {
    let writer = Writer::stderr();
    let level = match log.level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
        _ => Level::INFO,
    };
    let lines = fmt::Subscriber::builder()
        .with_max_level(level)
        .with_timer(SystemTime)
        .with_ansi(false)
        .with_target(false)
        .with_writer(writer.clone());
    match log.format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false);
            tracing::subscriber::set_global_default(lines.with_span_list(false).finish())?;
        }
        _ => tracing::subscriber::set_global_default(lines.finish())?,
    }
    let json = matches!(log.format, LogFormat::Json);
    REQUESTS.get_or_init(|| Some(Requests { writer: writer.clone(), json }));
    Ok(writer)
}
