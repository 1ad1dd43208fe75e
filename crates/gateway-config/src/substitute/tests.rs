//! Each form, each failure, and what is shown.

use super::*;
use crate::env::FixedEnv;

fn env() -> FixedEnv {
    let vars = [("TOKEN", "s3\"cret"), ("EMPTY", ""), ("A_1", "one")];
    let files = [("/etc/gw/token.txt", "from file\r\n"), ("/abs", "two\n\n")];
    FixedEnv {
        vars: vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        files: files.map(|(path, text)| (path.into(), text.to_owned())).into(),
        base: "/etc/gw".into(),
    }
}

#[track_caller]
fn check(raw: &str, bare: bool, expect: &str) {
    let shown = match substitute(raw, &env(), bare) {
        Ok(text) => format!("{} | {}", text.expose(), text.shown()),
        Err(fault) => fault.what,
    };
    assert_eq!(shown, expect, "{raw}");
}

#[test]
fn forms() {
    check("Bearer ${TOKEN}!", false, "Bearer s3\"cret! | Bearer ${TOKEN}!");
    check("${env:TOKEN}", false, "s3\"cret | ${TOKEN}");
    check("${NONE:-a b}", false, "a b | ${NONE}");
    check("${env:NONE:-}", false, " | ${NONE}");
    check("${EMPTY:-x}${EMPTY}", false, "x | ${EMPTY}${EMPTY}");
    check("${file:token.txt}", false, "from file | ${file:token.txt}");
    check("${file:/abs}", false, "two\n | ${file:/abs}");
}

#[test]
fn dollars() {
    check("$$", false, "$ | $");
    check("$${TOKEN}", false, "${TOKEN} | ${TOKEN}");
    check("a$ $1 $TOKEN $", false, "a$ $1 $TOKEN $ | a$ $1 $TOKEN $");
    check("$TOKEN-$A_1.$1$", true, "s3\"cret-one.$1$ | ${TOKEN}-${A_1}.$1$");
    check("€$€", true, "€$€ | €$€");
    check("$$TOKEN", true, "$TOKEN | $TOKEN");
}

#[test]
fn faults() {
    check("${NONE}", false, "the variable NONE is not set");
    check("$NONE", true, "the variable NONE is not set");
    check("${", false, "`${` without its `}`");
    check("${}", false, "${…} is not a reference");
    check("${a b}", false, "${a b…} is not a reference");
    check("${TOKEN:?no}", false, "${TOKEN:?no…} is not a reference");
    check("${input:key}", false, "${input:key} asks a person");
    check("${cmd: date}", false, "${cmd: date} would run a command");
    check("${file:none}", false, "cannot read /etc/gw/none for ${file:none}: entity not found");
}
