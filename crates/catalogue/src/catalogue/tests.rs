use serde_json::json;

use super::*;

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn gather(limits: Limits, pages: &[(List, &str)]) -> Catalogue {
    let mut gathering = Gathering::new(limits);
    for (list, page) in pages {
        gathering.page(*list, &raw(page)).unwrap();
    }
    gathering.finish(None)
}

fn keys(catalogue: &Catalogue, list: List) -> Vec<&str> {
    catalogue.list(list).iter().map(Entry::key).collect()
}

#[test]
fn entries_keep_their_bytes_and_lose_their_order() {
    let made = gather(
        Limits::default(),
        &[
            (List::Tools, r#"{"tools":[ {"name":"b" , "n":1e400},{"name":"a","x":[ ]}]}"#),
            (List::Resources, r#"{"resources":[{"uri":"file:///x","name":"x"}]}"#),
            (List::Templates, r#"{"resourceTemplates":[{"uriTemplate":"f:{+p}","name":"x"}]}"#),
        ],
    );
    assert_eq!(keys(&made, List::Tools), ["a", "b"]);
    assert_eq!(made.list(List::Tools)[1].raw().get(), r#"{"name":"b" , "n":1e400}"#);
    assert_eq!(keys(&made, List::Resources), ["file:///x"]);
    assert_eq!(keys(&made, List::Templates), ["f:{+p}"]);
    assert_eq!(made.entry(List::Tools, "b").unwrap().key(), "b");
    assert!(made.entry(List::Prompts, "b").is_none());
    assert!(made.shortfalls().is_empty());
    let sizes: usize = List::ALL.iter().flat_map(|it| made.list(*it)).map(Entry::size).sum();
    assert_eq!(made.size(), sizes);
}

#[test]
fn pages_follow_one_another_until_a_limit() {
    let limits = Limits { pages_max: 3, ..Limits::default() };
    let mut gathering = Gathering::new(limits);
    let mut page = |name: &str, next: &str| {
        let page = json!({ "tools": [{ "name": name }], "nextCursor": next });
        gathering.page(List::Tools, &raw(&page.to_string())).unwrap()
    };
    assert_eq!(page("a", ""), Progress::More(String::new()), "an empty cursor is one");
    assert_eq!(page("b", "2"), Progress::More("2".to_owned()));
    assert_eq!(page("c", "3"), Progress::Done);
    let made = gathering.finish(None);
    assert_eq!(keys(&made, List::Tools), ["a", "b", "c"]);
    assert_eq!(made.shortfalls(), [Shortfall::Pages { list: List::Tools, max: 3 }]);
    let words = made.shortfalls()[0].to_string();
    assert_eq!(words, "tools of more than 3 pages (`pages_max`): the rest is left out");
}

#[test]
fn a_server_that_leads_in_circles_is_left() {
    let mut gathering = Gathering::new(Limits::default());
    let page = raw(r#"{"prompts":[{"name":"a"}],"nextCursor":"x"}"#);
    assert_eq!(gathering.page(List::Prompts, &page).unwrap(), Progress::More("x".to_owned()));
    assert_eq!(gathering.page(List::Prompts, &page).unwrap(), Progress::Done);
    let made = gathering.finish(None);
    assert_eq!(
        made.shortfalls(),
        [
            Shortfall::Circle { list: List::Prompts },
            Shortfall::Repeated { list: List::Prompts, count: 1 },
        ]
    );
    assert_eq!(keys(&made, List::Prompts), ["a"]);
}

#[test]
fn what_is_too_much_is_left_out_and_said_once() {
    let limits = Limits { items_max: 2, ..Limits::default() };
    let three = r#"{"tools":[{"name":"a"},{"name":"b"},{"name":"c"}],"nextCursor":"1"}"#;
    let prompts = r#"{"prompts":[{"name":"a"}]}"#;
    let made = gather(limits, &[(List::Tools, three), (List::Prompts, prompts)]);
    assert_eq!(keys(&made, List::Tools), ["a", "b"]);
    assert_eq!(made.shortfalls(), [Shortfall::Items { list: List::Tools, max: 2 }]);

    let one = gather(Limits::default(), &[(List::Tools, r#"{"tools":[{"name":"a"}]}"#)]).size();
    let limits = Limits { bytes_max: one, ..Limits::default() };
    let made = gather(limits, &[(List::Tools, three)]);
    assert_eq!(keys(&made, List::Tools), ["a"]);
    assert_eq!(made.shortfalls(), [Shortfall::Bytes { list: List::Tools, max: one }]);
    assert_eq!(made.size(), one);
}

#[test]
fn what_cannot_be_read_costs_itself_alone() {
    let page = r#"{"tools":[{"name":"a","v":1},7,{"title":"x"},{"name":"b","name":"c"},["d"],
        {"name":"a","v":2},{"name":null}]}"#;
    let made = gather(Limits::default(), &[(List::Tools, page)]);
    assert_eq!(keys(&made, List::Tools), ["a"]);
    assert_eq!(made.list(List::Tools)[0].raw().get(), r#"{"name":"a","v":1}"#, "the first stays");
    assert_eq!(
        made.shortfalls(),
        [
            Shortfall::Malformed { list: List::Tools, count: 5 },
            Shortfall::Repeated { list: List::Tools, count: 1 },
        ]
    );
    assert_eq!(made.size(), made.list(List::Tools)[0].size());
    for bad in [r#"{"tools":{}}"#, r#"{"prompts":[]}"#, "[]", "7"] {
        let error = Gathering::new(Limits::default()).page(List::Tools, &raw(bad)).unwrap_err();
        assert!(error.to_string().starts_with("its tools cannot be read: "), "{error}");
    }
}

#[test]
fn a_revision_follows_what_changed() {
    let page = |tools: &str| format!(r#"{{"tools":[{tools}]}}"#);
    let next = |before: &Catalogue, tools: &str, instructions: &str| {
        let mut gathering = Gathering::new(Limits::default());
        gathering.page(List::Tools, &raw(&page(tools))).unwrap();
        if !instructions.is_empty() {
            gathering.instructions(instructions);
        }
        gathering.finish(Some(before))
    };
    let first = gather(
        Limits::default(),
        &[
            (List::Tools, &page(r#"{"name":"a"},{"name":"b"}"#)),
            (List::Prompts, r#"{"prompts":[]}"#),
        ],
    );
    assert_eq!(first.revision(), 1);
    let same = next(&first, r#"{"name":"b"},{"name":"a"}"#, "");
    assert_eq!(same.revision(), 1, "in another order");
    assert!(Catalogue::diff(&first, &same).is_empty());
    let other = next(&same, r#"{"name":"b","title":"B"},{"name":"a"}"#, "");
    assert_eq!(other.revision(), 2);
    assert_eq!(Catalogue::diff(&same, &other), Lists::default().with(List::Tools));
    let told = next(&other, r#"{"name":"b","title":"B"},{"name":"a"}"#, "Be nice.");
    assert_eq!(told.revision(), 3);
    assert!(Catalogue::diff(&other, &told).is_empty());
}

#[test]
fn the_least_of_what_was_promised_holds() {
    let page = |more: &str| format!(r#"{{"tools":[]{more}}}"#);
    let fresh = |pages: &[&str]| {
        let pages: Vec<_> = pages.iter().map(|it| page(it)).collect();
        let pages: Vec<_> = pages.iter().map(|it| (List::Tools, &**it)).collect();
        let Freshness { ttl_ms, is_private } = gather(Limits::default(), &pages).freshness();
        (ttl_ms, is_private)
    };
    assert_eq!(fresh(&[""]), (None, true));
    let public = r#","ttlMs":5000,"cacheScope":"public""#;
    assert_eq!(fresh(&[public]), (Some(5000), false));
    assert_eq!(fresh(&[public, r#","ttlMs":70,"cacheScope":"public""#]), (Some(70), false));
    assert_eq!(fresh(&[public, r#","ttlMs":-1,"cacheScope":"private""#]), (Some(0), true));
    assert_eq!(fresh(&[public, ""]), (Some(5000), true), "who says nothing says private");
}

#[test]
fn hints_that_are_not_given() {
    let hints = |annotations: &str| {
        let page = format!(r#"{{"tools":[{{"name":"a","annotations":{annotations}}}]}}"#);
        gather(Limits::default(), &[(List::Tools, &page)]).list(List::Tools)[0].hints()
    };
    let silent = Hints::default();
    for said in ["{}", "null", "7", r#"{"readOnlyHint":"yes"}"#] {
        assert_eq!(hints(said), silent, "{said}");
    }
    let read_only = hints(r#"{"readOnlyHint":true,"destructiveHint":true,"openWorldHint":false}"#);
    assert!(read_only.read_only && !read_only.destructive && !read_only.open_world);
    assert!(!hints(r#"{"destructiveHint":false}"#).destructive);
    assert!(hints(r#"{"idempotentHint":true}"#).idempotent);
}
