//! Messages between 2026-07-28 and the revisions with a handshake.

pub mod down;
pub mod up;
