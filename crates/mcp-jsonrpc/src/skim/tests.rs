//! That what is accepted here is JSON, and what is refused is none or unusual.

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

/// Whether a text is one value, to us and to the reader we must agree with.
fn verdicts(text: &str) -> (bool, bool) {
    let mut skim = Skim::new(text);
    skim.blank();
    let ours = skim.value(DEPTH_MAX).is_some() && skim.is_over();
    (ours, serde_json::from_str::<IgnoredAny>(text).is_ok())
}

#[test]
fn values_are_told_from_what_is_none() {
    let long = "x".repeat(100);
    for text in [
        r#" {"a":[1,-0.5e+3,{"b":{}}],"c":[],"d":[[ ] , { } ]} "#,
        r#""\u00e9\"\\\/\b\f\n\r\t""#,
        &format!(r#"["{long}\"{long}","{long}"]"#),
        "-0",
        "1e400",
        "true",
        "[null,false]",
    ] {
        assert_eq!(verdicts(text), (true, true), "{text}");
    }
    for text in [
        "",
        "{",
        "[",
        "[1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{,}",
        r#"{"a":1,}"#,
        r#"{"a"}"#,
        r#"{"a" 1}"#,
        r#"{a:1}"#,
        r#"{"a":1]"#,
        r#"["a":1]"#,
        "[1}",
        "01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e",
        "nul",
        "truefalse",
        r#""\x""#,
        r#""\u12g4""#,
        r#""\u12"#,
        "\"a\nb\"",
        &format!("\"{long}\n{long}\""),
        &format!("\"{long}"),
        r#""a"#,
        "1 1",
    ] {
        assert_eq!(verdicts(text), (false, false), "{text}");
    }
}

#[test]
fn depth_has_a_bound() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let value = |text: &str, max| Skim::new(text).value(max).is_some();
    for max in [1, 63, 64, 65, DEPTH_MAX] {
        assert!(value(&nested(max), max));
        assert!(!value(&nested(max + 1), max));
    }
    assert!(!value(&nested(DEPTH_MAX + 1), usize::MAX));
    let mixed = format!("{}1{}", r#"[{"a":"#.repeat(200), "}]".repeat(200));
    assert!(value(&mixed, 400) && !value(&mixed, 399));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_is_taken_that_others_refuse(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "00e9", "\"a\"", "\"a\":", "1", "-",
            "0", ".", "e", "+", "true", "null", " ", "\n", "\u{1}", "é", "xxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ]), 0..14),
    ) {
        let text = parts.concat();
        let (ours, theirs) = verdicts(&text);
        prop_assert_eq!(ours, theirs, "{}", text);
    }
}
