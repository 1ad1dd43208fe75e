//! Many servers at one door.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aggregate::Aggregate;
use router::{keep::Keeping, route::Route};
use serde::Serialize;

use crate::door::Entry;

/// What all servers as one are called; no server can be called so.
pub(crate) const ALL: &str = "(all)";

/// Many servers at one door: all of them, or a group.
#[derive(Debug)]
pub(crate) struct Joint {
    /// The door, with the sessions that clients have with it.
    pub(crate) entry: Arc<Entry>,
    /// What is behind it.
    pub(crate) aggregate: Aggregate,
}

/// Those there are, by name: [`ALL`], or `g/GROUP`.
pub(crate) type Joints = BTreeMap<String, Arc<Joint>>;

/// What is shown of one to who asks how the gateway is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JointOverview {
    /// `(all)`, or `g/GROUP`.
    pub name: String,
    /// Where it is to be had.
    pub routes: Vec<String>,
    /// How many sessions clients have with it.
    pub sessions: usize,
    /// How many callers, revisions and kinds of clients lists are kept for.
    pub scopes: usize,
    /// How many tools, prompts, resources and templates are kept, each once.
    pub entries: usize,
    /// What these take, in bytes.
    pub bytes: usize,
    /// The servers that are missing from what somebody is shown, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<aggregate::Missing>,
}

/// The name by which a path means many servers.
pub(crate) fn meant(route: Route<'_>) -> Option<String> {
    match route {
        Route::All(_) => Some(ALL.to_owned()),
        Route::Group(name, _) => Some(format!("g/{name}")),
        _ => None,
    }
}

/// The path below the mount path that a name stands for, without its last segment.
pub(crate) fn path_of(name: &str) -> String {
    if name == ALL { String::new() } else { format!("/{name}") }
}

// === impl Joint ===

impl Joint {
    /// Lets sessions outlive this process, and cursors be read by others.
    pub(crate) fn keep(&self, keeping: &Keeping) {
        self.entry.rooms.server.keep(keeping.clone());
        self.entry.rooms.front.seal_with(&keeping.keyring);
        self.aggregate.keep(keeping.keyring.clone());
    }

    /// Takes no new work, lets what runs end for up to `grace`, and ends its sessions.
    pub(crate) async fn shut_down(&self, grace: Duration, why: &'static str) {
        self.entry.shut_down(grace, why).await;
        self.aggregate.shut_down().await;
    }

    pub(crate) fn overview(&self, name: &str) -> JointOverview {
        let status = self.aggregate.status();
        JointOverview {
            name: name.to_owned(),
            routes: self.entry.routes.clone(),
            sessions: self.entry.rooms.server.status().sessions,
            scopes: status.scopes,
            entries: status.entries,
            bytes: status.bytes,
            missing: status.missing,
        }
    }
}
