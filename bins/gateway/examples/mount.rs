//! The gateway under a path of somebody else's hyper service.
//!
//! ```sh
//! cargo run --example mount
//! curl http://127.0.0.1:8080/             # the service's own page
//! curl http://127.0.0.1:8080/tools/status # the gateway's
//! ```
//!
//! MCP clients use `http://127.0.0.1:8080/tools/demo/mcp`.

use std::{convert::Infallible, error::Error, sync::Arc};

use gateway::{assemble, door::Door};
use gateway_config::Config;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use transport_sse::body::Outgoing;

/// Where the gateway is mounted.
const MOUNT: &str = "/tools";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::demo();
    config.base_path = MOUNT.to_owned();
    let door = Arc::new(assemble::door(&config)?);
    door.start();

    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    let connections = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let door = Arc::clone(&door);
        let service = service_fn(move |request| {
            let door = Arc::clone(&door);
            async move { Ok::<_, Infallible>(answer(&door, request).await) }
        });
        connections.spawn(async move {
            let http = auto::Builder::new(TokioExecutor::new());
            // A connection that ends badly is its client's affair.
            http.serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}

/// The service: what is below the mount is the gateway's, all else its own.
async fn answer(door: &Door, request: Request<Incoming>) -> Response<Outgoing> {
    let path = request.uri().path();
    match path.strip_prefix(MOUNT) {
        Some(below) if below.is_empty() || below.starts_with('/') => door.answer(request).await,
        _ => Response::new(Outgoing::whole("the service's own page\n")),
    }
}
