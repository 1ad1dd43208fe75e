//! What a child finds in its environment.

use std::ffi::{OsStr, OsString};

/// What every child gets of the gateway's own environment.
///
/// Who and where one is, how text is to look, and how the network is reached: proxies and
/// certificates are the machine's, and a child without them fails in ways that are hard to tell.
/// Nothing that is anybody's key is passed on unless it is asked for.
pub const PASSED_ON: &[&str] = &[
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// The beginnings of further names that every child gets.
pub const PASSED_ON_PREFIXES: &[&str] = &["LC_", "XDG_"];

/// What a child gets: what is passed on of `own`, or all of it, and then what is configured, of
/// which a later pair replaces an earlier one.
///
/// Python holds its output back when that is no terminal, unless told not to: it is told.
pub(super) fn environment(
    own: impl Iterator<Item = (OsString, OsString)>,
    inherit: bool,
    configured: &[(OsString, OsString)],
) -> Vec<(OsString, OsString)> {
    let unbuffered = ("PYTHONUNBUFFERED".into(), "1".into());
    let own = own.filter(|(name, _)| inherit || is_passed_on(name));
    let mut all: Vec<(OsString, OsString)> = [unbuffered].into_iter().chain(own).collect();
    for (name, value) in configured {
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => known.clone_from(value),
            None => all.push((name.clone(), value.clone())),
        }
    }
    all
}

/// What the environment says under this name.
pub(super) fn find<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    env.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
}

fn is_passed_on(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    PASSED_ON.contains(&name) || PASSED_ON_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(OsString, OsString)> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.into(), value.into())).collect()
    }

    #[track_caller]
    fn check(own: &str, inherit: bool, configured: &str, expect: &str) {
        let found = environment(pairs(own).into_iter(), inherit, &pairs(configured));
        assert_eq!(found, pairs(expect));
    }

    #[test]
    fn what_a_child_finds() {
        let own = "PATH=/bin AWS_SECRET=x LC_ALL=C LCX=1 XDG_RUNTIME_DIR=/run";
        check(own, false, "", "PYTHONUNBUFFERED=1 PATH=/bin LC_ALL=C XDG_RUNTIME_DIR=/run");
        check("A=1 B=2", true, "", "PYTHONUNBUFFERED=1 A=1 B=2");
        check("PATH=/bin", false, "A=1 PATH=/x A=2", "PYTHONUNBUFFERED=1 PATH=/x A=2");
        check("", false, "PYTHONUNBUFFERED=", "PYTHONUNBUFFERED=");
        check("PYTHONUNBUFFERED=0", true, "", "PYTHONUNBUFFERED=1 PYTHONUNBUFFERED=0");
    }
}
