use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{Filter, Gathering, Glob, Limits, Member, Rule, Settings, Shape};

fn member(server: &str, tools: &[Value]) -> Member {
    let mut gathering = Gathering::new(Limits::default());
    gathering.page(List::Tools, &to_raw_value(&json!({ "tools": tools })).unwrap()).unwrap();
    Member {
        server: server.into(),
        alias: server.into(),
        prefix: None,
        catalogue: Arc::new(gathering.finish(None)),
        shapes: Vec::new(),
        is_there: true,
    }
}

fn tool(name: &str, description: &str) -> Value {
    json!({
        "name": name, "description": description,
        "inputSchema": { "type": "object", "properties": { "path": { "description": "Where." } } },
    })
}

fn view() -> View {
    let fs = member(
        "fs",
        &[
            tool("read_file", "Reads a text file.\nAll of it."),
            tool("write_file", "Writes a file."),
            tool("search", "Looks for files by their names."),
        ],
    );
    let web = member(
        "web",
        &[
            tool("search", "Searches the web for pages."),
            tool("fetch", "Gets a page, and reads it."),
        ],
    );
    View::new(vec![fs, web], Settings::default()).unwrap()
}

fn found<'a>(index: &'a Index, query: &str) -> Vec<&'a str> {
    index.search(query, 10).into_iter().map(|it| it.name).collect()
}

#[test]
fn the_best_comes_first() {
    let index = Index::new(&view());
    assert_eq!(index.len(), 5);
    assert_eq!(found(&index, "read a file")[0], "read_file");
    assert_eq!(found(&index, "search the web")[0], "web__search");
    assert_eq!(found(&index, "find file by name")[0], "fs__search");
    assert_eq!(found(&index, "Pages"), ["fetch", "web__search"], "the shorter text first");
    assert_eq!(found(&index, "writ"), ["write_file"], "a beginning will do");
    assert_eq!(found(&index, "wr"), Vec::<&str>::new(), "but not of two letters");
    assert_eq!(found(&index, " fetch ")[0], "fetch");
    assert_eq!(found(&index, "quux"), Vec::<&str>::new());
    assert_eq!(found(&index, &"read ".repeat(10_000))[0], "read_file");
    assert_eq!(index.search("file", 1).len(), 1);
    assert!(Index::default().is_empty() && Index::default().search("x", 5).is_empty());
}

fn ask(tool: &str, arguments: &str) -> Result<Value, String> {
    let view = view();
    let index = Index::new(&view);
    let request = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments},"_meta":{{"progressToken":1e2}}}}}}"#
    );
    match call(&view, &index, &Message::parse(request).unwrap()).unwrap() {
        Some(Called::Answer(answer)) => Ok(answer.read().unwrap()),
        Some(Called::Forward(request)) => Err(request.body().unwrap().to_owned()),
        None => Err("of none of the three".to_owned()),
    }
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

#[test]
fn tools_that_are_found_described_and_called() {
    let result = ask(SEARCH, r#"{"query":"read","limit":1}"#).unwrap();
    assert_eq!(
        text(&result),
        r#"{"of":5,"tools":[{"description":"Reads a text file.","name":"read_file"}]}"#
    );
    let nothing = ask(SEARCH, r#"{"query":"quux"}"#).unwrap();
    assert!(text(&nothing).contains("try other words"));
    for limit in ["0", "-3", "1e300"] {
        let result = ask(SEARCH, &format!(r#"{{"query":"read","limit":{limit}}}"#)).unwrap();
        assert!(text(&result).contains("read_file"), "{limit}");
    }
    let described = ask(DESCRIBE, r#"{"name":"read_file"}"#).unwrap();
    let tool: Value = serde_json::from_str(text(&described)).unwrap();
    assert_eq!(tool["inputSchema"]["properties"]["path"]["description"], "Where.");
    let by_another_name = ask(DESCRIBE, r#"{"name":"fs__read_file"}"#).unwrap();
    assert_eq!(text(&by_another_name), text(&described));
    assert_eq!(
        ask(CALL, r#"{"name":"read_file","arguments":{"path": 1e400}}"#).unwrap_err(),
        r#"{"name":"read_file","arguments":{"path": 1e400},"_meta":{"progressToken":1e2}}"#
    );
    assert_eq!(
        ask(CALL, r#"{"name":"x"}"#).unwrap_err(),
        r#"{"name":"x","_meta":{"progressToken":1e2}}"#
    );
    assert_eq!(ask("read_file", "{}").unwrap_err(), "of none of the three");
}

#[test]
fn no_search_finds_more_than_so_many() {
    let tools: Vec<Value> = (0..60).map(|it| tool(&format!("t{it}"), "Reads.")).collect();
    let view = View::new(vec![member("a", &tools)], Settings::default()).unwrap();
    let index = Index::new(&view);
    for (limit, count) in [("", 10), (r#","limit":49"#, 49), (r#","limit":1000"#, FOUND_MAX)] {
        let params = format!(r#"{{"name":"search_tools","arguments":{{"query":"read"{limit}}}}}"#);
        let params: &RawValue = serde_json::from_str(&params).unwrap();
        let request = Message::request(&1.into(), "tools/call", &params).unwrap();
        let Some(Called::Answer(answer)) = call(&view, &index, &request).unwrap() else { panic!() };
        let found: Value = serde_json::from_str(text(&answer.read().unwrap())).unwrap();
        assert_eq!(found["tools"].as_array().unwrap().len(), count);
    }
}

#[test]
fn what_went_wrong_is_for_the_model_to_read() {
    let unknown = ask(DESCRIBE, r#"{"name":"read_files"}"#).unwrap();
    assert_eq!(unknown["isError"], true);
    let words = text(&unknown);
    assert!(words.starts_with("Unknown tool: read_files. Similar: read_file"), "{words}");
    let contested = ask(DESCRIBE, r#"{"name":"search"}"#).unwrap();
    assert!(text(&contested).contains("fs__search"));
    for tool in [SEARCH, DESCRIBE, CALL] {
        let wrong = ask(tool, "{}").unwrap();
        assert_eq!(wrong["isError"], true);
        assert!(text(&wrong).contains("missing field"), "{wrong}");
    }
}

#[test]
fn the_three_are_tools_like_others() {
    let mut gathering = Gathering::new(Limits::default());
    let page = to_raw_value(&json!({ "tools": tools().unwrap() })).unwrap();
    gathering.page(List::Tools, &page).unwrap();
    let made = gathering.finish(None);
    assert!(made.shortfalls().is_empty());
    let names: Vec<&str> = made.list(List::Tools).iter().map(crate::Entry::key).collect();
    assert_eq!(names, [CALL, DESCRIBE, SEARCH]);
    assert!(made.entry(List::Tools, SEARCH).unwrap().hints().read_only);
    assert!(!made.entry(List::Tools, CALL).unwrap().hints().read_only);
}

proptest! {
    #[test]
    fn what_is_hidden_is_never_found(pattern in "[a-z_*]{1,4}\\*", query in "[a-z_ ]{0,12}") {
        let glob = Glob::new(&pattern);
        let shown = view();
        let members = shown.members().iter().cloned().map(|mut it| {
            let deny = vec![Rule::Name(glob.clone())];
            let tools = Filter { allow: None, deny };
            it.shapes.push(Arc::new(Shape { tools, ..Shape::default() }));
            it
        });
        let view = View::new(members.collect(), Settings::default()).unwrap();
        let index = Index::new(&view);
        for hit in index.search(&query, FOUND_MAX) {
            let found = view.find(List::Tools, hit.name).unwrap();
            prop_assert!(!glob.matches(found.original));
        }
    }
}
