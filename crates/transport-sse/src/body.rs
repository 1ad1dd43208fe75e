//! Bodies: bounded on the way in, one type on the way out.

use std::{
    convert::Infallible,
    error::Error,
    future::{self, Future},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::{note::Note, stream::EventBody};

/// What is set aside at once for a body whose head announces a length: 1 MiB and what goes with it.
const RESERVED_LEN_MAX: u64 = (1 << 20) + (64 << 10);
/// Of a longer one so many times what has come is set aside, up to what is announced: each time
/// there is no room all that has come is copied.
const RESERVED_AHEAD: u64 = 16;

/// What goes out: nothing, a whole body, or a stream of events; and until it does, what is to be
/// said of it in the log.
#[derive(Debug, Default)]
pub struct Outgoing {
    kind: Option<Kind>,
    note: Option<Box<Note>>,
}

#[derive(Debug)]
enum Kind {
    Whole(Bytes),
    /// In a box: most bodies are none, and are moved several times.
    Events(Box<EventBody>),
}

/// How long a body may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// From one part of it to the next.
    pub part_timeout: Duration,
    /// As a whole.
    pub total_timeout: Duration,
}

/// However its parts come.
impl From<Duration> for Patience {
    fn from(total_timeout: Duration) -> Self {
        Self { part_timeout: total_timeout, total_timeout }
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Longer than the bound.
    #[error("body of more than {max} bytes")]
    TooLarge {
        /// How many bytes are taken.
        max: usize,
    },
    /// Not complete in time.
    #[error("body not complete after {after:?}")]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// Not complete, and nothing more of it comes.
    #[error("nothing more of the body came within {after:?}")]
    Silent {
        /// How long was waited for the next part.
        after: Duration,
    },
    /// The connection broke.
    #[error("body broke off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

// === impl Outgoing ===

impl Outgoing {
    /// No body.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A body in one piece.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { kind: Some(Kind::Whole(bytes.into())), note: None }
    }

    /// The body, where it is in one piece.
    pub fn as_whole(&self) -> Option<&Bytes> {
        match &self.kind {
            Some(Kind::Whole(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Puts a body in one piece in its place; what is known of the request stays.
    pub fn set_whole(&mut self, bytes: impl Into<Bytes>) {
        self.kind = Some(Kind::Whole(bytes.into()));
    }

    /// What is known of the request that it answers.
    pub fn note(&self) -> Option<&Note> {
        self.note.as_deref()
    }

    /// The same, for whoever writes the log line.
    pub fn take_note(&mut self) -> Option<Box<Note>> {
        self.note.take()
    }

    pub(crate) fn set_note(&mut self, note: Note) {
        self.note = Some(Box::new(note));
    }
}

impl From<EventBody> for Outgoing {
    fn from(events: EventBody) -> Self {
        Self { kind: Some(Kind::Events(Box::new(events))), note: None }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.kind {
            None => None,
            Some(Kind::Whole(bytes)) => Some(std::mem::take(bytes)).filter(|it| !it.is_empty()),
            Some(Kind::Events(events)) => ready!(events.poll_chunk(cx)),
        };
        if piece.is_none() {
            self.kind = None;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            None => true,
            Some(Kind::Whole(bytes)) => bytes.is_empty(),
            Some(Kind::Events(_)) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            None => SizeHint::with_exact(0),
            Some(Kind::Whole(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Some(Kind::Events(_)) => SizeHint::default(),
        }
    }
}

/// Reads a whole body of at most `max` bytes, as long as patience lasts.
///
/// A body that comes in one piece, as most do, is not copied.
///
/// # Errors
///
/// [`ReadError`]: too long (before anything is read, where the head says so), too slow, or broken.
pub async fn read<B>(body: B, max: usize, patience: impl Into<Patience>) -> Result<Bytes, ReadError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (patience, mut deadline) = (patience.into(), None);
    let announced = body.size_hint().lower();
    if (max as u64) < announced {
        return Err(ReadError::TooLarge { max });
    }
    let mut body = pin!(body);
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    loop {
        let mut next = future::poll_fn(|cx| body.as_mut().poll_frame(cx));
        // Most bodies are there already: those need no timer.
        let frame = match (&mut next).now_or_never() {
            Some(frame) => frame,
            None => within(next, &patience, &mut deadline).await?,
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| ReadError::Broken(error.into()))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if max - first.len() - rest.len() < chunk.len() {
            return Err(ReadError::TooLarge { max });
        }
        if first.is_empty() && rest.is_empty() {
            first = chunk;
            continue;
        }
        let so_far = first.len() + rest.len() + chunk.len();
        if rest.capacity() < so_far {
            let ahead = (so_far as u64).saturating_mul(RESERVED_AHEAD).max(RESERVED_LEN_MAX);
            let whole = (announced.min(ahead) as usize).max(so_far);
            rest.reserve(whole - rest.len());
        }
        rest.extend_from_slice(&std::mem::take(&mut first));
        rest.extend_from_slice(&chunk);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// Waits for the next part of a body; `deadline` is that of the whole.
async fn within<T>(
    next: impl Future<Output = T>,
    patience: &Patience,
    deadline: &mut Option<Instant>,
) -> Result<T, ReadError> {
    let now = Instant::now();
    let deadline = *deadline.get_or_insert_with(|| now + patience.total_timeout);
    let part = now + patience.part_timeout;
    tokio::time::timeout_at(part.min(deadline), next).await.map_err(|_| match deadline <= part {
        true => ReadError::Timeout { after: patience.total_timeout },
        false => ReadError::Silent { after: patience.part_timeout },
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::{StreamExt, stream};
    use http_body_util::StreamBody;

    use super::*;

    fn body(chunks: &[&'static str]) -> impl Body<Data = Bytes, Error = io::Error> {
        let frames: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok(Frame::data(Bytes::from_static(chunk.as_bytes()))))
            .collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound() {
        let second = Duration::from_secs(1);
        for (chunks, expect) in [(&["abc"][..], "abc"), (&["a", "", "bc"], "abc"), (&[], "")] {
            assert_eq!(read(body(chunks), 3, second).await.unwrap(), expect);
        }
        let error = read(body(&["ab", "cd"]), 3, second).await.unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { max: 3 }));
        let error = read(Outgoing::whole("abcd"), 3, second).await.unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { max: 3 }));
    }

    /// However it comes, and whatever of it is announced.
    #[tokio::test]
    async fn a_long_body_is_read_as_it_is() {
        /// What is to come, in pieces of this length, and what is said of its length.
        struct Long(Bytes, usize, u64);
        impl Body for Long {
            type Data = Bytes;
            type Error = io::Error;

            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
                let len = self.1.min(self.0.len());
                let piece = self.0.split_to(len);
                Poll::Ready((len > 0).then(|| Ok(Frame::data(piece))))
            }

            fn size_hint(&self) -> SizeHint {
                let mut hint = SizeHint::new();
                hint.set_lower(self.2);
                hint
            }
        }
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|it| (it % 251) as u8).collect();
        for announced in [0, 1000, 2_000_000, 3_000_000] {
            for piece in [999, 16_384, 1_500_000] {
                let body = Long(bytes.clone().into(), piece, announced);
                let read = read(body, 3_000_000, Duration::from_secs(9)).await.unwrap();
                assert!(read == bytes, "{announced} {piece}");
            }
        }
        let body = Long(bytes.clone().into(), 16_384, 0);
        let error = read(body, 2_999_999, Duration::from_secs(9)).await.unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { max: 2_999_999 }));
    }

    #[tokio::test]
    async fn one_piece_is_not_copied() {
        let bytes = Bytes::from_static(b"abc");
        let read = read(Outgoing::whole(bytes.clone()), 9, Duration::from_secs(1)).await.unwrap();
        assert_eq!(read.as_ptr(), bytes.as_ptr());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up() {
        let silent = StreamBody::new(stream::pending::<Result<Frame<Bytes>, io::Error>>());
        let error = read(silent, 9, Duration::from_secs(30)).await.unwrap_err();
        assert!(matches!(error, ReadError::Timeout { .. }));
    }

    /// A long body on a slow line is read to its end, if it does have one.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_in_parts_has_time_for_each_and_for_all() {
        let patience = Patience {
            part_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(300),
        };
        let every = |secs: u64, count: usize| {
            let parts = stream::iter(0..count).then(move |_| async move {
                tokio::time::sleep(Duration::from_secs(secs)).await;
                Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"x")))
            });
            StreamBody::new(parts)
        };
        assert_eq!(read(every(29, 10), 99, patience).await.unwrap().len(), 10);
        let error = read(every(31, 10), 99, patience).await.unwrap_err();
        assert!(matches!(error, ReadError::Silent { after } if after.as_secs() == 30), "{error}");
        let began = Instant::now();
        let error = read(every(29, 99), 99, patience).await.unwrap_err();
        assert!(matches!(error, ReadError::Timeout { after } if after.as_secs() == 300), "{error}");
        assert_eq!(began.elapsed().as_secs(), 300);
    }

    #[tokio::test]
    async fn a_broken_body_says_why() {
        let broken =
            StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>(io::Error::other("gone"))]));
        let error = read(broken, 9, Duration::from_secs(1)).await.unwrap_err();
        assert!(error.source().is_some_and(|source| source.to_string() == "gone"));
    }
}
