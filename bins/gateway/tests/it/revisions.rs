//! A server that comes back in another revision: sessions go on, and what they hear is fitted.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    client::{Client, Front, capabilities},
    rig::{Gateway, folder, servers},
};

const OLD: &str = "2024-11-05";
const NEW: &str = "2025-11-25";

/// Speaks the revision in the file `version`, whatever it is offered. Its tools: `die`; `ask`, which
/// asks for a form and answers with what it heard; and another, which sings and points.
const SERVER: &str = r#"
v=$(cat "$0/version")
say() { printf '%s\n' "$1"; }
while IFS= read -r line; do
    case $line in *'"method":'*) ;; *) continue ;; esac
    case $line in *'"id":'*) ;; *) continue ;; esac
    id=${line#*\"id\":}; id=${id%%[,\}]*}
    case $line in
    *'"method":"initialize"'*)
        say '{"jsonrpc":"2.0","id":'$id',"result":{"protocolVersion":"'$v'","capabilities":{"tools":{"listChanged":true},"tasks":{"list":{}}},"serverInfo":{"name":"turncoat","version":"1"}}}' ;;
    *'"method":"tasks/list"'*)
        say '{"jsonrpc":"2.0","id":'$id',"result":{"tasks":[]}}' ;;
    *'"name":"die"'*) exit 1 ;;
    *'"name":"ask"'*)
        say '{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"Who?","requestedSchema":{"type":"object","properties":{}}}}'
        IFS= read -r heard
        say '{"jsonrpc":"2.0","id":'$id',"result":{"content":[],"structuredContent":{"heard":'"$heard"'}}}' ;;
    *)
        say '{"jsonrpc":"2.0","id":'$id',"result":{"content":[{"type":"audio","data":"AAAA","mimeType":"audio/wav"},{"type":"resource_link","uri":"x:/y","name":"y"}]}}' ;;
    esac
done
"#;

fn speak(dir: &Path, version: &str) {
    fs::write(dir.join("version"), version).unwrap();
}

/// What a client that was told `told` sees of a server that speaks `server`.
#[track_caller]
fn check(client: &mut Client, told: &str, server: &str) {
    let is_bridged = (told, server) == (OLD, NEW);
    let answer = client.ask("tools/call", json!({ "name": "sing" }));
    let content = &answer["result"]["content"];
    if is_bridged {
        assert_eq!(content[0]["resource"]["blob"], "AAAA", "{answer}");
        assert_eq!(content[0]["resource"]["mimeType"], "audio/wav", "{answer}");
        assert_eq!(content[1]["type"], "text", "{answer}");
        assert!(content[1]["text"].as_str().unwrap().contains("x:/y"), "{answer}");
    } else {
        assert_eq!((&content[0]["type"], &content[0]["data"]), (&json!("audio"), &json!("AAAA")));
        assert_eq!(content[1]["type"], "resource_link", "{answer}");
    }

    let id = client.begin_call("ask", json!({}));
    if is_bridged {
        // Its revision has no such question: the server hears that, and nobody is asked.
        let answer = client.answer(id);
        let heard = &answer["result"]["structuredContent"]["heard"];
        assert_eq!((&heard["id"], &heard["error"]["code"]), (&json!("q"), &json!(-32601)));
        assert!(!client.aside.iter().any(|it| it["method"] == "elicitation/create"));
    } else {
        let asked = client.told("elicitation/create");
        client.reply(&asked, json!({ "action": "decline" }));
        let answer = client.answer(id);
        let heard = &answer["result"]["structuredContent"]["heard"];
        assert_eq!(heard["result"]["action"], "decline", "{answer}");
    }

    let answer = client.ask("tasks/list", json!({}));
    if (told, server) == (NEW, OLD) {
        assert_eq!(answer["error"]["code"], -32601, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(OLD), "{answer}");
    } else if told == server {
        assert_eq!(answer["result"]["tasks"], json!([]), "{answer}");
    }
}

/// A session begins with a server of one revision, which dies and comes back in another, and then
/// in the first again.
#[track_caller]
fn turns(front: Front, first: &str, then: &str) {
    let dir = folder();
    let place = dir.path().to_owned();
    speak(&place, first);
    let script = SERVER.replace('$', "$$");
    let entry: Value = json!({ "command": "sh", "args": ["-c", script, place] });
    let config = servers(json!({ "it": entry }));
    let gateway = Gateway::start_in(dir, &config, &["--listen", "127.0.0.1:0"]);
    let mut client = Client::connect(&gateway, front, "it");
    let greeting = client.initialize(NEW, &capabilities());
    assert_eq!(greeting["protocolVersion"], first);
    client.listen();
    let session = client.session();
    check(&mut client, first, first);
    for version in [then, first] {
        speak(&place, version);
        let answer = client.ask("tools/call", json!({ "name": "die" }));
        let words = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(words.contains("`it`"), "{front:?}: {answer}");
        // Whatever it lists may be another now.
        check(&mut client, first, version);
        client.told("notifications/tools/list_changed");
        assert_eq!(client.session(), session);
    }
}

#[test]
fn a_server_that_comes_back_older() {
    [Front::Sse, Front::Streamable, Front::Stdio].into_iter().for_each(|it| turns(it, NEW, OLD));
}

#[test]
fn a_server_that_comes_back_newer() {
    [Front::Sse, Front::Streamable, Front::Stdio].into_iter().for_each(|it| turns(it, OLD, NEW));
}
