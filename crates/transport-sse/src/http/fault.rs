//! What can be wrong with what a server sends.

use std::io;

/// Why a response could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("its response head cannot be read: {0}")]
    Head(httparse::Error),
    #[error("a field of its response head cannot be read")]
    Field,
    #[error("its response head has more than {max} bytes")]
    HeadTooLong { max: usize },
    #[error("its response head has more than {max} fields")]
    TooManyFields { max: usize },
    #[error("it sent more than {max} interim responses")]
    TooManyInterim { max: usize },
    #[error("it changed to another protocol, unasked")]
    Switched,
    #[error("its response has no readable length, or two")]
    Length,
    #[error("its response is encoded in a way that was not asked for")]
    Coding,
    #[error("a chunk of its response is malformed")]
    Chunk,
    #[error("the fields after its response have more than {max} bytes")]
    TrailerTooLong { max: usize },
    #[error("it closed the connection before the head of a response")]
    NoHead,
    #[error("it closed the connection inside a response")]
    Cut,
    #[error("the connection broke")]
    Io(#[from] io::Error),
}
