//! Calls that a server does in the background, and clients that know other tasks, or none.

use serde_json::{Value, json};

use super::modern::Modern;
use crate::{
    client::{Client, Front, capabilities},
    process::until,
    rig::{Gateway, folder, servers},
};

/// What each server begins with: one line after the other, of which `$id` is the id.
const READ: &str = r#"
say() { printf '{"jsonrpc":"2.0","id":%s,"result":{%s}}\n' "$1" "$2"; }
text() { say "$1" '"resultType":"complete","content":[{"type":"text","text":"'"$2"'"}]'; }
s=none
while IFS= read -r line; do
    id=${line#*\"id\":}; id=${id%%[,\}]*}
    case $line in
"#;

/// A server of 2026-07-28. `slow` is done as a task alone: it says how far it is, asks, and ends;
/// `for-ever` does not end; `ended` says whether that was ended.
const MODERN: &str = r#"
    *'"method":"server/discover"'*) say "$id" '"resultType":"complete","supportedVersions":["2026-07-28"],
"capabilities":{"tools":{},"extensions":{"io.modelcontextprotocol/tasks":{}}},"ttlMs":0,"cacheScope":"private"' | tr -d '\n'; echo ;;
    *'"name":"ended"'*) [ -e "$0" ] && c=yes || c=no; text "$id" $c ;;
    *'"method":"tools/call"'*'modelcontextprotocol/tasks":{}'*)
        s=half; case $line in *'"name":"for-ever"'*) s=ever ;; esac
        task '"resultType":"task","status":"working","statusMessage":"begun"' ;;
    *'"method":"tools/call"'*) error -32021 '{"requiredCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}' ;;
    *'"method":"tasks/'*'"taskId":"t-1"'*)
        case $line in
        *'"method":"tasks/get"'*)
            case $s in
            half) s=asks; task '"resultType":"complete","status":"working","statusMessage":"half"' ;;
            asks) task '"resultType":"complete","status":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"mode":"form","message":"Go on?","requestedSchema":{"type":"object","properties":{}}}}}' ;;
            done) task '"resultType":"complete","status":"completed","result":{"content":[{"type":"text","text":"done"}]}' ;;
            *) task '"resultType":"complete","status":"working","statusMessage":"on"' ;;
            esac ;;
        *'"method":"tasks/update"'*) s=done; say "$id" '"resultType":"complete"' ;;
        *'"method":"tasks/cancel"'*) : > "$0"; say "$id" '"resultType":"complete"' ;;
        esac ;;
    *'"method":"subscriptions/listen"'*'"t-1"'*) error -32000 null ;;
    *'"method":"tasks/'*|*'"method":"subscriptions/listen"'*) error -32602 null ;;
    esac
done
"#;

/// The same for a server of 2025-11-25, which says so in its list of tools; its refusal looks like
/// a result of the tool's, as that of a widespread library does.
const LEGACY: &str = r#"
    *'"method":"initialize"'*) say "$id" '"protocolVersion":"2025-11-25","capabilities":{"tools":{},"tasks":{"cancel":{},"requests":{"tools":{"call":{}}}}},"serverInfo":{"name":"script","version":"1"}' ;;
    *'"method":"tools/list"'*) say "$id" '"tools":[{"name":"slow","inputSchema":{"type":"object"},"execution":{"taskSupport":"required"}},{"name":"for-ever","inputSchema":{"type":"object"},"execution":{"taskSupport":"required"}},{"name":"ended","inputSchema":{"type":"object"}}]' ;;
    *'"name":"ended"'*) [ -e "$0" ] && c=yes || c=no; text "$id" $c ;;
    *'"method":"tools/call"'*'"task":{}'*)
        s=slow; case $line in *'"name":"for-ever"'*) s=ever ;; esac
        say "$id" '"task":{"taskId":"t-1","status":"working","statusMessage":"begun","createdAt":"2025-11-25T00:00:00Z","lastUpdatedAt":"2025-11-25T00:00:00Z","ttl":null}' ;;
    *'"method":"tools/call"'*) text "$id" 'it is a task alone' ;;
    *'"method":"tasks/result"'*) w=$id
        [ $s = ever ] || printf '{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"Go on?","requestedSchema":{"type":"object","properties":{}},"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t-1"}}}}\n' ;;
    *'"method":"tasks/cancel"'*) : > "$0"; say "$id" '"taskId":"t-1","status":"cancelled","createdAt":"2025-11-25T00:00:00Z","lastUpdatedAt":"2025-11-25T00:00:00Z","ttl":null' ;;
    *'"result"'*'"accept"'*) say "$w" '"content":[{"type":"text","text":"done"}],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t-1"}}' ;;
    esac
done
"#;

/// What the server of 2026-07-28 says in several places.
const WORDS: &str = r#"
task() { say "$id" '"taskId":"t-1","createdAt":"2026-07-28T00:00:00Z","lastUpdatedAt":"2026-07-28T00:00:00Z","ttlMs":null,"pollIntervalMs":50,'"$1"; }
error() { printf '{"jsonrpc":"2.0","id":%s,"error":{"code":%s,"message":"refused by the server","data":%s}}\n' "$id" "$1" "$2"; }
"#;

fn gateway(script: &str, settings: &Value) -> Gateway {
    // In a configuration `$` begins a reference.
    let script = format!("{WORDS}{READ}{script}").replace('$', "$$");
    let dir = folder();
    // Each call may have a process of its own: they know of each other by a file.
    let ended = dir.path().join("ended").display().to_string();
    let mut config = servers(json!({ "it": { "command": "sh", "args": ["-c", script, ended] } }));
    config["gateway"] = settings.clone();
    Gateway::start_in(dir, &config, &["--listen", "127.0.0.1:0"])
}

#[test]
fn a_client_with_a_handshake_waits_for_what_a_modern_server_does_in_the_background() {
    let gateway = gateway(MODERN, &json!({}));
    for front in [Front::Sse, Front::Streamable, Front::Unlistening, Front::Stdio] {
        for revision in ["2025-06-18", "2025-11-25"] {
            let mut client = Client::connect(&gateway, front, "it");
            let hello = client.initialize(revision, &capabilities());
            assert!(!hello["capabilities"].to_string().contains("tasks"), "{hello}");
            let id = client.begin_call("slow", json!({}));
            for words in ["begun", "half"] {
                let told = client.told("notifications/progress")["params"].clone();
                assert_eq!(
                    (&told["progressToken"], &told["message"]),
                    (&json!("p"), &json!(words))
                );
            }
            let asked = client.told("elicitation/create");
            assert_eq!(asked["params"]["message"], "Go on?", "{front:?}");
            client.reply(&asked, json!({ "action": "accept", "content": {} }));
            assert_eq!(client.text(id), "done", "{front:?} {revision}");
        }
    }
    let mut client = Client::begin(&gateway, Front::Streamable, "it");
    let id = client.begin_call("for-ever", json!({}));
    client.told("notifications/progress");
    let gone = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } });
    client.say(&gone.to_string());
    until("the end of the task", || (client.call("ended", json!({})) == "yes").then_some(()));
}

#[test]
fn a_modern_client_waits_for_what_a_server_with_a_handshake_does_as_a_task_alone() {
    let gateway = gateway(LEGACY, &json!({}));
    let mut client = Modern::new(&gateway, "it");
    client.meta = json!({ "progressToken": "p" });
    let tools = client.result("tools/list", json!({}))["tools"].clone();
    assert!(tools[0]["name"] == "slow" && tools[0]["execution"].is_null(), "{tools}");
    let reply = |asked: &Value| {
        assert_eq!(asked["method"], "elicitation/create");
        assert!(!asked.to_string().contains("related-task"), "{asked}");
        json!({ "action": "accept", "content": {} })
    };
    let (said, rounds) = client.converse("slow", &json!({}), reply);
    assert_eq!((said.text().as_str(), rounds), ("done", 1));
    assert!(!said.answer.to_string().contains("related-task"), "{said:?}");
    let call = json!({ "name": "for-ever", "arguments": {} });
    let mut stream = super::modern::Stream(client.open(&json!(1), "tools/call", call));
    assert_eq!(stream.told("notifications/progress")["params"]["message"], "begun");
    drop(stream);
    until("the end of the task", || (client.text("ended", json!({})) == "yes").then_some(()));
}

#[test]
fn a_task_between_modern_peers_is_its_callers() {
    let settings = json!({
        "tokens": { "ann": { "secret": "of-ann-0123456789" }, "bob": { "secret": "of-bob-0123456789" } },
    });
    let house = gateway(MODERN, &settings);
    let mut ann = Modern::new(&house, "it").with_token("of-ann-0123456789");
    ann.capabilities = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let bob = ann.with_token("of-bob-0123456789");
    let begun = ann.result("tools/call", json!({ "name": "slow", "arguments": {} }));
    assert_eq!(begun["resultType"], "task", "{begun}");
    let task = json!({ "taskId": begun["taskId"] });
    let got = ann.result("tasks/get", task.clone());
    assert_eq!((&got["taskId"], &got["statusMessage"]), (&begun["taskId"], &json!("half")));
    for named in [task.clone(), json!({ "taskId": "t-1" })] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            let error = bob.error(method, named.clone());
            assert_eq!(error["code"], -32602, "{method}: {error}");
            assert!(error["message"].as_str().unwrap().contains("by the server"), "{error}");
        }
        let listen = json!({ "notifications": { "taskIds": [named["taskId"]] } });
        assert_eq!(bob.error("subscriptions/listen", listen)["code"], -32602);
    }
    assert_eq!(ann.text("ended", json!({})), "no", "nobody else ended it");
    let answers =
        json!({ "taskId": task["taskId"], "inputResponses": { "k": { "action": "accept" } } });
    ann.result("tasks/update", answers);
    assert_eq!(ann.result("tasks/get", task)["result"]["content"][0]["text"], "done");
    // Without tokens there is nobody to be told from others.
    let open = gateway(MODERN, &json!({}));
    let mut nobody = Modern::new(&open, "it");
    nobody.capabilities = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let begun = nobody.result("tools/call", json!({ "name": "slow", "arguments": {} }));
    assert_eq!(begun["taskId"], "t-1");
    assert_eq!(nobody.result("tasks/get", json!({ "taskId": "t-1" }))["status"], "working");
}
