//! Figures beside kept ones.

use super::*;

fn kept(own: u64, all: u64) -> Kept {
    let instructions = BTreeMap::from([("W1".to_owned(), Instructions { own, all })]);
    Kept { toolchain: "rustc 1".to_owned(), machine: "here".to_owned(), instructions }
}

#[test]
fn what_differs_beyond_the_tolerance_fails_and_says_what_to_do() {
    judge(&kept(1000, 2000), &kept(1039, 1925)).unwrap();
    for (own, all, told) in [
        (1060, 2050, "W1: +6.0 % in its own code"),
        (900, 1900, "W1: -10.0 % in its own code"),
        (1000, 2200, "W1: +10.0 % with what the libraries do for it"),
    ] {
        let said = judge(&kept(1000, 2000), &kept(own, all)).unwrap_err().to_string();
        assert!(said.contains(told) && said.contains("cargo xtask guard --bless"), "{said}");
    }
}

#[test]
fn another_libc_hides_the_libraries_and_another_compiler_everything() {
    let mut found = kept(1000, 4000);
    found.machine = "elsewhere".to_owned();
    judge(&kept(1000, 2000), &found).unwrap();
    let mut found = kept(1100, 2000);
    found.machine = "elsewhere".to_owned();
    assert!(judge(&kept(1000, 2000), &found).is_err());
    found.toolchain = "rustc 2".to_owned();
    judge(&kept(1000, 2000), &found).unwrap();
}

#[test]
fn a_call_of_which_nothing_is_kept_fails() {
    let mut before = kept(1000, 2000);
    before.instructions.clear();
    let said = judge(&before, &kept(1000, 2000)).unwrap_err().to_string();
    assert!(said.contains("W1: nothing is kept"), "{said}");
}

#[test]
fn what_was_not_counted_stays_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("figures");
    assert!(read(&file).is_err());
    bless(&file, kept(1000, 2000)).unwrap();
    let mut other = kept(5, 6);
    other.instructions = BTreeMap::from([("W3".to_owned(), Instructions { own: 5, all: 6 })]);
    bless(&file, other).unwrap();
    let both = read(&file).unwrap();
    assert_eq!(both.instructions["W1"], Instructions { own: 1000, all: 2000 });
    assert_eq!(both.instructions["W3"], Instructions { own: 5, all: 6 });
    std::fs::write(&file, "{}").unwrap();
    assert!(read(&file).unwrap_err().to_string().contains("toolchain"));
}
