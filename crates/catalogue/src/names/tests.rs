use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

type Given<'a> = BTreeMap<(&'a str, &'a str), Option<String>>;

/// (server, tool) → the name it was given.
fn give<'a>(
    servers: &'a [(&'a str, &'a [&'a str])],
    prefix: Prefix,
) -> (Given<'a>, Names, Vec<Claimant<'a>>) {
    let claimant =
        |server, tool| Claimant { server, alias: server, original: tool, name: tool, prefix };
    let claimants: Vec<_> = servers
        .iter()
        .flat_map(|(server, tools)| tools.iter().map(|tool| claimant(*server, *tool)))
        .collect();
    let names = Names::give(&claimants, &Naming::default());
    let given = claimants.iter().zip(names.given());
    let given = given.map(|(it, name)| ((it.server, it.original), name.map(str::to_owned)));
    (given.collect(), names, claimants)
}

fn given(servers: &[(&str, &[&str])], prefix: Prefix) -> Vec<String> {
    give(servers, prefix).0.into_values().map(Option::unwrap).collect()
}

#[test]
fn a_prefix_where_it_is_needed() {
    let servers: &[(&str, &[&str])] = &[("fs", &["read", "write"]), ("git", &["log", "read"])];
    assert_eq!(given(servers, Prefix::Conflict), ["fs__read", "write", "log", "git__read"]);
    assert_eq!(given(servers, Prefix::Always), ["fs__read", "fs__write", "git__log", "git__read"]);
    let never = given(servers, Prefix::Never);
    assert_eq!([&*never[1], &*never[2]], ["write", "log"]);
    assert!(never[0].starts_with("read_") && never[3].starts_with("read_"), "{never:?}");
    assert_ne!(never[0], never[3]);
}

#[test]
fn where_names_lead() {
    let servers: &[(&str, &[&str])] = &[("fs", &["read", "write"]), ("git", &["log", "read"])];
    let (_, names, _) = give(servers, Prefix::Conflict);
    assert_eq!(names.lead("read"), Some(&Lead::Contested(vec![0, 3])));
    assert_eq!(names.lead("fs__read"), Some(&Lead::Given(0)));
    assert_eq!(names.lead("write"), Some(&Lead::Given(1)));
    assert_eq!(names.lead("fs__write"), Some(&Lead::Also(1)), "as it is called in bad times");
    assert_eq!(names.lead("rm"), None);
    let (_, names, _) = give(servers, Prefix::Always);
    assert_eq!(names.lead("log"), Some(&Lead::Also(2)));
    assert_eq!(names.lead("read"), Some(&Lead::Contested(vec![0, 3])));
    // What could not be part of a name can still be called by it.
    let (_, names, _) = give(&[("fs", &["read.all"])], Prefix::Conflict);
    assert_eq!(names.lead("read.all"), Some(&Lead::Also(0)));
}

#[test]
fn a_tool_that_is_called_like_the_prefixed_form_of_another() {
    let servers: &[(&str, &[&str])] = &[("a", &["b__c"]), ("b", &["c"]), ("d", &["c"])];
    let (given, names, _) = give(servers, Prefix::Conflict);
    assert_eq!(names.lead("b__c"), Some(&Lead::Contested(vec![0, 1])), "to neither");
    assert_eq!(given[&("a", "b__c")].as_deref(), Some("a__b__c"));
    assert_eq!(given[&("d", "c")].as_deref(), Some("d__c"));
    let last = given[&("b", "c")].clone().unwrap();
    assert!(last.starts_with("b_") && last.ends_with("__c") && last.len() == 11, "{last}");
}

#[test]
fn who_names_itself_after_everything_takes_nothing() {
    // One who knows how names are drawn takes each that another could be given.
    let mut stolen = Vec::new();
    for _ in 0..6 {
        let tools: Vec<&str> = stolen.iter().map(String::as_str).collect();
        let servers = [("a", &["x"][..]), ("b", &["x"][..]), ("thief", &tools)];
        let (given, names, _) = give(&servers, Prefix::Conflict);
        let Some(name) = given[&("a", "x")].clone() else { break };
        assert!(matches!(names.lead(&name), Some(Lead::Given(0))));
        stolen.push(name);
    }
    assert_eq!(stolen.len(), 4, "{stolen:?}");
    let tools: Vec<&str> = stolen.iter().map(String::as_str).collect();
    let servers = [("a", &["x"][..]), ("b", &["x"][..]), ("thief", &tools)];
    let (given, names, _) = give(&servers, Prefix::Conflict);
    assert_eq!(given[&("a", "x")], None);
    assert!(stolen.iter().all(|it| matches!(names.lead(it), Some(Lead::Contested(_)))));
    assert!(given[&("b", "x")].is_some());
}

#[test]
fn what_names_cannot_be_made_of() {
    for separator in ["", ".", "ü", "_________"] {
        let error = Naming::new(Prefix::Always, separator, 64).unwrap_err();
        assert_eq!(error, NamingError::Separator(separator.to_owned()));
    }
    for (separator, len) in [("________", 32), ("-", 128)] {
        assert!(Naming::new(Prefix::Always, separator, len).is_ok());
    }
    for len in [0, 31, 129] {
        assert_eq!(Naming::new(Prefix::Always, "-", len), Err(NamingError::Length(len)));
    }
}

/// Names that get in each other's way.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[ab]{1,2}",
        4 => "[ab_]{1,6}",
        2 => "(a|b|a_|a\\.b|a_b)__[ab]{1,2}",
        1 => "[a.ü💥 ]{0,4}",
        1 => "\\PC{0,20}",
        1 => "(a|ü){300}",
        1 => "(a__){30}[ab]",
    ]
}

type Servers = BTreeMap<String, BTreeSet<String>>;

fn servers() -> impl Strategy<Value = Servers> {
    let tools = prop::collection::btree_set(text(), 0..6);
    prop::collection::btree_map(text(), tools, 0..6)
}

fn prefixes() -> impl Strategy<Value = Prefix> {
    prop_oneof![Just(Prefix::Always), Just(Prefix::Conflict), Just(Prefix::Never)]
}

fn claimants(servers: &Servers, prefix: Prefix) -> Vec<Claimant<'_>> {
    let claimant =
        |server, tool| Claimant { server, alias: server, original: tool, name: tool, prefix };
    servers
        .iter()
        .flat_map(|(server, tools)| tools.iter().map(move |tool| claimant(server, tool)))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn names_are_unique_and_valid_and_lead_back(
        servers in servers(), prefix in prefixes(), len_max in 32_usize..129,
    ) {
        let naming = Naming::new(prefix, "__", len_max).unwrap();
        let claimants = claimants(&servers, prefix);
        let names = Names::give(&claimants, &naming);
        let mut seen = BTreeSet::new();
        for (at, name) in names.given().enumerate() {
            // Only who is robbed on purpose gets none.
            let name = name.unwrap();
            prop_assert!((1..=len_max).contains(&name.len()), "{name}");
            prop_assert!(form::is_plain(name), "{name}");
            prop_assert!(seen.insert(name.to_owned()), "{name} twice");
            prop_assert_eq!(names.lead(name), Some(&Lead::Given(at)));
        }
    }

    #[test]
    fn order_makes_no_difference(servers in servers(), prefix in prefixes(), turn in 0_usize..40) {
        let naming = Naming::default();
        let mut claimants = claimants(&servers, prefix);
        let of = |claimants: &[Claimant<'_>]| -> BTreeMap<(String, String), Option<String>> {
            let names = Names::give(claimants, &naming);
            let key = |it: &Claimant<'_>| (it.server.to_owned(), it.original.to_owned());
            claimants.iter().map(key).zip(names.given().map(|it| it.map(str::to_owned))).collect()
        };
        let before = of(&claimants);
        let len = claimants.len().max(1);
        claimants.rotate_left(turn % len);
        let half = claimants.len() / 2;
        claimants[half..].reverse();
        prop_assert_eq!(before, of(&claimants));
    }

    #[test]
    fn a_further_server_takes_nobodys_name(
        servers in servers(), new in text(), tools in prop::collection::btree_set(text(), 0..6),
        prefix in prefixes(),
    ) {
        let naming = Naming::default();
        let few = claimants(&servers, prefix);
        let before = Names::give(&few, &naming);
        // One of its tools is called like something that was there before.
        let stolen = before.given().flatten().next().map(str::to_owned);
        let mut more = servers.clone();
        more.entry(new).or_default().extend(tools.into_iter().chain(stolen));
        let many = claimants(&more, prefix);
        let after = Names::give(&many, &naming);
        for (at, name) in before.given().enumerate() {
            let (was, name) = (&few[at], name.unwrap());
            let led = after.lead(name);
            if let Some(Lead::Given(at) | Lead::Also(at)) = led {
                let is = &many[*at];
                prop_assert_eq!((is.server, is.original), (was.server, was.original), "{}", name);
            } else {
                prop_assert!(matches!(led, Some(Lead::Contested(_))), "{name} leads nowhere");
            }
        }
    }
}
