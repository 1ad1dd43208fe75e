//! Transports that are nothing but a function, ids and errors of transports.

use std::{io, sync::Arc, time::Duration};

use futures::FutureExt;
use mcp_jsonrpc::{
    Message,
    transport::{
        Caller, ErrorKind, EventId, Exchange, Opening, Reply, SessionId, Transport, TransportError,
        func::from_fn,
    },
};

#[tokio::test]
async fn a_function_is_a_transport() {
    let echo = from_fn(async |exchange: Exchange| Ok(Reply::Single(exchange.message)));
    let caller = Caller::anonymous();
    let opening = Opening { caller: caller.clone(), version: None, at: Arc::from("/") };
    let session = echo.open(opening).await.unwrap();
    assert!(session.is_open());
    assert_eq!(session.endpoint().session, None);
    let ping = Message::parse(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).unwrap();
    let reply = session.send(Exchange::new(ping.clone(), caller.clone())).await.unwrap();
    let Reply::Single(reply) = reply else { panic!("no single reply") };
    assert_eq!(reply.as_bytes(), ping.as_bytes());
    let mut events = session.listen(None).await.unwrap();
    assert!(futures::StreamExt::next(&mut events).now_or_never().is_none());
    session.close().await;
    let id = SessionId::new("0123456789").unwrap();
    assert_eq!(*echo.find(&id, &caller).unwrap_err().kind(), ErrorKind::NoSession);
}

#[test]
fn session_ids_are_visible_ascii_and_stay_secret() {
    assert!(SessionId::new(&"x".repeat(2048)).is_some());
    for none in ["", "a b", "ü", "a\n", "\u{7f}", &"x".repeat(2049)] {
        assert_eq!(SessionId::new(none), None);
    }
    let id = SessionId::new("0123456789abcdef0123456789abcdef").unwrap();
    assert_eq!(id.short(), "abcdef");
    assert_eq!(format!("{id:?}"), "SessionId(…abcdef)");
    let short = SessionId::new("hunter2hunter2hunter2!!!").unwrap();
    assert_eq!(format!("{short:?}"), "SessionId(……)");
}

#[test]
fn event_ids_go_on_one_line() {
    assert_eq!(EventId::new("7-ü 3").unwrap().as_str(), "7-ü 3");
    for none in ["", "a\nb", "a\r", "\0"] {
        assert_eq!(EventId::new(none), None);
    }
}

#[test]
fn errors_have_a_reader_each() {
    let server: Arc<str> = Arc::from("files");
    let other: Arc<str> = Arc::from("other");
    let source = io::Error::other("/home/ann/.secret: permission denied");
    let error = TransportError::new(ErrorKind::Status(502), "it answered with an error")
        .of(&server)
        .of(&other)
        .hint("look at its log")
        .because(source);
    assert_eq!(
        error.said().to_string(),
        "server `files`: it answered with an error (HTTP 502); look at its log"
    );
    assert!(error.to_string().ends_with("look at its log: /home/ann/.secret: permission denied"));
    assert_eq!(error.server(), Some("files"));
    assert!(!error.is_unsent());
    assert!(error.unsent().is_unsent());
    let retry_after = Some(Duration::from_secs(1));
    for (kind, unsent) in [
        (ErrorKind::NoSession, true),
        (ErrorKind::Unavailable { retry_after }, true),
        (ErrorKind::Closed, false),
        (ErrorKind::Timeout, false),
    ] {
        assert_eq!(TransportError::new(kind, "x").is_unsent(), unsent);
    }
}
