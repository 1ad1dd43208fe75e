use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json, value::to_raw_value};

use super::*;
use crate::{Gathering, Limits, Member, Settings};

fn index(all: &[(&str, &str)]) -> Index {
    Index::new(&view(&tools(all)))
}

fn tools(all: &[(&str, &str)]) -> Value {
    all.iter().map(|(name, words)| json!({ "name": name, "description": words })).collect()
}

fn view(tools: &Value) -> View {
    let mut gathering = Gathering::new(Limits::default());
    let page = json!({ "tools": tools });
    gathering.page(List::Tools, &to_raw_value(&page).unwrap()).unwrap();
    let member = Member {
        server: "s".into(),
        alias: "s".into(),
        prefix: None,
        catalogue: Arc::new(gathering.finish(None)),
        shapes: Vec::new(),
        is_there: true,
    };
    View::new(vec![member], Settings::default()).unwrap()
}

fn names<'a>(index: &'a Index, query: &str) -> Vec<&'a str> {
    index.search(query, usize::MAX).into_iter().map(|it| it.name).collect()
}

#[test]
fn what_words_are() {
    let all = |text: &str| words(text).collect::<Vec<_>>();
    assert_eq!(all("git__readFiles, HTTP2"), ["git", "read", "file", "readfile", "http2"]);
    assert_eq!(all("HTTPServer2Go"), ["http", "server2", "go", "httpserver2go"]);
    assert_eq!(
        all("getURL class ÄÖÜ-straßen größeÄndern 日本"),
        [
            "get",
            "url",
            "geturl",
            "class",
            "äöü",
            "straßen",
            "größe",
            "ändern",
            "größeändern",
            "日本"
        ]
    );
    assert_eq!(all(" -_ "), Vec::<String>::new());
}

#[test]
fn what_is_shown_of_a_description() {
    assert_eq!(&*summary("\n  Reads a file.  \n\nMore."), "Reads a file.");
    assert_eq!(summary(&"ü".repeat(300)).chars().count(), SUMMARY_LEN_MAX + 1);
}

#[test]
fn however_names_are_written() {
    let view = view(&tools(&[
        ("readFile", "x"),
        ("write_file", "x"),
        ("GitHub-listIssues", "x"),
        ("HTTPServerStart", "x"),
        ("größeÄndern", "x"),
        ("検索_メール", "x"),
    ]));
    let index = Index::new(&view);
    for (query, name) in [
        ("read a file", "readFile"),
        ("readfile", "readFile"),
        ("ReadFile", "readFile"),
        ("file write", "write_file"),
        ("github", "GitHub-listIssues"),
        ("issue", "GitHub-listIssues"),
        ("http server", "HTTPServerStart"),
        ("GRÖSSE ändern", "größeÄndern"),
        ("größe", "größeÄndern"),
        ("メール", "検索_メール"),
        ("検索", "検索_メール"),
    ] {
        let found = index.search(query, 1).first().map(|it| it.name);
        let original = view.find(List::Tools, found.unwrap()).unwrap().original;
        assert_eq!(original, name, "{query}");
    }
}

#[test]
fn rare_words_names_and_short_texts_count_for_more() {
    let index = index(&[
        ("alpha", "Lists the pages of a site."),
        ("pages", "Does something else."),
        ("beta", "Lists the zebras of a site."),
        (
            "gamma",
            "Lists the pages of a site, and much more that has nothing to do with it at all.",
        ),
        ("delta", "Lists the sites."),
    ]);
    assert_eq!(names(&index, "pages"), ["pages", "alpha", "gamma"]);
    assert_eq!(names(&index, "list zebras")[0], "beta");
    assert_eq!(names(&index, "delta lists the pages")[0], "delta");
    let scores: Vec<f32> =
        index.search("list pages of a site", 9).iter().map(|it| it.score).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().all(|it| 0.0 < *it), "{scores:?}");
}

#[test]
fn arguments_count_for_less_than_what_a_tool_says() {
    let tools = json!([
        { "name": "a", "inputSchema": { "properties": { "zebra": { "description": "quux" } } } },
        { "name": "b", "title": "Zebra" },
        { "name": "c", "description": "quux" },
        { "name": "d", "inputSchema": { "properties": ["zebra"] }, "description": 7 },
    ]);
    let index = Index::new(&view(&tools));
    assert_eq!(names(&index, "zebra"), ["b", "a"]);
    assert_eq!(names(&index, "quux"), ["c", "a"]);
    assert_eq!(names(&index, "d"), ["d"], "what cannot be read is found by its name");
}

#[test]
fn those_that_fit_alike_are_always_in_the_same_order() {
    let all: Vec<String> = (0..100).map(|it| format!("t{it:03}")).collect();
    let all: Vec<(&str, &str)> = all.iter().map(|it| (&**it, "the same words")).collect();
    let names_of_all: Vec<&str> = all.iter().map(|it| it.0).collect();
    for _ in 0..3 {
        assert_eq!(names(&index(&all), "same words"), names_of_all);
    }
}

#[test]
fn how_much_of_a_query_is_read() {
    let index = index(&[("read", "x"), ("zebra", "x")]);
    let filler: Vec<String> = (0..QUERY_WORDS_MAX).map(|it| format!("q{it}")).collect();
    let after = |count: usize| filler[..count].join(" ") + " zebra";
    assert_eq!(names(&index, &after(QUERY_WORDS_MAX - 1)), ["zebra"]);
    assert_eq!(names(&index, &after(QUERY_WORDS_MAX)), [""; 0]);
    let spaced = |len: usize| " ".repeat(len) + "zebra";
    assert_eq!(names(&index, &spaced(QUERY_LEN_MAX - 5)), ["zebra"]);
    assert_eq!(names(&index, &spaced(QUERY_LEN_MAX)), [""; 0]);
    // Cut where a letter ends.
    assert_eq!(names(&index, &("ä".repeat(QUERY_LEN_MAX) + " zebra")), [""; 0]);
}

#[test]
fn how_much_of_a_tool_is_read() {
    let filler: Vec<String> = (0..TOOL_WORDS_MAX).map(|it| format!("w{it}")).collect();
    let after = |count: usize| filler[..count].join(" ") + " zebra";
    // The name is a word as well.
    let read = after(TOOL_WORDS_MAX - 2);
    assert_eq!(names(&index(&[("a", &read)]), "zebra"), ["a"]);
    let unread = after(TOOL_WORDS_MAX - 1);
    assert_eq!(names(&index(&[("a", &unread)]), "zebra"), [""; 0]);
}

#[test]
fn how_many_words_may_begin_alike() {
    let all: Vec<String> = (0..BEGINNINGS_MAX + 10).map(|it| format!("begin{it:03}")).collect();
    let all: Vec<(&str, &str)> = all.iter().map(|it| (&**it, "x")).collect();
    let index = index(&all);
    assert_eq!(names(&index, "begi").len(), BEGINNINGS_MAX);
    assert_eq!(names(&index, "begi quux").len(), BEGINNINGS_MAX / 2, "shared by the words");
}

#[test]
fn a_tool_that_says_a_word_a_thousand_times_gains_little() {
    let spam = "zebra ".repeat(1000);
    let index = index(&[("spam", &spam), ("zebra", "Shows a zebra."), ("other", "x")]);
    assert_eq!(names(&index, "zebra"), ["zebra", "spam"]);
}

proptest! {
    #[test]
    fn whatever_tools_say_and_whatever_is_asked(
        tools in prop::collection::vec(("\\PC{1,40}", "\\PC{0,200}"), 1..8),
        query in "\\PC{0,80}",
    ) {
        let tools: Vec<(&str, &str)> = tools.iter().map(|(a, b)| (&**a, &**b)).collect();
        let index = index(&tools);
        for query in [&*query, tools[0].0, tools[0].1] {
            let hits = index.search(query, usize::MAX);
            prop_assert!(hits.len() <= index.len());
            prop_assert!(hits.iter().all(|it| it.score.is_finite() && 0.0 < it.score));
            prop_assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
        }
        for name in index.tools.iter().map(|it| &*it.name) {
            let is_found = index.search(name, usize::MAX).iter().any(|it| it.name == name);
            prop_assert!(is_found || words(name).next().is_none(), "{}", name);
        }
    }
}
