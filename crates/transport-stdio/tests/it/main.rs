//! Real children: how they start, answer, fail and end.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails where it stands"
)]

mod answers;
mod ends;
mod eras;
mod rig;
mod seeds;
mod starts;
