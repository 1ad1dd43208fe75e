//! What a fuzzer begins with, and what it once found: `fuzz/seeds/stdio_line`.

#[path = "../../../../fuzz/src/stdio_line.rs"]
#[expect(clippy::expect_used, unreachable_pub, reason = "the fuzzer calls it too")]
mod stdio_line;

use std::{fs, path::Path};

#[test]
fn seeds_hold_what_must_hold() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/stdio_line");
    let seeds: Vec<_> = fs::read_dir(seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(seeds.len() >= 9, "only {} seeds", seeds.len());
    for seed in seeds {
        stdio_line::check(&fs::read(seed).unwrap());
    }
}
