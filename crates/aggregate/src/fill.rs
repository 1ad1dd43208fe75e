//! What a server lists, asked for page by page.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use catalogue::{Catalogue, Gathering, Limits, List, Progress};
use futures::future::try_join_all;
use mcp_jsonrpc::{
    Kind, RpcError,
    transport::{ErrorKind, TransportError},
};
use serde_json::{json, value::RawValue};

use crate::link::{Link, REFUSAL_LEN_MAX};

/// What came of asking a server for its lists.
pub(crate) struct Filled {
    pub(crate) catalogue: Catalogue,
    /// What it refused to list, in words: the other lists are none the worse for it.
    pub(crate) refused: Vec<String>,
}

/// What is being gathered of one server's lists.
struct Filling {
    gathering: Gathering,
    refused: Vec<String>,
    listed: usize,
}

/// The lists of a server, of which `before` is what it listed the last time.
///
/// The four lists are asked for at once, each page by page, up to the limits.
///
/// # Errors
/// It cannot be asked, or does not answer a page in time, or with what is no list, or refuses all
/// that it says it has.
pub(crate) async fn fill(
    link: &Arc<Link>,
    limits: Limits,
    page_timeout: Duration,
    before: Option<&Catalogue>,
) -> Result<Filled, TransportError> {
    let mut gathering = Gathering::new(limits);
    if let Some(capabilities) = link.capabilities() {
        gathering.capabilities(capabilities);
    }
    if let Some(instructions) = link.instructions() {
        gathering.instructions(&instructions);
    }
    let filling = Mutex::new(Filling { gathering, refused: Vec::new(), listed: 0 });
    let lists = List::ALL.into_iter().filter(|list| link.can(capability(*list)));
    try_join_all(lists.map(|list| pages(link, list, page_timeout, &filling))).await?;
    let filling = filling.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let (0, Some(refused)) = (filling.listed, filling.refused.first()) {
        return Err(TransportError::new(ErrorKind::Protocol, refused.clone()));
    }
    let catalogue = filling.gathering.finish(before);
    Ok(Filled { catalogue, refused: filling.refused })
}

/// The capability of servers that have this list.
fn capability(list: List) -> &'static str {
    match list {
        List::Tools => "tools",
        List::Prompts => "prompts",
        List::Resources | List::Templates => "resources",
    }
}

async fn pages(
    link: &Arc<Link>,
    list: List,
    page_timeout: Duration,
    filling: &Mutex<Filling>,
) -> Result<(), TransportError> {
    let mut cursor: Option<String> = None;
    loop {
        let params = cursor.map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
        let asked = tokio::time::timeout(page_timeout, link.ask(list.method(), &params));
        let answer = asked.await.map_err(|_| {
            let what = format!("no answer to `{}` within {page_timeout:?}", list.method());
            TransportError::new(ErrorKind::Timeout, what)
        })??;
        if answer.kind() == Kind::Error {
            let error: Option<RpcError> = answer.read().ok();
            // Many have resources and no templates, and say so like this.
            if error.as_ref().is_none_or(|it| it.code != RpcError::METHOD_NOT_FOUND) {
                let words = error.map_or_else(String::new, |it| {
                    it.message.chars().take(REFUSAL_LEN_MAX).collect()
                });
                let mut filling = filling.lock().unwrap_or_else(PoisonError::into_inner);
                filling.refused.push(format!("it refuses `{}`: {words}", list.method()));
            }
            return Ok(());
        }
        let malformed = |error: Box<dyn std::error::Error + Send + Sync>| {
            let what = format!("its answer to `{}` is malformed", list.method());
            TransportError::new(ErrorKind::Protocol, what).hint(error.to_string())
        };
        let result: &RawValue = answer.read().map_err(|error| malformed(error.into()))?;
        let progress = {
            let mut filling = filling.lock().unwrap_or_else(PoisonError::into_inner);
            filling.listed += 1;
            filling.gathering.page(list, result).map_err(|error| malformed(error.into()))?
        };
        match progress {
            Progress::More(next) => cursor = Some(next),
            Progress::Done => return Ok(()),
        }
    }
}
