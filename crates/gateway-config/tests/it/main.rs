//! The crate as others use it.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::string_slice,
    reason = "helpers of tests are tests, too"
)]

mod any_text;
mod golden;
mod masking;
mod reference;
mod tbxark;
