//! What gives way where there is no room for everything.

use crate::{Kind, Message};

impl Message {
    /// Whether nobody is the worse without it: a line of log, or how far something has come.
    ///
    /// Where a reader is too slow this goes first; what is left is what somebody waits for, or
    /// would never learn otherwise.
    pub fn is_spare(&self) -> bool {
        self.kind() == Kind::Notification
            && matches!(self.method(), Some("notifications/message" | "notifications/progress"))
    }

    /// Whether it is news that say nothing which `earlier` does not: whoever has yet to read that
    /// one looks again anyway.
    pub fn repeats(&self, earlier: &Self) -> bool {
        let is_news = matches!(
            self.method(),
            Some(
                "notifications/tools/list_changed"
                    | "notifications/prompts/list_changed"
                    | "notifications/resources/list_changed"
                    | "notifications/resources/updated"
            )
        );
        is_news
            && self.kind() == Kind::Notification
            && self.method() == earlier.method()
            && self.body() == earlier.body()
    }
}
