//! One HTTP/1.1 connection of the generator, opened again when the server has closed it.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{
    error::{Failure, Result},
    http, rpc,
};

/// A connection, when there is one; dropped, it closes.
pub(super) struct Connection {
    addr: SocketAddr,
    open: Option<Open>,
}

struct Open {
    sender: SendRequest<Full<Bytes>>,
    _driver: JoinSet<()>,
}

impl Connection {
    /// Will connect to `addr` at the first request.
    pub(super) fn new(addr: SocketAddr) -> Self {
        Self { addr, open: None }
    }

    /// The headers of every request of a session to `addr`.
    pub(super) fn headers(addr: SocketAddr) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(host) = HeaderValue::try_from(addr.to_string()) {
            headers.insert(HOST, host);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let both = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(ACCEPT, both);
        headers
    }

    /// Sends a request, and returns the head of its response.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            path.parse().map_err(|_| Failure::Peer(format!("{path:?} is no path")))?;
        *request.headers_mut() = headers.clone();
        let sender = self.sender().await?;
        sender.send_request(request).await.map_err(Failure::http("sending a request"))
    }

    /// Closes the connection.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    async fn sender(&mut self) -> Result<&mut SendRequest<Full<Bytes>>> {
        let alive = match &mut self.open {
            Some(open) => open.sender.ready().await.is_ok(),
            None => false,
        };
        let open = match self.open.take() {
            Some(open) if alive => open,
            _ => connect(self.addr).await?,
        };
        Ok(&mut self.open.insert(open).sender)
    }
}

async fn connect(addr: SocketAddr) -> Result<Open> {
    let stream =
        TcpStream::connect(addr).await.map_err(Failure::io(format!("connecting to {addr}")))?;
    stream.set_nodelay(true).map_err(Failure::io("TCP_NODELAY"))?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(Failure::http("opening a connection"))?;
    let mut driver = JoinSet::new();
    // Its error reaches the request that suffers from it.
    driver.spawn(async move { drop(connection.await) });
    Ok(Open { sender, _driver: driver })
}

/// The body of a refusal, shortened, as an error.
pub(super) async fn refusal(what: &'static str, response: Response<Incoming>) -> Failure {
    let status = response.status().as_u16();
    match http::whole(response.into_body()).await {
        Ok(body) => Failure::Status { what, status, body: rpc::start(&body) },
        Err(cause) => cause,
    }
}

/// Reads what is left, so that the connection can be used again.
pub(super) async fn drain(response: Response<Incoming>) -> Result<()> {
    http::whole(response.into_body()).await.map(drop)
}
