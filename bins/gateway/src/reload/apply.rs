//! What happens when another configuration holds: servers come, change and go, and whoever may
//! not be here any more is shown out.

use std::{sync::Arc, time::Duration};

use auth::Access;
use gateway_config::Config;
use mcp_jsonrpc::transport::Caller;
use router::server::Fate;
use tokio::time::Instant;
use tracing::{debug, info};

use crate::{
    assemble::{joints::Change, next::Step},
    door::{Door, Entry},
    house::House,
};

const REMOVED: &str = "the server was removed from the configuration";
const REVOKED: &str = "the token that this was opened with is no longer good for this server";
/// After this long nobody is on the way from the door to a server who was let in before.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// Lets the next door stand, and does what has to be done for each server.  What takes time goes
/// on when this returns.
pub(super) fn apply(
    house: &Arc<House>,
    (was, config): (&Arc<Config>, &Arc<Config>),
    (door, steps, changes): (Door, Vec<(String, Step)>, Vec<Change>),
) {
    let (old, door) = (house.door(), Arc::new(door));
    for (_, step) in &steps {
        if let Step::Replace { front, .. } | Step::Treat { front, .. } = step {
            front.apply_sse();
        }
    }
    house.replace(Arc::clone(&door));
    review(house, (was, config), (&old, &door));
    for (name, step) in steps {
        take(house, &door, config, (name, step));
    }
    // After the servers: whoever is told of new ones finds them there.
    changes.into_iter().for_each(Change::apply);
    end_joints(house, (&old, &door), config);
}

fn take(house: &House, door: &Arc<Door>, config: &Config, (name, step): (String, Step)) {
    let grace = config.timeouts.drain_timeout;
    let ending = ending(door, config.shutdown_grace);
    match step {
        Step::Add(entry) => entry.rooms.server.start(),
        Step::Treat { front, tools } => {
            front.rooms.front.reconfigure(front.front_options);
            front.rooms.server.reconfigure(front.options);
            if tools {
                front.rooms.server.announce_tools();
            }
        }
        Step::Replace { front, way, old } => {
            let began = Instant::now();
            let rooms = front.rooms;
            let left = rooms.server.replace(way.transport, front.options, grace);
            rooms.front.reconfigure(front.front_options);
            rooms.front.forget();
            house.leaving.spawn(async move {
                let gone = async {
                    left.await;
                    old.transport.shut_down().await;
                    old.children.gone().await;
                };
                tokio::select! {
                    () = gone => (),
                    () = ending => return,
                }
                let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                debug!(server = name, took_ms, "nothing is left of it as it was configured before");
            });
        }
        Step::Remove(entry) => {
            house.leaving.spawn(async move {
                tokio::select! {
                    () = entry.shut_down(grace, REMOVED) => (),
                    () = ending => entry.shut_down(Duration::ZERO, REMOVED).await,
                }
                info!(server = name, "removed: nothing is left of it");
            });
        }
    }
}

/// Ends the doors to many servers that are not wanted any more.
fn end_joints(house: &House, (old, door): (&Arc<Door>, &Arc<Door>), config: &Config) {
    let gone = old.joints.iter().filter(|(name, _)| !door.joints.contains_key(*name));
    for (name, joint) in gone {
        let (name, joint) = (name.clone(), Arc::clone(joint));
        let grace = config.timeouts.drain_timeout;
        let ending = ending(door, config.shutdown_grace);
        house.leaving.spawn(async move {
            tokio::select! {
                () = joint.shut_down(grace, REMOVED) => (),
                () = ending => joint.shut_down(Duration::ZERO, REMOVED).await,
            }
            debug!(aggregate = name, "removed: nothing is left of it");
        });
    }
}

/// When the gateway itself ends, and its grace is over.
fn ending(door: &Arc<Door>, grace: Duration) -> impl Future<Output = ()> + Send + use<> {
    let draining = door.draining.clone();
    async move {
        draining.cancelled().await;
        tokio::time::sleep(grace).await;
    }
}

/// Looks at the sessions of every server whose callers' rights may have changed: now, and once
/// more when nobody is on the way.
fn review(
    house: &House,
    (was, config): (&Arc<Config>, &Arc<Config>),
    (old, door): (&Arc<Door>, &Arc<Door>),
) {
    let servers = door.servers.iter().filter_map(|(name, it)| Some((it, old.servers.get(name)?)));
    let joints =
        door.joints.iter().filter_map(|(name, it)| Some((&it.entry, &old.joints.get(name)?.entry)));
    for (entry, before) in servers.chain(joints) {
        if was.tokens == config.tokens && before.access == entry.access {
            continue;
        }
        let (entry, was, config) = (Arc::clone(entry), Arc::clone(was), Arc::clone(config));
        house.leaving.spawn(async move {
            look(&entry, &was, &config).await;
            tokio::time::sleep(SECOND_LOOK).await;
            // Who has come back meanwhile is not sent away a second time.
            let fate = |caller: &Caller| match fate(&entry.access, (&was, &config), caller) {
                Fate::Ends => Fate::Ends,
                _ => Fate::Stays,
            };
            review_of(&entry, fate).await;
        });
    }
}

async fn look(entry: &Entry, was: &Config, config: &Config) {
    let fate = |caller: &Caller| fate(&entry.access, (was, config), caller);
    review_of(entry, fate).await;
}

async fn review_of(entry: &Entry, fate: impl Fn(&Caller) -> Fate) {
    let (front, server) = (&entry.rooms.front, &entry.rooms.server);
    front.review(|it| fate(it) == Fate::Stays, |it| fate(it) != Fate::Ends);
    server.review(REVOKED, fate).await;
}

/// What becomes of a caller's sessions.
fn fate(access: &Access, (was, config): (&Config, &Config), caller: &Caller) -> Fate {
    let Some(name) = caller.subject.as_deref() else {
        return if *access == Access::Anybody { Fate::Stays } else { Fate::Ends };
    };
    let secret = |config: &Config| {
        let mut tokens = config.tokens.iter();
        tokens.find(|token| token.name == name).map(|token| token.secret.clone())
    };
    let may = match access {
        Access::Anybody | Access::AnyToken => true,
        Access::Tokens(names) => names.contains(name),
    };
    match secret(config) {
        Some(now) if may => match secret(was) {
            Some(was) if was != now => Fate::Reopens,
            _ => Fate::Stays,
        },
        _ => Fate::Ends,
    }
}
