//! Servers of which only the URL is known.

use super::*;

/// A server that takes POSTs to its one URL with `status`, and may open event streams there.
async fn auto(
    status: &'static str,
    body: &'static str,
    opens: bool,
) -> (Auto, mpsc::Receiver<String>) {
    let (heard, hear) = mpsc::channel(30);
    let streams = Arc::new(tokio::sync::Mutex::new(None::<TcpStream>));
    let address = raw::serve(move |request, mut stream| {
        let streams = Arc::clone(&streams);
        heard.try_send(format!("{} {}", request.method, request.path)).unwrap();
        async move {
            match (request.method.as_str(), request.path.as_str()) {
                ("GET", "/x") if opens => {
                    raw::events(&mut stream, "").await;
                    stream.write_all(b"event: endpoint\ndata: /m?sessionId=1\n\n").await.unwrap();
                    *streams.lock().await = Some(stream);
                    None
                }
                ("POST", "/m") | ("POST", "/m?sessionId=1") => {
                    let answer = empty_result(&request);
                    raw::event(streams.lock().await.as_mut().unwrap(), &answer).await;
                    raw::reply(stream, "202 Accepted", "", "").await
                }
                _ if status == "200 OK" => proper(request, stream).await,
                _ => raw::reply(stream, status, "", body).await,
            }
        }
    })
    .await;
    let target = || target(&format!("http://{address}/x"));
    let http = HttpClient::default();
    let sse = sse::Connect::new(target(), http.clone(), sse::ClientOptions::default());
    (Auto::new(Connect::new(target(), http, quick()), sse), hear)
}

#[tokio::test]
async fn a_url_of_unknown_kind() {
    let rpc = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32000,"message":"old words"}}"#;
    let modern = r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32022,"message":"new words"}}"#;
    let (post, get, message) = ("POST /x", "GET /x", "POST /m?sessionId=1");
    for (status, body, opens, first, second) in [
        ("200 OK", "", true, vec![post], vec![post]),
        ("405 Method Not Allowed", "", true, vec![post, get, message], vec![get, message]),
        ("404 Not Found", "<html>", true, vec![post, get, message], vec![get, message]),
        ("400 Bad Request", rpc, true, vec![post, get, message], vec![get, message]),
    ] {
        let (auto, mut hear) = auto(status, body, opens).await;
        for expect in [first, second] {
            let session = open(&auto).await;
            assert!(single(session.send(request(0, "initialize")).await).is_answer());
            for expect in expect {
                assert_eq!(hear.recv().await.unwrap(), expect, "{status}");
            }
            // What is over Streamable HTTP is told of the end.
            session.close().await;
            while let Ok(heard) = hear.try_recv() {
                assert_eq!(heard, "DELETE /x");
            }
        }
    }

    for (status, body, words) in [
        ("404 Not Found", "", "neither Streamable HTTP"),
        ("400 Bad Request", rpc, "old words"),
        ("400 Bad Request", modern, "new words"),
        ("500 Oops", "", "it failed (HTTP 500)"),
    ] {
        let (auto, mut hear) = auto(status, body, false).await;
        let session = open(&auto).await;
        let said = match session.send(request(0, "initialize")).await {
            Ok(reply) => single(Ok(reply)).body().unwrap().to_owned(),
            Err(error) => error.said().to_string(),
        };
        assert!(said.contains(words), "{said}");
        assert_eq!(hear.recv().await.unwrap(), post);
        let falls_back = status.starts_with("404") || body == rpc;
        assert_eq!(hear.try_recv().is_ok(), falls_back, "{status} {body}");
        assert!(session.send(call(1)).await.is_err());
    }
}
