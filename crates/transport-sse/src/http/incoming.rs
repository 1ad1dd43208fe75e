//! The body of a response.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{
    connection::Connection,
    fault::Fault,
    framing::{Found, Framing},
    idle::Idle,
};

type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a response of a server.
///
/// Read to its end, its connection can be used again; dropped before, that is closed.  Who does
/// not read is not sent more than the kernel's buffers hold.
#[derive(Debug)]
pub struct Incoming(Kind);

#[derive(Debug)]
enum Kind {
    Own(Reading),
    Hyper(hyper::body::Incoming),
}

/// A body on a connection of ours.
#[derive(Debug)]
struct Reading {
    /// None when all has been read.
    connection: Option<Box<Connection>>,
    framing: Framing,
    /// Where the connection rests afterwards, if it can be used again.
    home: Option<Arc<Idle>>,
}

// === impl Incoming ===

impl Incoming {
    /// The body that comes on this connection.
    pub(super) fn own(
        connection: Box<Connection>,
        framing: Framing,
        home: Option<Arc<Idle>>,
    ) -> Self {
        let mut reading = Reading { connection: Some(connection), framing, home };
        reading.settle();
        Self(Kind::Own(reading))
    }
}

impl From<hyper::body::Incoming> for Incoming {
    fn from(body: hyper::body::Incoming) -> Self {
        Self(Kind::Hyper(body))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Own(reading) => {
                let data = ready!(reading.poll_data(cx));
                if matches!(data, Some(Err(_))) {
                    reading.connection = None;
                }
                Poll::Ready(data.map(|data| data.map(Frame::data).map_err(Into::into)))
            }
            Kind::Hyper(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Own(reading) => reading.connection.is_none(),
            Kind::Hyper(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Own(reading) => {
                reading.framing.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Kind::Hyper(body) => body.size_hint(),
        }
    }
}

// === impl Reading ===

impl Reading {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            if let Poll::Ready(Err(_)) = connection.poll_write(cx) {
                // The server has said enough without the rest of the request.
                connection.stop_writing();
                self.home = None;
            }
            match self.framing.take(connection.read_mut())? {
                Found::Data(data) => {
                    self.settle();
                    return Poll::Ready(Some(Ok(data)));
                }
                Found::End => {
                    self.settle();
                    return Poll::Ready(None);
                }
                Found::Nothing => (),
            }
            if ready!(connection.poll_fill(cx))? == 0 {
                self.framing.close()?;
                self.connection = None;
            }
        }
    }

    /// Lets the connection go as soon as its body is complete.
    fn settle(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        // What is wrong behind the data is found again by who reads on.
        if !matches!(self.framing.skip(connection.read_mut()), Ok(true)) {
            return;
        }
        if let (Some(mut connection), Some(home)) = (self.connection.take(), self.home.take())
            && connection.rest()
        {
            home.put(connection);
        }
    }
}

impl Drop for Reading {
    /// A body nobody cared to read, and that is there already, costs no connection.
    fn drop(&mut self) {
        while let Some(connection) = &mut self.connection {
            match self.framing.take(connection.read_mut()) {
                Ok(Found::Data(_)) => (),
                Ok(Found::End) => return self.settle(),
                Ok(Found::Nothing) | Err(_) => return,
            }
        }
    }
}
