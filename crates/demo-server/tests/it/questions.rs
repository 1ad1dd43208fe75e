//! What the server asks its client, and how.

use std::time::Duration;

use demo_server::DemoServer;
use futures::{FutureExt, StreamExt};
use mcp_jsonrpc::{
    Id, Message, ProtocolVersion, RpcError,
    transport::{Event, Reply},
};
use serde_json::{Value, json};

use crate::rig::{Client, value};

/// Answers everything as a person, a model and a client would.
fn answer(method: &str, params: &Value) -> Result<Value, RpcError> {
    Ok(match method {
        "elicitation/create" => {
            assert_eq!(params["requestedSchema"]["required"], json!(["name"]));
            json!({ "action": "accept", "content": { "name": "x" } })
        }
        "sampling/createMessage" => json!({
            "role": "assistant", "model": "m", "content": { "type": "text", "text": "hi" },
        }),
        "roots/list" => json!({ "roots": [{ "uri": "file:///a" }, { "uri": "file:///b" }] }),
        _ => panic!("asked for {method}"),
    })
}

#[tokio::test]
async fn questions_travel_in_the_reply_of_their_call() {
    for version in ProtocolVersion::LEGACY {
        let mut client = Client::new(version).await;
        let mut listener = client.session.listen(None).await.unwrap();
        client.answering(answer);
        assert_eq!(client.call("ask-sampling", json!({})).await, "m said: hi");
        assert_eq!(client.call("ask-roots", json!({})).await, "2 roots: file:///a file:///b");
        let elicited = client.call("ask-elicitation", json!({})).await;
        let has_elicitation = ProtocolVersion::V2025_06_18 <= version;
        let expect = if has_elicitation { r#"accepted: {"name":"x"}"# } else { "-32602" };
        assert_eq!(elicited, expect, "{version}");
        assert!(client.waiting(&mut listener).is_empty());
    }
}

#[tokio::test]
async fn nobody_is_asked_for_what_he_did_not_declare() {
    for (declared, elicitation) in [
        (json!({}), "!"),
        (json!({ "elicitation": {} }), "a"),
        (json!({ "elicitation": { "form": {} } }), "a"),
        (json!({ "elicitation": { "url": {} } }), "!"),
    ] {
        let server = DemoServer::default();
        let mut client = Client::of(&server, ProtocolVersion::V2025_11_25, declared).await;
        client.answering(answer);
        for tool in ["ask-sampling", "ask-roots"] {
            let said = client.call(tool, json!({})).await;
            assert!(said.starts_with("!the client did not declare"), "{said}");
        }
        assert!(client.call("ask-elicitation", json!({})).await.starts_with(elicitation));
    }
}

#[tokio::test]
async fn refusals_and_nonsense_are_told_apart() {
    let mut client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    for (action, says) in [("decline", "declined"), ("cancel", "cancelled")] {
        client.answering(move |_, _| Ok(json!({ "action": action })));
        assert_eq!(client.call("ask-elicitation", json!({})).await, says);
    }
    client.answering(|_, _| Err(RpcError::new(RpcError::USER_REJECTED, "no")));
    assert_eq!(client.call("ask-sampling", json!({})).await, "!the client refused: no (-1)");
    client.answering(|_, _| Ok(json!({})));
    for tool in ["ask-sampling", "ask-roots", "ask-elicitation"] {
        assert_eq!(client.call(tool, json!({})).await, "!the client's answer is none");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_not_awaited_for_ever() {
    let client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    let mut listener = client.session.listen(None).await.unwrap();
    let start = tokio::time::Instant::now();
    let params = json!({ "name": "ask-roots" });
    let call = Message::request(&Id::from(9), "tools/call", &params).unwrap();
    let Reply::Stream(mut events) = client.send(call).await.unwrap() else { panic!("no stream") };
    let question = events.next().await.unwrap().unwrap();
    let Some(Ok(Event::Message { message: answer, .. })) = events.next().await else {
        panic!("no answer");
    };
    assert_eq!(value(&answer)["result"]["isError"], true);
    assert_eq!(start.elapsed(), Duration::from_secs(600));
    let told = client.waiting(&mut listener);
    assert_eq!(told[0]["method"], "notifications/cancelled");
    let Event::Message { message: question, .. } = question else { panic!("a pause") };
    assert_eq!(told[0]["params"]["requestId"], value(&question)["id"]);
}

#[tokio::test]
async fn a_question_of_a_cancelled_call_is_taken_back() {
    let client = Client::new(ProtocolVersion::LATEST_LEGACY).await;
    let mut listener = client.session.listen(None).await.unwrap();
    let params = json!({ "name": "ask-roots" });
    let call = Message::request(&Id::from(9), "tools/call", &params).unwrap();
    let Reply::Stream(mut events) = client.send(call).await.unwrap() else { panic!("no stream") };
    assert!(events.next().await.unwrap().is_ok());
    assert!(events.next().now_or_never().is_none());
    drop(events);
    let told = client.waiting(&mut listener);
    assert_eq!(told[0]["method"], "notifications/cancelled");
    // The answer was on its way already: nobody minds.
    let late = Message::response(&Id::from(1), &json!({ "roots": [] })).unwrap();
    assert!(matches!(client.send(late).await, Ok(Reply::Accepted)));
}
