use mcp_jsonrpc::transport::func::from_fn;

use super::*;

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a" , "x":1e400},{"name":"b"}],"nextCursor":"c"}}"#;

async fn ask(filter: ToolFilter, text: &'static str) -> String {
    let behind = from_fn(async |exchange: Exchange| {
        let called = exchange.message.method() == Some("tools/call");
        let answer = if called { r#"{"jsonrpc":"2.0","id":1,"result":{}}"# } else { LIST };
        Ok(Reply::Single(Message::parse(answer).unwrap()))
    });
    let filtered = Filtered::new(Arc::new(behind), filter);
    let opening = Opening { caller: Caller::anonymous(), version: None, at: "/".into() };
    let session = filtered.open(opening).await.unwrap();
    let exchange = Exchange::new(Message::parse(text).unwrap(), Caller::anonymous());
    let Reply::Single(answer) = session.send(exchange).await.unwrap() else { panic!("no answer") };
    String::from_utf8(answer.as_bytes().to_vec()).unwrap()
}

const ASK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\u0062"}}"#;

#[tokio::test]
async fn what_is_hidden_is_neither_listed_nor_callable() {
    for filter in [ToolFilter::Allow(["a".into()].into()), ToolFilter::Block(["b".into()].into())] {
        let expect = LIST.replace(r#",{"name":"b"}"#, "");
        assert_eq!(ask(filter.clone(), ASK).await, expect);
        let refused = ask(filter, CALL).await;
        assert!(refused.contains(r#""code":-32602,"message":"Unknown tool: b""#), "{refused}");
    }
    assert!(ask(ToolFilter::Allow(["b".into()].into()), CALL).await.contains("result"));
}
