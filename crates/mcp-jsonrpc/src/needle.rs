//! Texts that many messages are searched for.

use std::sync::OnceLock;

/// A text that many messages are searched for: what a search has to know of it is worked out once.
#[derive(Debug)]
pub struct Needle(&'static str, OnceLock<memchr::memmem::Finder<'static>>);

impl Needle {
    /// Any text.
    pub const fn new(text: &'static str) -> Self {
        Self(text, OnceLock::new())
    }

    pub(crate) fn finder(&self) -> &memchr::memmem::Finder<'static> {
        self.1.get_or_init(|| memchr::memmem::Finder::new(self.0))
    }
}
