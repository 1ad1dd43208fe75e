//! HTTP servers that misbehave as they are told: requests are read properly, answers are raw
//! bytes.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

/// A request as it came.
#[derive(Debug)]
pub(crate) struct RawRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl RawRequest {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The id of the message in the body, as JSON.
    pub(crate) fn id(&self) -> String {
        let message: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        message["id"].to_string()
    }

    /// The method of the message in the body, if it has a body, and that a method.
    pub(crate) fn rpc_method_or_none(&self) -> Option<String> {
        let message: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(message["method"].as_str()?.to_owned())
    }
}

/// Reads one request; none at the end of the connection.
pub(crate) async fn read_request(from: &mut (impl AsyncRead + Unpin)) -> Option<RawRequest> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let fields = lines.filter_map(|line| line.split_once(": "));
    let headers: HashMap<_, _> =
        fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let len = headers.get("content-length").map_or(0, |len| len.parse().unwrap());
    let mut body = vec![0; len];
    from.read_exact(&mut body).await.ok()?;
    Some(RawRequest { method, path, headers, body: String::from_utf8(body).unwrap() })
}

/// Serves by calling `answer` with each request and its connection, which it may write to, keep,
/// or drop: given back, the connection goes on.
pub(crate) async fn serve<F>(
    answer: impl Fn(RawRequest, TcpStream) -> F + Send + Sync + 'static,
) -> SocketAddr
where
    F: Future<Output = Option<TcpStream>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, answer) = (TaskTracker::new(), Arc::new(answer));
    let more = tasks.clone();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, token): (_, TaskTrackerToken) = (Arc::clone(&answer), more.token());
            more.spawn(async move {
                while let Some(request) = read_request(&mut stream).await {
                    let Some(next) = answer(request, stream).await else { break };
                    stream = next;
                }
                drop(token);
            });
        }
    });
    address
}

/// Writes a response with a body of known length, and gives the connection back.
pub(crate) async fn reply(
    mut stream: TcpStream,
    status: &str,
    fields: &str,
    body: &str,
) -> Option<TcpStream> {
    let fields = fields.replace('\n', "\r\n");
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{fields}\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await.ok()?;
    Some(stream)
}

/// Writes the head of an event stream that ends with its connection.
pub(crate) async fn events(stream: &mut TcpStream, fields: &str) {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n{}\r\n",
        fields.replace('\n', "\r\n")
    );
    stream.write_all(head.as_bytes()).await.unwrap();
}

/// Writes one event.
pub(crate) async fn event(stream: &mut TcpStream, data: &str) {
    stream.write_all(format!("data: {data}\n\n").as_bytes()).await.unwrap();
}
