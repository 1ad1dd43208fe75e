//! What many servers offer, as if it were one server: catalogues, names, shaping, and views of it.
//!
//! A [`Catalogue`] is what one server lists for one scope of callers, in the bytes in which it was
//! listed.  A [`Shape`] says which of that is shown, and how.  A [`View`] shows several servers as
//! one: under which [`names`] their tools and prompts are known, so that no name leads to the wrong
//! one, whoever else comes or goes; whose an address is, and how one that two have is told apart
//! ([`uris`]); and how lists are answered, page by page.
//!
//! [`search`] puts three tools in the place of all of a view's.
//!
//! Nothing here does I/O, waits or keeps time: whoever asks servers and answers clients does.

pub mod alone;
mod catalogue;
mod direct;
mod glob;
mod list;
mod lost;
pub mod names;
mod rewrite;
pub mod search;
mod shape;
pub mod uris;
mod view;

pub use catalogue::{
    Catalogue, Entry, Freshness, Gathering, Hints, Limits, PageError, Progress, Shortfall,
};
pub use direct::Direction;
pub use glob::Glob;
pub use list::{List, Lists};
pub use lost::{Lost, Rival};
pub use shape::{Argument, Arguments, Filter, Hint, Misfit, Override, Rule, Shape, Withheld};
pub use view::{CursorError, Found, Located, Member, Page, PageLimits, Settings, View, ViewError};
