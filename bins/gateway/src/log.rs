//! What is logged, how, and where: one line an event, on standard error.

mod writer;

use gateway_config::{Log, LogFormat, LogLevel};
use tracing::Level;
use tracing_subscriber::fmt::{self, time::SystemTime};

pub use writer::Writer;

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
    Ok(writer)
}
