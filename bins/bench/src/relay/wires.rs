//! The relay between HTTP servers.  Paths, queries and bodies stay as they are: the `endpoint`
//! event of HTTP+SSE passes unchanged, and is right because the paths are the same.

use std::sync::Arc;

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
};
use tokio_util::task::TaskTracker;

use super::Behind;
use crate::{
    error::{Failure, Result},
    http::{self, Reply},
    rpc::Envelope,
};

/// How to reach the server behind.
enum Way {
    /// The connection behind that belongs to one in front; HTTP/1.1 has one request at a time.
    Own(Mutex<Option<SendRequest<Reply>>>),
    /// Any connection that is free.
    Pool(Box<Client<HttpConnector, Reply>>),
}

/// Relays every connection of `listener` until the future is dropped.
pub(crate) async fn serve(listener: TcpListener, behind: Behind) {
    let tasks = TaskTracker::new();
    let behind = Arc::new(behind);
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let pool: Client<_, Reply> = Client::builder(TokioExecutor::new()).build(connector);
    http::serve(listener, || {
        let way = match behind.pool {
            true => Way::Pool(Box::new(pool.clone())),
            false => Way::Own(Mutex::new(None)),
        };
        let (way, tasks, behind) = (Arc::new(way), tasks.clone(), Arc::clone(&behind));
        move |request| {
            let (way, tasks, behind) = (Arc::clone(&way), tasks.clone(), Arc::clone(&behind));
            async move { relay(request, &behind, &way, &tasks).await }
        }
    })
    .await;
}

async fn relay(
    request: Request<Incoming>,
    behind: &Behind,
    way: &Way,
    tasks: &TaskTracker,
) -> Result<Response<Reply>> {
    let request = outgoing(request, behind).await?;
    let mut response = match way {
        Way::Own(slot) => {
            let mut slot = slot.lock().await;
            let alive = match slot.as_mut() {
                Some(sender) => sender.ready().await.is_ok(),
                None => false,
            };
            let mut sender = match slot.take() {
                Some(sender) if alive => sender,
                _ => connect(behind, tasks).await?,
            };
            let sent = sender.send_request(request).await;
            let response = sent.map_err(Failure::http("behind"))?;
            *slot = Some(sender);
            response
        }
        Way::Pool(client) => client
            .request(request)
            .await
            .map_err(|cause| Failure::Process(format!("behind: {cause}")))?,
    };
    response.headers_mut().remove(CONNECTION);
    response.headers_mut().remove(TRANSFER_ENCODING);
    let kind = response.headers().get(CONTENT_TYPE);
    if behind.collect && kind.is_some_and(|it| it.as_bytes().starts_with(b"application/json")) {
        let (head, body) = response.into_parts();
        let body = read(body).await?;
        return Ok(Response::from_parts(head, Reply::Full(Some(body))));
    }
    Ok(response.map(Reply::Relayed))
}

async fn outgoing(request: Request<Incoming>, behind: &Behind) -> Result<Request<Reply>> {
    let (mut head, body) = request.into_parts();
    let host = HeaderValue::try_from(behind.addr.to_string())
        .map_err(|_| Failure::Process("an address that fits no header".to_owned()))?;
    head.headers.insert(HOST, host);
    head.headers.remove(CONNECTION);
    head.headers.remove(TRANSFER_ENCODING);
    if behind.pool || !behind.strip.is_empty() {
        let path = head.uri.path_and_query().map_or("/", |it| it.as_str());
        let path = path.strip_prefix(&behind.strip).unwrap_or(path);
        let uri = if behind.pool { format!("http://{}{path}", behind.addr) } else { path.into() };
        head.uri = uri.parse().map_err(|_| Failure::Peer(format!("{uri} is no path")))?;
    }
    let body = match behind.collect && head.method == hyper::Method::POST {
        true => Reply::Full(Some(read(body).await?)),
        false => Reply::Relayed(body),
    };
    Ok(Request::from_parts(head, body))
}

/// Collects a message, and reads id and method: no more than a gateway cannot do without.
async fn read(body: Incoming) -> Result<Bytes> {
    let body = http::whole(body).await?;
    let envelope = Envelope::read(&body)?;
    std::hint::black_box((envelope.id, envelope.method()));
    Ok(body)
}

async fn connect(behind: &Behind, tasks: &TaskTracker) -> Result<SendRequest<Reply>> {
    let stream = TcpStream::connect(behind.addr).await.map_err(Failure::io("connecting"))?;
    stream.set_nodelay(true).map_err(Failure::io("TCP_NODELAY"))?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(Failure::http("connecting"))?;
    // Its error reaches the request that suffers from it.
    tasks.spawn(async move { drop(connection.await) });
    Ok(sender)
}
