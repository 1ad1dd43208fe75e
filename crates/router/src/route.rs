//! Paths: what leads where, and what somebody who went wrong may have meant.

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// A server, by one of its doors.
    Server(&'a str, Door),
    /// All servers as one.
    All(Door),
    /// Some servers as one, by the name of their group.
    Group(&'a str, Door),
    /// The page about the gateway itself.
    Home,
    /// `pong`.
    Ping,
    /// Whether the process is alive.
    Health,
    /// Whether it can serve.
    Ready,
    /// Each server's state.
    Status,
    /// What was counted, for Prometheus.
    Metrics,
}

/// Which transport a path speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// Streamable HTTP.
    Mcp,
    /// HTTP+SSE: where the stream is opened.
    Sse,
    /// HTTP+SSE: where messages are posted.
    Messages,
}

impl Door {
    fn read(segment: &str) -> Option<Self> {
        Some(match segment {
            "mcp" | "stream" => Self::Mcp,
            "sse" => Self::Sse,
            "message" | "messages" => Self::Messages,
            _ => return None,
        })
    }

    /// The last segment of its path, as the gateway writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::Sse => "sse",
            Self::Messages => "message",
        }
    }
}

impl<'a> Route<'a> {
    /// Reads a path, without its query; none if it leads nowhere.
    ///
    /// A server's name may hold slashes.  `/servers/NAME/…` is read as `/NAME/…`, and a trailing
    /// slash as none, because clients have both written down.
    pub fn read(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        match path {
            "" => return Some(Self::Home),
            "ping" => return Some(Self::Ping),
            "healthz" | "_healthz" => return Some(Self::Health),
            "readyz" | "_readyz" => return Some(Self::Ready),
            "status" => return Some(Self::Status),
            "metrics" => return Some(Self::Metrics),
            _ => (),
        }
        if let Some(door) = Door::read(path) {
            return Some(Self::All(door));
        }
        let path = path.strip_prefix("servers/").unwrap_or(path);
        let (server, door) = path.rsplit_once('/')?;
        let door = Door::read(door)?;
        if let Some(group) = server.strip_prefix("g/") {
            return (!group.is_empty() && !group.contains('/')).then_some(Self::Group(group, door));
        }
        let is_name = !server.is_empty() && server.split('/').all(|part| !part.is_empty());
        is_name.then_some(Self::Server(server, door))
    }
}

/// So many segments of a path are compared with the known names, and no longer ones: whoever knocks
/// at a wrong door is helped at a price that he does not set.
const SEGMENT_COUNT_MAX: usize = 8;
const SEGMENT_LEN_MAX: usize = 128;

/// The known name nearest to a path that leads nowhere: one it mentions, or one it nearly spells.
pub fn nearest<'n>(path: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let fits = |segment: &&str| !segment.is_empty() && segment.len() <= SEGMENT_LEN_MAX;
    let segments: Vec<&str> = path.split('/').filter(fits).take(SEGMENT_COUNT_MAX).collect();
    let edits = |segment: &str, name: &str| {
        strsim::osa_distance(&segment.to_lowercase(), &name.to_lowercase())
    };
    let distance = |name: &str| segments.iter().map(|it| edits(it, name)).min();
    let near = names.filter_map(|name| Some((distance(name)?, name)));
    let near = near.filter(|(distance, name)| *distance <= name.chars().count().div_ceil(3));
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expect: Option<Route<'_>>) {
        assert_eq!(Route::read(path), expect, "{path}");
    }

    #[test]
    fn paths() {
        for path in ["/postgres/mcp", "/postgres/mcp/", "/postgres/stream", "/servers/postgres/mcp"]
        {
            check(path, Some(Route::Server("postgres", Door::Mcp)));
        }
        check("/servers/postgres/sse", Some(Route::Server("postgres", Door::Sse)));
        for path in ["/postgres/message", "/postgres/messages/", "/servers/postgres/messages/"] {
            check(path, Some(Route::Server("postgres", Door::Messages)));
        }
        check("/fetch/s3cret/mcp", Some(Route::Server("fetch/s3cret", Door::Mcp)));
        check("/mcp", Some(Route::All(Door::Mcp)));
        check("/sse/", Some(Route::All(Door::Sse)));
        check("/messages", Some(Route::All(Door::Messages)));
        check("/g/dev/mcp", Some(Route::Group("dev", Door::Mcp)));
        check("/g/dev/message", Some(Route::Group("dev", Door::Messages)));
        check("/", Some(Route::Home));
        check("/_healthz", Some(Route::Health));
        check("/readyz/", Some(Route::Ready));
        check("/metrics", Some(Route::Metrics));
        for path in [
            "",
            "mcp",
            "//mcp",
            "/g//mcp",
            "/g/a/b/mcp",
            "/postgres",
            "/postgres/",
            "/a//b/mcp",
            "/a/mcp/.well-known/x",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn what_was_meant() {
        let names = || ["postgres", "fetch", "time"].into_iter();
        assert_eq!(nearest("/postgers/sse", names()), Some("postgres"));
        assert_eq!(nearest("/servers/fetch", names()), Some("fetch"));
        assert_eq!(nearest("/tiem/sse", names()), Some("time"));
        assert_eq!(nearest("/Time/foo", names()), Some("time"));
        assert_eq!(nearest("/nothing/sse", names()), None);
    }

    #[test]
    fn nobody_makes_us_compare_without_end() {
        let names = || ["postgres"].into_iter();
        let long = "x".repeat(SEGMENT_LEN_MAX + 1);
        assert_eq!(nearest(&format!("/{long}/postgers/sse"), names()), Some("postgres"));
        let name = "p".repeat(SEGMENT_LEN_MAX + 1);
        assert_eq!(nearest(&format!("/{name}/sse"), [&*name].into_iter()), None);
        let many = "/y".repeat(SEGMENT_COUNT_MAX);
        assert_eq!(nearest(&format!("{many}/postgers"), names()), None);
    }
}
