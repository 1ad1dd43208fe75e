use std::collections::BTreeSet;

use mcp_jsonrpc::Id;
use proptest::prelude::*;
use seal::Clock;
use serde_json::{Value, json};

use super::*;
use crate::{Filter, Gathering, Glob, Limits, Override, Rule, uris};

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

fn catalogue(pages: &[(List, Value)]) -> Catalogue {
    let mut gathering = Gathering::new(Limits::default());
    for (list, items) in pages {
        gathering.page(*list, &raw(&json!({ list.member(): items }))).unwrap();
    }
    gathering.finish(None)
}

fn member(server: &str, catalogue: Catalogue) -> Member {
    Member {
        server: server.into(),
        alias: server.into(),
        prefix: None,
        catalogue: Arc::new(catalogue),
        shapes: Vec::new(),
        is_there: true,
    }
}

fn tools(server: &str, names: &[&str]) -> Member {
    let tools = names.iter().map(|it| json!({ "name": it })).collect();
    member(server, catalogue(&[(List::Tools, tools)]))
}

fn resources(server: &str, uris: &[&str], templates: &[&str]) -> Member {
    let uris = uris.iter().map(|it| json!({ "uri": it, "name": "x" })).collect();
    let templates = templates.iter().map(|it| json!({ "uriTemplate": it, "name": "x" })).collect();
    member(server, catalogue(&[(List::Resources, uris), (List::Templates, templates)]))
}

fn view(members: Vec<Member>) -> View {
    View::new(members, Settings::default()).unwrap()
}

fn deny(names: &[&str]) -> Filter {
    let deny = names.iter().map(|it| Rule::Name(Glob::new(it))).collect();
    Filter { allow: None, deny }
}

fn keyring() -> Keyring {
    Keyring::fresh(Clock::still(7)).unwrap()
}

#[test]
fn a_list_of_two_servers() {
    let fs =
        catalogue(&[(List::Tools, json!([{ "name": "read", "x": [1.50] }, { "name": "write" }]))]);
    let view = view(vec![tools("git", &["log", "read"]), member("fs", fs)]);
    let shown: Vec<&str> = view.shown(List::Tools).collect();
    assert_eq!(
        shown,
        [
            r#"{"name":"fs__read","x":[1.5]}"#,
            r#"{"name":"write"}"#,
            r#"{"name":"log"}"#,
            r#"{"name":"git__read"}"#,
        ]
    );
    let found = view.find(List::Tools, "git__read").unwrap();
    assert_eq!((&*found.member.server, found.original), ("git", "read"));
    assert_eq!(
        view.find(List::Tools, "read").unwrap_err().to_string(),
        "read is the name of 2 tools here: use fs__read for that of the server `fs`, \
         git__read for that of the server `git`"
    );
    let unknown = view.find(List::Tools, &"x".repeat(300)).unwrap_err();
    assert_eq!(unknown.to_string(), format!("Unknown tool: {}…", "x".repeat(200)));
    assert_eq!(unknown.to_error().code, -32602);
    assert_eq!(view.find(List::Prompts, "p").unwrap_err().to_string(), "Unknown prompt: p");
}

#[test]
fn what_is_hidden_is_not_there() {
    let mut fs = tools("fs", &["read", "write", "rm"]);
    fs.shapes = vec![
        Arc::new(Shape { tools: deny(&["rm"]), ..Shape::default() }),
        Arc::new(Shape {
            overrides: [(
                "write".to_owned(),
                Override { name: Some("save".to_owned()), ..Override::default() },
            )]
            .into(),
            ..Shape::default()
        }),
    ];
    let view = view(vec![fs, tools("git", &["rm"])]);
    let names: Vec<&str> = view.shown_as(List::Tools).collect();
    assert_eq!(names, ["read", "save", "rm"]);
    assert_eq!(&*view.find(List::Tools, "rm").unwrap().member.server, "git", "not contested");
    assert_eq!(view.find(List::Tools, "save").unwrap().original, "write");
    for name in ["write", "fs__write", "fs__rm"] {
        assert!(view.find(List::Tools, name).is_err(), "{name}");
    }
}

#[test]
fn who_is_gone_for_a_while_keeps_its_names() {
    let mut gone = tools("fs", &["read", "write"]);
    gone.is_there = false;
    let view = view(vec![gone, tools("git", &["read"])]);
    assert_eq!(view.shown_as(List::Tools).collect::<Vec<_>>(), ["git__read"]);
    assert!(matches!(view.find(List::Tools, "read"), Err(Lost::Contested { .. })));
    assert!(!view.find(List::Tools, "write").unwrap().member.is_there);
}

#[test]
fn no_server_is_there_twice() {
    let error = View::new(vec![tools("a", &[]), tools("a", &[])], Settings::default());
    assert_eq!(error.unwrap_err(), ViewError::Twice("a".to_owned()));
}

#[test]
fn whose_an_address_is() {
    let view = view(vec![
        resources("a", &["file:///x", "file:///both"], &["db://{table}/{id}", "z://{+all}"]),
        resources("b", &["file:///both", "db://users/7"], &["db://{table}/7", "z://{+all}"]),
        tools("c", &["t"]),
    ]);
    let of =
        |uri: &str| view.locate(uri).map(|it| (it.member.server.to_string(), it.uri.into_owned()));
    let at = |server: &str, uri: &str| (server.to_owned(), uri.to_owned());
    assert_eq!(of("file:///x").unwrap(), at("a", "file:///x"));
    assert_eq!(of("db://users/7").unwrap(), at("b", "db://users/7"), "who lists it");
    assert_eq!(of("db://users/8").unwrap(), at("a", "db://users/8"), "whose template it fits");
    assert_eq!(of("db://rows/7").unwrap(), at("b", "db://rows/7"), "whose fits closest");
    assert_eq!(of("mcp-gateway://b/file:///both").unwrap(), at("b", "file:///both"));
    assert_eq!(of("mcp-gateway://a/any://thing").unwrap(), at("a", "any://thing"));
    assert_eq!(
        of("file:///both").unwrap_err().to_string(),
        "file:///both is the name of 2 resources here: use mcp-gateway://a/file:///both for that \
         of the server `a`, mcp-gateway://b/file:///both for that of the server `b`"
    );
    assert!(matches!(of("z://y").unwrap_err(), Lost::Contested { .. }));
    assert_eq!(of("q://y").unwrap_err().to_error().code, -32002);
    assert_eq!(
        of("mcp-gateway://d/x").unwrap_err().to_string(),
        "mcp-gateway://d/x belongs to the server `d`, which is not offered here"
    );
    let shown: Vec<&str> = view.shown_as(List::Resources).collect();
    assert_eq!(
        shown,
        [
            "mcp-gateway://a/file:///both",
            "file:///x",
            "db://users/7",
            "mcp-gateway://b/file:///both"
        ]
    );
    let templates: Vec<&str> = view.shown_as(List::Templates).collect();
    assert_eq!(
        templates,
        [
            "db://{table}/{id}",
            "mcp-gateway://a/z://{+all}",
            "db://{table}/7",
            "mcp-gateway://b/z://{+all}"
        ]
    );
}

#[test]
fn addresses_lead_back_to_where_they_were_said() {
    let view = view(vec![
        resources("a", &["file:///x", "file:///both"], &[]),
        resources("b", &["file:///both"], &[]),
        tools("c", &["t"]),
    ]);
    let [a, b, c] = view.members() else { panic!() };
    assert_eq!(view.address(a, "file:///x"), None);
    assert_eq!(view.address(b, "file:///x").as_deref(), Some("mcp-gateway://b/file:///x"));
    assert_eq!(view.address(a, "file:///both").as_deref(), Some("mcp-gateway://a/file:///both"));
    assert_eq!(view.address(b, "new://thing").as_deref(), Some("mcp-gateway://b/new://thing"));
    assert_eq!(view.address(b, "https://example.com/"), None, "which anybody can visit");
    assert_eq!(view.address(c, "new://thing"), None, "which nobody can read");
    let twice = view.address(a, "mcp-gateway://b/file:///x").unwrap();
    assert_eq!(view.locate(&twice).unwrap().uri, "mcp-gateway://b/file:///x");
}

#[test]
fn what_is_hidden_cannot_be_read() {
    let mut a = resources("a", &["file:///x"], &["file:///{+path}"]);
    a.shapes = vec![Arc::new(Shape { resources: deny(&["file:///secret*"]), ..Shape::default() })];
    let view = view(vec![a]);
    assert!(view.locate("file:///y").is_ok());
    for uri in ["file:///secret/x", "mcp-gateway://a/file:///secret"] {
        assert!(matches!(view.locate(uri), Err(Lost::Unknown { .. })), "{uri}");
    }
}

#[test]
fn an_interface_that_two_servers_have() {
    let with_ui = |server: &str| {
        let tool = json!({
            "name": server,
            "_meta": { "ui": { "resourceUri": "ui://app", "v": ["app"] }, "ui/resourceUri": "ui://app" },
        });
        let ui = json!([{ "uri": "ui://app", "name": "x" }]);
        member(server, catalogue(&[(List::Tools, json!([tool])), (List::Resources, ui)]))
    };
    let view = view(vec![with_ui("a"), with_ui("b")]);
    let tool: Value = serde_json::from_str(view.shown(List::Tools).next().unwrap()).unwrap();
    let wrapped = uris::wrap("a", "ui://app");
    assert_eq!(wrapped, "ui://a.mcp-gateway/app");
    assert_eq!(
        tool["_meta"],
        json!({ "ui": { "resourceUri": wrapped, "v": ["app"] }, "ui/resourceUri": wrapped })
    );
    assert_eq!(view.shown_as(List::Resources).next(), Some(&*wrapped));
}

/// All pages, as a client sees them.
fn read(view: &View, keyring: &Keyring) -> Vec<String> {
    let mut cursor: Option<String> = None;
    let mut names = Vec::new();
    loop {
        let page = view.page(List::Tools, cursor.as_deref(), keyring, b"ann").unwrap();
        let answer = page.answer(&Id::Number(7.into()), &[]).unwrap();
        let result: Value = answer.read().unwrap();
        for tool in result["tools"].as_array().unwrap() {
            names.push(tool["name"].as_str().unwrap().to_owned());
        }
        assert_eq!(result.get("nextCursor").map(|it| it.as_str().unwrap()), page.next_cursor());
        cursor = page.next_cursor().map(str::to_owned);
        if cursor.is_none() {
            return names;
        }
    }
}

fn paged(members: Vec<Member>, items_max: usize, bytes_max: usize) -> View {
    let pages = PageLimits { items_max, bytes_max };
    View::new(members, Settings { pages, ..Settings::default() }).unwrap()
}

#[test]
fn pages_within_their_limits() {
    let keyring = keyring();
    let members = || vec![tools("a", &["1", "2", "3"]), tools("b", &["4", "5"])];
    for (items_max, bytes_max, first) in
        [(2, 1000, 2), (100, 30, 2), (100, 1, 1), (0, 0, 1), (5, 1000, 5)]
    {
        let view = paged(members(), items_max, bytes_max);
        let page = view.page(List::Tools, None, &keyring, b"").unwrap();
        assert_eq!(page.items().matches("name").count(), first, "{items_max} {bytes_max}");
        assert_eq!(read(&view, &keyring), ["1", "2", "3", "4", "5"]);
    }
    let page = view(members());
    let page = page.page(List::Prompts, None, &keyring, b"").unwrap();
    let more = [("ttlMs", &*raw(&json!(5)))];
    let answer = page.answer(&Id::Text("x".into()), &more).unwrap();
    let expected = r#"{"jsonrpc":"2.0","id":"x","result":{"ttlMs":5,"prompts":[]}}"#;
    assert_eq!(answer.as_bytes(), expected);
}

#[test]
fn a_cursor_is_for_one_caller_and_list() {
    let keyring = keyring();
    let view = paged(vec![tools("a", &["1", "2"])], 1, 1000);
    let page = view.page(List::Tools, None, &keyring, b"ann").unwrap();
    let cursor = page.next_cursor().unwrap();
    let with = |list, cursor, scope: &[u8]| view.page(list, Some(cursor), &keyring, scope).err();
    assert_eq!(with(List::Tools, cursor, b"ann"), None);
    assert_eq!(with(List::Tools, cursor, b"bob"), Some(CursorError::Unknown));
    assert_eq!(with(List::Prompts, cursor, b"ann"), Some(CursorError::Unknown));
    assert_eq!(with(List::Tools, "", b"ann"), Some(CursorError::Unknown));
    assert_eq!(CursorError::Unknown.to_error().code, -32602);
    // Another replica, which was given the same keys and built its own.
    let replica = Keyring::new(keyring.keys().to_vec(), Clock::still(9)).unwrap();
    let same = paged(vec![tools("a", &["1", "2"])], 1, 1000);
    let page = same.page(List::Tools, Some(cursor), &replica, b"ann").unwrap();
    assert_eq!(page.items(), r#"{"name":"2"}"#);
}

#[test]
fn a_cursor_after_a_key_too_long_to_carry() {
    let keyring = keyring();
    let long = "x".repeat(2000);
    let view = paged(vec![tools("a", &[&long, "y"])], 1, 10_000);
    let page = view.page(List::Tools, None, &keyring, b"").unwrap();
    let cursor = page.next_cursor().unwrap();
    assert!(view.page(List::Tools, Some(cursor), &keyring, b"").is_ok());
    let changed = paged(vec![tools("a", &[&long, "y", "z"])], 1, 10_000);
    let error = changed.page(List::Tools, Some(cursor), &keyring, b"").unwrap_err();
    assert_eq!(error, CursorError::Stale);
}

#[test]
fn what_servers_say_of_themselves() {
    let said = |server: &str, text: &str, capabilities: Value| {
        let mut gathering = Gathering::new(Limits::default());
        gathering.instructions(text);
        gathering.capabilities(&raw(&capabilities));
        member(server, gathering.finish(None))
    };
    let members = || {
        vec![
            said("b", &"Long. ".repeat(100), json!({ "tools": {}, "logging": {}, "x": 1 })),
            said("a", " Be nice. ", json!({ "tools": { "listChanged": true }, "x": 2 })),
            said("c", "", json!({ "resources": { "subscribe": false } })),
            said("d", "", json!({ "resources": { "subscribe": true, "listChanged": false } })),
            said("e", "", json!([])),
        ]
    };
    let all = view(members());
    let capabilities: Value = serde_json::from_str(all.capabilities().unwrap().get()).unwrap();
    assert_eq!(
        capabilities,
        json!({
            "tools": { "listChanged": true },
            "x": 2,
            "logging": {},
            "resources": { "subscribe": true, "listChanged": false },
        })
    );
    let text = all.instructions().unwrap();
    assert!(text.starts_with("# a (names may begin with `a__`)\n\nBe nice.\n\n# b ("), "{text}");
    assert!(text.ends_with("Long."));
    let settings = Settings { instructions_len_max: Some(200), ..Settings::default() };
    let cut = View::new(members(), settings).unwrap().instructions().unwrap();
    assert!(cut.len() <= 200 && cut.contains("Be nice.") && cut.ends_with("… (cut)"), "{cut}");
    let long =
        || vec![said("a", &"Long. ".repeat(10_000), json!({})), said("b", "Short.", json!({}))];
    let cut = view(long()).instructions().unwrap();
    assert!((15 << 10..=16 << 10).contains(&cut.len()) && cut.ends_with("Short."), "{}", cut.len());
    let settings = Settings { instructions_len_max: Some(3), ..Settings::default() };
    assert_eq!(View::new(members(), settings).unwrap().instructions(), None);
}

#[test]
fn which_lists_changed() {
    let old = view(vec![tools("a", &["x"]), resources("b", &["u:1"], &[])]);
    assert!(View::diff(&old, &old).is_empty());
    let new = view(vec![tools("a", &["x", "y"]), resources("b", &["u:1"], &[])]);
    assert_eq!(View::diff(&old, &new), Lists::default().with(List::Tools));
}

type Servers = BTreeMap<String, BTreeSet<String>>;

fn servers() -> impl Strategy<Value = Servers> {
    let tools = prop::collection::btree_set("[ab_.]{1,4}|\\PC{0,6}", 0..8);
    prop::collection::btree_map("[ab_.]{1,3}", tools, 0..5)
}

fn members(servers: &Servers) -> Vec<Member> {
    let tools = |(server, names): (&String, &BTreeSet<String>)| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        tools(server, &names)
    };
    servers.iter().map(tools).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_order_of_servers_makes_no_difference(servers in servers(), turn in 0_usize..5) {
        let before = paged(members(&servers), 3, 100);
        let mut members = members(&servers);
        let len = members.len().max(1);
        members.rotate_left(turn % len);
        let after = paged(members, 3, 100);
        prop_assert!(View::diff(&before, &after).is_empty());
        let keyring = keyring();
        let names = read(&after, &keyring);
        prop_assert_eq!(read(&before, &keyring), &names[..]);
        prop_assert_eq!(names.len(), servers.values().map(BTreeSet::len).sum::<usize>());
        for (name, found) in names.iter().zip(before.all(List::Tools)) {
            prop_assert_eq!(Some(&**name), found.exposed);
        }
    }

    #[test]
    fn nothing_hidden_is_ever_shown(servers in servers(), pattern in "[ab_?*]{1,3}") {
        let mut members = members(&servers);
        for member in &mut members {
            member.shapes.push(Arc::new(Shape { tools: deny(&[&pattern]), ..Shape::default() }));
        }
        let view = view(members);
        let glob = Glob::new(&pattern);
        for found in view.all(List::Tools) {
            prop_assert!(!glob.matches(found.original), "{}", found.original);
        }
        // Whatever name it is called by.
        for (server, tools) in &servers {
            for tool in tools.iter().filter(|it| glob.matches(it)) {
                for name in [tool.clone(), format!("{server}__{tool}")] {
                    if let Ok(found) = view.find(List::Tools, &name) {
                        prop_assert!(!glob.matches(found.original));
                    }
                }
            }
        }
    }

    #[test]
    fn a_reader_of_pages_misses_nothing_that_stays(
        before in servers(), after in servers(), at in 0_usize..10,
    ) {
        let keyring = keyring();
        let (old, new) = (paged(members(&before), 1, 1), paged(members(&after), 1, 1));
        let key = |found: Found<'_>| (found.member.server.to_string(), found.original.to_owned());
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        for view in std::iter::repeat_n(&old, at).chain(std::iter::repeat_n(&new, 100)) {
            let page = view.page(List::Tools, cursor.as_deref(), &keyring, b"").unwrap();
            if !page.items().is_empty() {
                let tool: Value = serde_json::from_str(page.items()).unwrap();
                let name = tool["name"].as_str().unwrap();
                seen.push(key(view.find(List::Tools, name).unwrap()));
            }
            cursor = page.next_cursor().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        prop_assert_eq!(once.len(), seen.len(), "nothing comes twice");
        if !(seen.len() < at && cursor.is_none()) && seen.len() > at {
            let new: BTreeSet<_> = new.all(List::Tools).map(key).collect();
            let stays = old.all(List::Tools).map(key).filter(|it| new.contains(it));
            for it in stays {
                prop_assert!(seen.contains(&it), "{it:?} is missing");
            }
        }
    }
}
