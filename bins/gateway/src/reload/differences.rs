//! In what two configurations differ, by their keys; never by a secret value.

use std::collections::{BTreeMap, BTreeSet};

use gateway_config::{Config, Secret, TokenEntry, Upstream};

use super::report::{Change, Outcome, Report, ServerChange};
use crate::assemble::next::Step;

/// Puts back what cannot change while the gateway runs; says what that is.
pub(super) fn keep_what_cannot_change(was: &Config, config: &mut Config) -> Vec<String> {
    let mut kept = Vec::new();
    if config.listen != was.listen {
        kept.push("gateway.listen");
        config.listen.clone_from(&was.listen);
    }
    if config.base_path != was.base_path {
        kept.push("gateway.basePath");
        config.base_path.clone_from(&was.base_path);
    }
    if config.control != was.control {
        kept.push("gateway.control");
        config.control.clone_from(&was.control);
    }
    if config.state_dir != was.state_dir {
        kept.push("gateway.stateDir");
        config.state_dir.clone_from(&was.state_dir);
    }
    if config.metrics != was.metrics {
        kept.push("gateway.metrics");
        config.metrics = was.metrics;
    }
    if config.audit != was.audit {
        kept.push("gateway.audit");
        config.audit.clone_from(&was.audit);
    }
    kept.into_iter().map(str::to_owned).collect()
}

/// Keys of settings that are reported by other means, or cannot change.
const APART: &[&str] = &["gateway.listen", "gateway.basePath", "gateway.control", "gateway.tls"];

/// What is about to happen, for people.
pub(super) fn report(was: &Config, config: &Config, steps: &[(String, Step)]) -> Report {
    let mut report = Report::of(Outcome::Applied);
    let touched: BTreeSet<&str> = steps.iter().map(|(name, _)| name.as_str()).collect();
    report.kept = config.enabled().filter(|it| !touched.contains(it.name.as_str())).count();
    for (name, step) in steps {
        let change = match step {
            Step::Add(_) => Change::Added,
            Step::Replace { .. } => Change::Restarted,
            Step::Treat { .. } => Change::Adjusted,
            Step::Remove(_) => Change::Removed,
        };
        let why = match change {
            Change::Added => Vec::new(),
            Change::Removed => {
                let is_disabled = config.servers.get(name).is_some_and(|it| it.disabled);
                Vec::from_iter(is_disabled.then(|| "disabled".to_owned()))
            }
            Change::Restarted | Change::Adjusted => {
                let mut why = differing(was, config, &format!("mcpServers.{name}."));
                if let (Some(was), Some(now)) = (was.servers.get(name), config.servers.get(name)) {
                    why.extend(ways(&was.upstream, &now.upstream));
                }
                let why: Vec<String> = BTreeSet::from_iter(why).into_iter().collect();
                let is_same = was.servers.get(name) == config.servers.get(name);
                match why.is_empty() {
                    true if is_same && change == Change::Adjusted => {
                        // What changed is the gateway's, and said there.
                        report.kept += 1;
                        continue;
                    }
                    true if is_same => {
                        vec!["what holds for all servers, or a file it names".to_owned()]
                    }
                    true => vec!["another value".to_owned()],
                    false => why,
                }
            }
        };
        report.servers.push(ServerChange { name: name.clone(), change, why });
    }
    let is_told = |key: &String| {
        let token = key.starts_with("gateway.tokens.");
        !token && !APART.contains(&key.as_str())
    };
    let settings = differing(was, config, "gateway.").into_iter();
    let settings = settings.map(|key| format!("gateway.{key}")).filter(is_told);
    report.settings = settings.collect();
    let groups = differing(was, config, "groups.").into_iter();
    report.settings.extend(groups.map(|key| format!("groups.{key}")));
    report.settings.extend(tokens(&was.tokens, &config.tokens));
    report
}

/// The keys below `prefix` whose values differ, without it.
fn differing(was: &Config, config: &Config, prefix: &str) -> Vec<String> {
    let below = |config: &Config| -> BTreeMap<String, String> {
        let given = config.given().filter_map(|(key, given)| {
            Some((key.strip_prefix(prefix)?.to_owned(), given.shown.clone()))
        });
        given.collect()
    };
    let (was, now) = (below(was), below(config));
    let keys: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    keys.into_iter().filter(|key| was.get(*key) != now.get(*key)).cloned().collect()
}

/// In what two ways to a server differ, by keys: their values may be secret.
fn ways(was: &Upstream, now: &Upstream) -> Vec<String> {
    fn pairs(
        key: &str,
        was: &BTreeMap<String, Secret>,
        now: &BTreeMap<String, Secret>,
    ) -> Vec<String> {
        let names: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
        let names = names.into_iter().filter(|name| was.get(*name) != now.get(*name));
        names.map(|name| format!("{key}.{name}")).collect()
    }
    let said = |differ: bool, key: &str| differ.then(|| key.to_owned());
    match (was, now) {
        (Upstream::Stdio(was), Upstream::Stdio(now)) => {
            let mut keys = pairs("env", &was.env, &now.env);
            keys.extend(said(was.program != now.program, "command"));
            keys.extend(said(was.args != now.args, "args"));
            keys
        }
        (was, now) if was.kind() != now.kind() => vec!["type".to_owned()],
        (was, now) => match (was.remote(), now.remote()) {
            (Some(was), Some(now)) => {
                let mut keys = pairs("headers", &was.headers, &now.headers);
                keys.extend(said(was.url != now.url, "url"));
                keys
            }
            _ => Vec::new(),
        },
    }
}

/// Which tokens came, went, or are others under the same name.
fn tokens(was: &[TokenEntry], now: &[TokenEntry]) -> Vec<String> {
    let find = |all: &[TokenEntry], name: &str| all.iter().find(|it| it.name == name).cloned();
    let mut said = Vec::new();
    for token in now {
        match find(was, &token.name) {
            None => said.push(format!("gateway.tokens.{}: added", token.name)),
            Some(old) if old.secret != token.secret => {
                said.push(format!("gateway.tokens.{}: another secret", token.name));
            }
            Some(old) if old.servers != token.servers => {
                said.push(format!("gateway.tokens.{}: other servers", token.name));
            }
            Some(old) if old.shape != token.shape => {
                said.push(format!("gateway.tokens.{}: shown something else", token.name));
            }
            Some(_) => (),
        }
    }
    let gone = was.iter().filter(|token| find(now, &token.name).is_none());
    said.extend(gone.map(|token| format!("gateway.tokens.{}: removed", token.name)));
    said
}
