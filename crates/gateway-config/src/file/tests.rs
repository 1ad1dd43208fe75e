//! Places, leniencies, and what is refused.

use super::*;

#[track_caller]
fn check(text: &str, expect: &str) {
    let shown = match parse(text) {
        Ok(node) => format!("{} at {}", node.kind(), node.place),
        Err(problems) => {
            let show = |problem: &Problem| match problem.place {
                Some(place) => format!("{place}: {problem}"),
                None => problem.to_string(),
            };
            problems.iter().map(show).collect::<Vec<_>>().join("; ")
        }
    };
    assert_eq!(shown, expect);
}

#[test]
fn comments_and_trailing_commas() {
    check("// one\n/* two */ {\"a\": [1, 2,], } // three", "an object at 2:11");
    check("\u{feff}[]", "a list at 1:1");
}

#[test]
fn places_count_characters() {
    let node = parse("{\n  \"ä\": \"ö\", \"b\": 1}").unwrap();
    assert_eq!(node.get("b").unwrap().place, Place { line: 2, column: 18 });
}

#[test]
fn refused() {
    check("", "the file is empty: want an object, `{ … }`");
    check("{\"a\": 1 \"b\": 2}", "1:8: not JSON: expected comma");
    check("{'a': 1}", "1:2: not JSON: single-quoted strings are not allowed");
    check("{\"a\": 0x10}", "1:7: not JSON: hexadecimal numbers are not allowed");
    check("{\"a\": {\"b\": 1,\n \"b\": 2}}", "2:2: a.b: given twice: also at 1:8");
    check(&"[".repeat(100_000), "1:513: not JSON: maximum nesting depth exceeded");
    check(&" ".repeat(FILE_LEN_MAX + 1), "longer than 4194304 bytes: this is no configuration");
}
