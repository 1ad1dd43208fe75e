//! Why a name or an address leads to no server, in words for who used it.

use mcp_jsonrpc::RpcError;

use crate::{List, Withheld};

/// How much of what a caller wrote is said back, in characters.
const SAID_LEN_MAX: usize = 200;

/// Why a request cannot be passed on to a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// Nobody here has it.
    #[error("Unknown {}: {name}", singular(*.list))]
    Unknown {
        /// What was asked for.
        list: List,
        /// By which name.
        name: String,
    },
    /// Several have it.
    #[error("{name} is the name of {}: use {}", plural(*.list, .by.len()), choices(.by))]
    Contested {
        /// What was asked for.
        list: List,
        /// By which name.
        name: String,
        /// Who has it.
        by: Vec<Rival>,
    },
    /// Nobody has the task, or anybody may have it.
    #[error("Unknown task: {0}")]
    Task(String),
    /// It says that it belongs to a server that is not here.
    #[error("{uri} belongs to the server `{server}`, which is not offered here")]
    Elsewhere {
        /// The address.
        uri: String,
        /// The server.
        server: String,
    },
    /// Its arguments cannot be passed on.
    #[error("{name}: {withheld}")]
    Withheld {
        /// The tool.
        name: String,
        /// What is wrong with them.
        withheld: Withheld,
    },
    /// What it asks for cannot be read.
    #[error("the parameters cannot be read: {0}")]
    Unreadable(#[from] mcp_jsonrpc::ParseError),
}

/// One of several who have a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// The server.
    pub server: String,
    /// The name that leads to it alone, if there is one.
    pub exposed: Option<String>,
}

// === impl Lost ===

impl Lost {
    /// As it is answered.  An unknown resource has a code of its own up to 2025-11-25.
    pub fn to_error(&self) -> RpcError {
        let code = match self {
            Self::Unknown { list: List::Resources | List::Templates, .. } => {
                RpcError::RESOURCE_NOT_FOUND
            }
            _ => RpcError::INVALID_PARAMS,
        };
        RpcError::new(code, self.to_string())
    }
}

/// What a caller wrote, as it is said back.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SAID_LEN_MAX) {
        Some((at, _)) => [text.get(..at).unwrap_or_default(), "…"].concat(),
        None => text.to_owned(),
    }
}

fn singular(list: List) -> &'static str {
    match list {
        List::Tools => "tool",
        List::Prompts => "prompt",
        List::Resources | List::Templates => "resource",
    }
}

fn plural(list: List, count: usize) -> String {
    format!("{count} {}s here", singular(list))
}

fn choices(rivals: &[Rival]) -> String {
    let choice = |it: &Rival| match &it.exposed {
        Some(name) => format!("{name} for that of the server `{}`", it.server),
        None => {
            format!("none for that of the server `{}`, which has no name of its own", it.server)
        }
    };
    rivals.iter().map(choice).collect::<Vec<_>>().join(", ")
}
