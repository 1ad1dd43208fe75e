//! Steps in random order; and what a fuzzer begins with, and what was once found:
//! `fuzz/seeds/interleaving`.

#[path = "../../../../fuzz/src/interleaving.rs"]
#[expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    unreachable_pub,
    reason = "the fuzzer calls it too"
)]
mod interleaving;

use std::{fs, path::Path};

use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence},
};

#[test]
fn seeds_hold_what_must_hold() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/interleaving");
    let seeds: Vec<_> = fs::read_dir(seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(seeds.len() >= 8, "only {} seeds", seeds.len());
    for seed in seeds {
        println!("{}", seed.display());
        interleaving::check(&fs::read(seed).unwrap());
    }
}

proptest! {
    #![proptest_config(Config {
        // A quarter of what `PROPTEST_CASES` says.
        cases: Config::default().cases / 4,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/proptest-regressions/interleavings.txt",
        ))),
        ..Config::default()
    })]

    #[test]
    fn any_order_holds_what_must_hold(
        first in any::<u8>(),
        steps in prop::collection::vec(any::<(u8, u8)>(), 0..200),
    ) {
        let mut input = vec![first];
        for (what, whom) in steps {
            input.extend([what, whom]);
        }
        interleaving::check(&input);
    }
}
