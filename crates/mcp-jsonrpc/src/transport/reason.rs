//! Why a request is taken back.
//!
//! To cancel is to drop, and a drop has no arguments.  So whoever drops says why for as long as
//! the drop takes, and whoever writes `notifications/cancelled` because of it asks for that.

use std::cell::RefCell;

/// As much of a reason is passed on, in characters.
const REASON_LEN_MAX: usize = 1024;

thread_local! {
    static REASON: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Puts the last reason back, also where a drop panics.
struct Back(Option<Box<str>>);

/// Drops requests under way for a reason, which their peers are told: the first 1,024 characters.
pub fn abandon<T>(requests: T, reason: &str) {
    let reason = reason.chars().take(REASON_LEN_MAX).collect::<String>();
    let _back = Back(REASON.replace(Some(reason.into())));
    drop(requests);
}

/// Why the request is dropped that is being dropped, if anybody said so.
pub fn reason() -> Option<Box<str>> {
    REASON.with_borrow(Clone::clone)
}

impl Drop for Back {
    fn drop(&mut self) {
        REASON.replace(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Hears<'a>(&'a RefCell<Vec<Option<Box<str>>>>);

    impl Drop for Hears<'_> {
        fn drop(&mut self) {
            self.0.borrow_mut().push(reason());
        }
    }

    #[test]
    fn a_reason_lasts_as_long_as_the_drop() {
        let heard = RefCell::default();
        abandon((Hears(&heard), Hears(&heard)), "the user pressed Escape");
        drop(Hears(&heard));
        abandon(Hears(&heard), &"ü".repeat(5000));
        let heard = heard.into_inner();
        let escape = Some("the user pressed Escape".into());
        assert_eq!(heard[..3], [escape.clone(), escape, None]);
        assert_eq!(heard[3].as_ref().unwrap().chars().count(), REASON_LEN_MAX);
    }
}
