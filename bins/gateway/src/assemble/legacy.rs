//! Servers that are spoken to with a handshake alone, although their wire would carry more.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use mcp_jsonrpc::transport::{Caller, Opening, Session, SessionId, Transport, TransportError};

/// A transport whose sessions begin with `initialize`.
///
/// A child cannot say which revisions it speaks before it is started and asked.  As long as nobody
/// asks, a session without a handshake is not opened.
#[derive(Debug)]
pub(super) struct WithHandshake<T>(pub(super) T);

impl<T: Transport> Transport for WithHandshake<T> {
    fn open(&self, opening: Opening) -> BoxFuture<'_, Result<Arc<dyn Session>, TransportError>> {
        async move {
            opening.with_handshake()?;
            self.0.open(opening).await
        }
        .boxed()
    }

    fn find(&self, id: &SessionId, caller: &Caller) -> Result<Arc<dyn Session>, TransportError> {
        self.0.find(id, caller)
    }
}
