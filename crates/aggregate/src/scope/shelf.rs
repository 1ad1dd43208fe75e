//! What is known of one server's lists.

use std::sync::{Arc, Weak};

use catalogue::{Catalogue, List};
use tokio::{sync::watch, time::Instant};

use crate::{link::Link, member::Member, options::Options};

/// What is known of one server's lists.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) member: Arc<Member>,
    /// What it listed the last time that it could be asked.
    pub(super) catalogue: Option<Arc<Catalogue>>,
    /// What it refused to list.
    pub(super) refused: Vec<String>,
    /// Why it is not there, if it is not.
    pub(super) absence: Option<Arc<str>>,
    /// It may list something else by now.
    pub(super) is_stale: bool,
    /// It has been waited for in vain.
    pub(super) is_late: bool,
    /// As far as is known it lists this to one session alone.
    pub(super) is_unproven: bool,
    /// When it said the last time, to whom listens for all, that something changed.
    pub(super) heard: Option<Instant>,
    /// When it was asked, and when it answered, the last time.
    pub(super) asked: Option<Instant>,
    pub(super) filled: Option<Instant>,
    /// Set once it has been asked, while it is.
    pub(super) filling: Option<watch::Receiver<bool>>,
    /// How often it could not be asked since it could.
    pub(super) failures: u32,
    /// It will be asked again without anybody's doing.
    pub(super) is_retried: bool,
    /// The link that hears when something changes.
    pub(super) watch: Weak<Link>,
}

// === impl Shelf ===

impl Shelf {
    pub(super) fn new(member: Arc<Member>) -> Self {
        Self {
            member,
            catalogue: None,
            refused: Vec::new(),
            absence: None,
            is_stale: false,
            is_late: false,
            is_unproven: false,
            heard: None,
            asked: None,
            filled: None,
            filling: None,
            failures: 0,
            is_retried: false,
            watch: Weak::new(),
        }
    }

    /// The same server, configured otherwise.
    pub(super) fn reconfigured(mut self, member: Arc<Member>) -> Self {
        if !self.member.is_reached_like(&member) {
            self.watch = Weak::new();
            self.is_stale = true;
        }
        self.member = member;
        self
    }

    /// Whatever was known of it may be otherwise.
    pub(super) fn doubt(&mut self) {
        self.absence = None;
        self.is_late = false;
        self.is_stale = true;
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watch.upgrade().is_some_and(|it| it.is_open())
    }

    pub(super) fn is_watched_by(&self, link: &Arc<Link>) -> bool {
        std::ptr::eq(self.watch.as_ptr(), Arc::as_ptr(link))
    }

    /// Whether it has to be asked before anything can be said of what it lists.  One that is not
    /// there is asked again when its time has come, and not by everybody who lists.
    pub(super) fn is_needed(&self, now: Instant, options: &Options) -> bool {
        if self.absence.is_some() {
            return false;
        }
        self.catalogue.is_none()
            || self.is_stale
            || self.filling.is_some()
            || !self.is_watched()
            || self.is_expired(now, options)
    }

    /// Whether a name that nobody is known to have may be one of its.
    pub(super) fn may_have_more(&self, now: Instant, options: &Options) -> bool {
        let pause = self.asked.is_none_or(|asked| options.retry_min <= now - asked);
        let is_sure = self.catalogue.as_ref().is_some_and(|it| announces(it))
            && self.absence.is_none()
            && !self.is_stale
            && self.is_watched();
        pause && !is_sure
    }

    /// Why it is missing, if it is.
    pub(super) fn reason(&self) -> Option<Arc<str>> {
        match (&self.absence, &self.catalogue) {
            (Some(reason), _) => Some(Arc::clone(reason)),
            (None, None) => Some("it has not answered yet".into()),
            (None, Some(_)) => None,
        }
    }

    fn is_expired(&self, now: Instant, options: &Options) -> bool {
        let (Some(catalogue), Some(filled)) = (&self.catalogue, self.filled) else { return false };
        is_expired(catalogue, filled, now, options)
    }
}

/// Whether a catalogue of so long ago may be outdated though nothing was said.
pub(crate) fn is_expired(
    catalogue: &Catalogue,
    since: Instant,
    now: Instant,
    options: &Options,
) -> bool {
    let age = now.saturating_duration_since(since);
    match catalogue.freshness().ttl_ms {
        Some(ms) => u128::from(ms) <= age.as_millis(),
        None => options.list_ttl <= age && !announces(catalogue),
    }
}

/// Whether a server says that it announces changes of each list that it has.
fn announces(catalogue: &Catalogue) -> bool {
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Lists {
        tools: Option<Changes>,
        prompts: Option<Changes>,
        resources: Option<Changes>,
    }
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Changes {
        list_changed: bool,
    }
    let said = catalogue.capabilities();
    let said = said.and_then(|it| serde_json::from_str::<Lists>(it.get()).ok()).unwrap_or_default();
    let all = [said.tools, said.prompts, said.resources];
    all.into_iter().flatten().all(|it| it.list_changed)
        || List::ALL.into_iter().all(|list| catalogue.list(list).is_empty())
}
