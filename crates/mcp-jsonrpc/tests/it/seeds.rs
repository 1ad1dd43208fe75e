//! What a fuzzer begins with, and what it once found: `fuzz/seeds/message`.

#[path = "../../../../fuzz/src/message.rs"]
#[expect(clippy::expect_used, unreachable_pub, reason = "the fuzzer calls it too")]
mod message;

use std::{fs, path::Path};

#[test]
fn seeds_hold_what_must_hold() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds/message");
    let mut count = 0;
    for folder in fs::read_dir(seeds).unwrap() {
        for seed in fs::read_dir(folder.unwrap().path()).unwrap() {
            message::check(&fs::read(seed.unwrap().path()).unwrap());
            count += 1;
        }
    }
    assert!(count >= 100, "only {count} seeds");
}
