//! What passes between clients and servers, seen by whoever has to answer for it.
//!
//! [`Observed`] is a transport around a transport: every request goes through it, over whichever
//! wire and in whichever era, and so does its answer.  What it sees is counted in [`Counts`], of
//! which [`text`] makes what Prometheus reads, and written down in an [`Audit`] log.
//!
//! To be counted nothing is looked up and nothing locked for a request, and what is kept does not
//! grow with the requests: a server has so many numbers from its beginning to its end.

mod audit;
pub mod counts;
mod cut;
mod method;
mod observed;
mod outcome;
pub mod stamp;
pub mod text;

pub use audit::{Audit, AuditOptions, Refused};
pub use counts::Counts;
pub use cut::shortened;
pub use method::Method;
pub use observed::{Observed, Place, Watch};
pub use outcome::Outcome;
