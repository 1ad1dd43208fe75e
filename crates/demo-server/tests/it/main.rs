//! What the demo server promises, in every revision it speaks.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may fail loudly, and say what they skip"
)]

mod calls;
mod listings;
mod modern;
mod questions;
mod rig;
mod schema;
mod sessions;
