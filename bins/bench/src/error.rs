//! What can go wrong in a measurement, told apart by what the harness does about it.

use std::{io, time::Duration};

/// Every fallible step of the harness.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for something that does not exist.
    #[error("{0}")]
    Usage(String),
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// The step.
        what: String,
        /// Its cause.
        source: io::Error,
    },
    /// An HTTP connection broke.
    #[error("{what}: {source}")]
    Http {
        /// The step.
        what: &'static str,
        /// Its cause.
        source: hyper::Error,
    },
    /// A peer refused a request.
    #[error("{what}: HTTP {status} {body}")]
    Status {
        /// The step.
        what: &'static str,
        /// The status.
        status: u16,
        /// The start of its body.
        body: String,
    },
    /// A peer answered, and the answer is not the one to this request.
    #[error("wrong answer: {0}")]
    Wrong(String),
    /// A peer went beyond what the protocol or one of our limits allows.
    #[error("{0}")]
    Peer(String),
    /// A process could not be started, or ended by itself.
    #[error("{0}")]
    Process(String),
    /// A wait reached its limit.
    #[error("{what} took longer than {limit:?}")]
    Timeout {
        /// The step.
        what: String,
        /// The limit.
        limit: Duration,
    },
}

impl Failure {
    /// For `map_err` on an I/O result.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }

    /// For `map_err` on a hyper result.
    pub(crate) fn http(what: &'static str) -> impl FnOnce(hyper::Error) -> Self {
        move |source| Self::Http { what, source }
    }
}

/// Awaits `work` for at most `limit`.
///
/// # Errors
/// [`Failure::Timeout`] at the limit, otherwise the work's own.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(Failure::Timeout { what: what.to_owned(), limit }),
    }
}
