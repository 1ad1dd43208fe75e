//! How a session begins, and how it comes to have a link with a server.

use std::sync::{Arc, atomic::Ordering};

use mcp_jsonrpc::{
    Message, ProtocolVersion, RpcError,
    params::Initialize,
    transport::{ErrorKind, Reply, TransportError},
};
use serde_json::json;
use serde_json::value::RawValue;
use tracing::debug;

use super::{Hello, Talk};
use crate::{answers, link::Link, member::Member, scope::Key, shown::Shown};

impl Talk {
    /// Begins: finds out what there is to show, as far as it can be had in time.
    pub(super) async fn initialize(
        self: &Arc<Self>,
        message: &Message,
    ) -> Result<Reply, TransportError> {
        let id = message.id().ok_or_else(answers::uninitialized)?;
        let _greeting = self.greeting.lock().await;
        if self.hello.get().is_some() {
            let words = "this session is initialized already";
            return answers::error(id, RpcError::INVALID_REQUEST, words);
        }
        let (said, version, capabilities) = match read(message) {
            Ok(read) => read,
            Err(error) => {
                let what = "`initialize` needs `protocolVersion`, `capabilities`, `clientInfo`";
                let words = format!("{what}: {error}");
                return answers::error(id, RpcError::INVALID_PARAMS, words);
            }
        };
        let key = Key::new(&self.caller, version, capabilities);
        let scope = self.inner.scope(key, &self.caller);
        let hello = Hello { message: said, version, scope: Arc::clone(&scope) };
        // Nobody else says it meanwhile.
        drop(self.hello.set(hello));
        scope.attach(self);
        scope.ready(self).await;
        let shown = scope.shown_to(self);
        *self.told() = Some(Arc::clone(&shown));
        self.has_begun.store(true, Ordering::Release);
        // What has changed meanwhile was announced to those only who had been shown something.
        scope.tell_one(self);
        let options = self.shared().options();
        let search = options.search;
        let mut answer = json!({
            "protocolVersion": version.as_str(),
            "capabilities": shown.capabilities(search).map_err(answers::unwritten)?,
            "serverInfo": { "name": options.about.name, "version": options.about.version },
        });
        if let Some(members) = answer.as_object_mut() {
            if let Some(instructions) = shown.view().instructions() {
                members.insert("instructions".to_owned(), json!(instructions));
            }
            if let Some(meta) = shown.meta() {
                members.insert("_meta".to_owned(), json!(meta));
            }
        }
        answers::result(id, &answer)
    }

    /// The link with a server: the one there is, or a new one.
    pub(crate) async fn link(self: &Arc<Self>, name: &str) -> Result<Arc<Link>, TransportError> {
        match self.linked(name) {
            Some(link) => Ok(link),
            // In a box: rare, and large beside the future of a call.
            None => Box::pin(self.another(name)).await,
        }
    }

    /// The links it has.
    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        let slots: Vec<_> = self.slots().values().cloned().collect();
        let links = slots.iter().filter_map(|slot| slot.link.load_full());
        let mut links: Vec<_> = links.filter(|it| it.is_open()).collect();
        links.sort_by(|a, b| a.member.name.cmp(&b.member.name));
        links
    }

    /// Lets go of the links with servers that are not here any more, or are others now.
    pub(crate) fn let_go(&self, is_here: impl Fn(&Member) -> bool) {
        let slots: Vec<_> = self.slots().values().cloned().collect();
        for link in slots.iter().filter_map(|slot| slot.link.load_full()) {
            if !is_here(&link.member) {
                self.slots().remove(&link.member.name);
                self.shared().spawn(async move { link.close().await });
            }
        }
    }

    /// Whether it has a link with a server.
    pub(crate) fn has_link(&self, name: &str) -> bool {
        self.linked(name).is_some()
    }

    /// The link that it has with a server.
    pub(crate) fn linked(&self, name: &str) -> Option<Arc<Link>> {
        let link = self.slots().get(name).and_then(|it| it.link.load_full());
        link.filter(|it| it.is_open())
    }

    async fn another(self: &Arc<Self>, name: &str) -> Result<Arc<Link>, TransportError> {
        let hello = self.hello.get().ok_or_else(answers::uninitialized)?;
        let gone = || {
            let kind = ErrorKind::Unavailable { retry_after: None };
            TransportError::new(kind, format!("the server `{name}` is not offered here any more"))
        };
        let member = hello.scope.member(name).ok_or_else(gone)?;
        let slot = Arc::clone(self.slots().entry(Arc::clone(&member.name)).or_default());
        let _opening = slot.opening.lock().await;
        if let Some(link) = slot.link.load_full().filter(|it| it.is_open()) {
            return Ok(link);
        }
        let over = || TransportError::new(ErrorKind::NoSession, "this session is closed");
        if self.is_over() {
            return Err(over());
        }
        let timeout = self.shared().options().open_timeout;
        let late = |_| {
            let what = format!("no session could be opened within {timeout:?}");
            TransportError::new(ErrorKind::Timeout, what).of(&member.name)
        };
        let opening = Link::open(Arc::clone(&member), self, &hello.message, hello.version);
        let link = tokio::time::timeout(timeout, opening).await.map_err(late)??;
        let last = slot.link.swap(Some(Arc::clone(&link)));
        if let Some(last) = last {
            last.close().await;
        }
        if self.is_over() {
            slot.link.store(None);
            link.close().await;
            return Err(over());
        }
        self.shared().spawn(Arc::clone(&link).listen());
        // It listens before anything is asked, so that what is said before an answer is heard
        // before it.
        tokio::task::yield_now().await;
        self.tell_level(&link).await;
        Ok(link)
    }

    /// Tells a server the log level, if the client has ever said one.
    async fn tell_level(&self, link: &Arc<Link>) {
        let level = self.level().clone();
        let Some(params) = level.as_ref().and_then(|it| it.read::<&RawValue>().ok()) else {
            return;
        };
        if link.can("logging")
            && let Err(error) = link.ask("logging/setLevel", params).await
        {
            debug!(server = %link.member.name, %error, "the log level was not said again");
        }
    }

    /// Whether what it was shown the last time differs from this: the news to tell, if so.
    pub(crate) fn news(&self, shown: &Arc<Shown>) -> Vec<&'static str> {
        let mut told = self.told();
        let Some(last) = told.as_ref() else { return Vec::new() };
        let lists = catalogue::View::diff(last.view(), shown.view());
        *told = Some(Arc::clone(shown));
        lists.notifications().collect()
    }
}

/// The client's words as each server is to hear them, the revision they are in, and what the
/// client can do.
fn read(
    message: &Message,
) -> Result<(Message, ProtocolVersion, Box<str>), mcp_jsonrpc::ParseError> {
    #[derive(serde::Deserialize)]
    struct Raw<'a> {
        #[serde(borrow, default)]
        capabilities: Option<&'a RawValue>,
    }
    let said: Initialize<'_> = message.read()?;
    let version = ProtocolVersion::negotiate(&said.version());
    let capabilities = message.read::<Raw<'_>>()?.capabilities.map_or("{}", RawValue::get).into();
    let same = said.version() == version.as_str();
    let spoken = match same {
        true => message.clone(),
        false => message.with_part(said.protocol_version, &version.as_str())?,
    };
    Ok((spoken.detached(), version, capabilities))
}
