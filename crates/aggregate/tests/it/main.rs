//! Many servers as one, before doubles that do what servers do at their worst.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly"
)]

mod bounds;
mod calls;
mod life;
mod lists;
mod own;
mod rig;
mod sharing;
