//! What a fuzzer begins with, and what it once found: `fuzz/seeds/sse_decoder`.

#[path = "../../../../fuzz/src/sse_decoder.rs"]
#[expect(single_use_lifetimes, unreachable_pub, reason = "the fuzzer calls it too")]
mod sse_decoder;

use std::{fs, path::Path};

#[test]
fn seeds_hold_what_must_hold() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/sse_decoder");
    let seeds: Vec<_> = fs::read_dir(seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(seeds.len() >= 9, "only {} seeds", seeds.len());
    for seed in seeds {
        sse_decoder::check(&fs::read(seed).unwrap());
    }
}
