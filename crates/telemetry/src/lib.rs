//! What passes between clients and servers, seen by whoever has to answer for it.
//!
//! [`Observed`] is a transport around a transport: every request goes through it, over whichever
//! wire and in whichever era, and so does its answer.  What it sees is counted in [`Counts`], of
//! which [`text`] makes what Prometheus reads.
//!
//! Nothing is looked up and nothing is locked for a request, and what is kept does not grow with
//! the requests: a server has so many numbers from its beginning to its end.

pub mod counts;
mod method;
mod observed;
mod outcome;
pub mod text;

pub use counts::Counts;
pub use method::Method;
pub use observed::{Observed, Watch};
pub use outcome::Outcome;
