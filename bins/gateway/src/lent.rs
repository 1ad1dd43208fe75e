//! Bodies of requests that may be refused unread: what is left of one is read all the same, or the
//! connection is said to end.
//!
//! A client that still writes when its connection is closed sees an error of the connection, and
//! not the refusal (RFC 9112 §9.6).

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Response,
    body::{Body, Frame, SizeHint},
    header::{CONNECTION, HeaderValue},
};

/// How much of a body that nobody wanted is read: more than most requests have.
const REST_LEN_MAX: usize = 256 << 10;
/// And how long that may take.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// A body that comes back when it is dropped before its end.
#[derive(Debug)]
pub(crate) struct Lent<B> {
    body: Option<B>,
    back: Option<Rest<B>>,
}

/// Where it comes back to.
#[derive(Debug)]
pub(crate) struct Rest<B>(Arc<Mutex<Option<B>>>);

impl<B> Clone for Rest<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Lent<B> {
    /// Lends a body; one without bytes is of no interest.
    pub(crate) fn new(body: B) -> (Self, Option<Rest<B>>) {
        let back = (!body.is_end_stream()).then(|| Rest(Arc::default()));
        (Self { body: Some(body), back: back.clone() }, back)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Rest<B> {
    /// Reads what nobody has read, or says that the connection ends with this response.
    ///
    /// One whose client `waits` to be asked for it is not asked for.
    pub(crate) async fn settle<T>(self, waits: bool, response: &mut Response<T>) {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(body) = body else { return };
        let is_read = !waits
            && matches!(tokio::time::timeout(REST_TIMEOUT, Self::discard(body)).await, Ok(true));
        if !is_read {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Whether it came to its end within bounds.
    async fn discard(mut body: B) -> bool {
        let mut len = 0;
        while len <= REST_LEN_MAX {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            match frame {
                None => return true,
                Some(Ok(frame)) => len += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) => return false,
            }
        }
        false
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Lent<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            // Read to its end, or broken: there is nothing to come back.
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<B> Drop for Lent<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), &self.back) {
            *back.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}
