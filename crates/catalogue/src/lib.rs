//! What many servers offer, as if it were one server: catalogues, names, shaping, and views of it.
//!
//! A [`Catalogue`] is what one server lists for one scope of callers, in the bytes in which it was
//! listed.  [`names`] says under which name each of it is known where several servers are shown as
//! one, so that no name leads to the wrong one, whoever else comes or goes.
//!
//! Nothing here does I/O, waits or keeps time: whoever asks servers and answers clients does.

mod catalogue;
mod list;
pub mod names;

pub use catalogue::{
    Catalogue, Entry, Freshness, Gathering, Hints, Limits, PageError, Progress, Shortfall,
};
pub use list::{List, Lists};
