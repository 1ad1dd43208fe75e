//! What the server half makes of failures.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_late_failure_comes_down_the_stream() {
    let rig = Rig::new(fake(async |exchange: Exchange| {
        if exchange.message.method() == Some("initialize") {
            return echo(exchange).await;
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        Err(TransportError::new(ErrorKind::Closed, "it died").of(&Arc::from("pg")))
    }))
    .await;
    let response = rig.post(&[("mcp-session-id", ID), ("accept", BOTH)], call(1)).await;
    let messages = messages(response).await;
    assert_eq!(messages[0]["id"], 1);
    assert_eq!(messages[0]["error"], json!({ "code": -32603, "message": "server `pg`: it died" }));
}

#[tokio::test]
async fn a_failed_request_is_answered_with_200() {
    let rig = Rig::new(fake(async |exchange: Exchange| match exchange.message.id() {
        Some(Id::Number(0)) => echo(exchange).await,
        Some(Id::Number(1)) => Err(TransportError::new(ErrorKind::Closed, "it died")),
        Some(Id::Number(2)) => Err(TransportError::new(ErrorKind::NoSession, "over")),
        Some(Id::Number(3)) => Err(TransportError::new(ErrorKind::Invalid(-32600), "in use")),
        Some(Id::Number(4)) => Ok(Reply::Accepted),
        Some(_) => Ok(Reply::Stream(stream::iter([Ok(note(1))]).boxed())),
        None => Err(TransportError::new(ErrorKind::Closed, "it died")),
    }))
    .await;
    let fields = [("mcp-session-id", ID), ("accept", BOTH)];
    for (id, status, code) in
        [(1, 200, -32603), (2, 404, -32600), (3, 400, -32600), (4, 200, -32603)]
    {
        let response = rig.post(&fields, call(id)).await;
        assert_eq!(response.status(), status, "{id}");
        let answer = value(response).await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(id), &json!(code)));
    }
    let messages = messages(rig.post(&fields, call(5)).await).await;
    assert_eq!((&messages[1]["id"], &messages[1]["error"]["code"]), (&json!(5), &json!(-32603)));
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
    assert_eq!(rig.post(&fields, notification).await.status(), 502);
}

#[tokio::test]
async fn a_session_that_does_not_open() {
    let kind = ErrorKind::Unavailable { retry_after: Some(Duration::from_secs(3)) };
    let error = TransportError::new(kind, "still starting").of(&Arc::from("pg"));
    let transport = fake(echo).refusing(error);
    let server = Server::new(Arc::new(transport), "/a/mcp", ServerOptions::default());
    let request = Request::post("/a/mcp").body(Outgoing::whole(initialize())).unwrap();
    let response = server.handle(request, Caller::anonymous()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "3");
    let answer = value(response).await;
    assert_eq!(
        (&answer["id"], &answer["error"]["message"]),
        (&json!(0), &json!("server `pg`: still starting"))
    );
}

#[tokio::test]
async fn a_session_that_does_not_begin_is_closed() {
    for answer in ["error", "failure", "dropped"] {
        let transport = fake(move |exchange: Exchange| async move {
            match answer {
                "error" => {
                    let error = mcp_jsonrpc::RpcError::new(-32602, "no");
                    Ok(Reply::Single(Message::error(exchange.message.id(), &error).unwrap()))
                }
                "failure" => Err(TransportError::new(ErrorKind::Closed, "it died")),
                _ => future::pending().await,
            }
        });
        let server = Server::new(Arc::new(transport.clone()), "/a/mcp", ServerOptions::default());
        let request = Request::post("/a/mcp").body(Outgoing::whole(initialize())).unwrap();
        let handling = server.handle(request, Caller::anonymous());
        match tokio::time::timeout(Duration::from_millis(20), handling).await {
            Ok(response) => {
                assert_eq!(response.status(), if answer == "error" { 200 } else { 502 });
                assert!(!response.headers().contains_key("mcp-session-id"));
            }
            Err(_) => assert_eq!(answer, "dropped"),
        }
        transport.until_closed(1).await;
    }
}

#[tokio::test]
async fn bodies_that_are_no_message() {
    let options = ServerOptions { body_len_max: 200, ..ServerOptions::default() };
    let rig = Rig::with(fake(echo), options).await;
    for (body, status, code, id) in [
        ("{".to_owned(), 400, -32700, Value::Null),
        (r#"{"id":7,"method":"x"}"#.to_owned(), 400, -32600, json!(7)),
        (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#.to_owned(), 400, -32600, Value::Null),
        ("x".repeat(201), 413, -32600, Value::Null),
    ] {
        let response = rig.post(&[("mcp-session-id", ID)], body).await;
        assert_eq!(response.status(), status);
        let answer = value(response).await;
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let rig = Rig::new(fake(echo)).await;
    let silent = http_body_util::StreamBody::new(stream::pending::<
        Result<hyper::body::Frame<Bytes>, std::io::Error>,
    >());
    let request = Request::post("/a/mcp").body(silent).unwrap();
    let response = rig.server.handle(request, Caller::anonymous()).await;
    assert_eq!(response.status(), 408);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_takes_long_to_close() {
    let rig = Rig::new(fake(echo).never_closed()).await;
    let start = Instant::now();
    let response = rig.request("DELETE", &[("mcp-session-id", ID)], String::new()).await;
    assert_eq!((response.status().as_u16(), start.elapsed().as_secs()), (204, 5));
}

#[tokio::test]
async fn two_sessions_named_at_once_are_none() {
    let rig = Rig::new(fake(echo)).await;
    let fields = [("mcp-session-id", ID), ("mcp-session-id", "another")];
    assert_eq!(rig.post(&fields, call(1)).await.status(), 404);
}
