//! Where a request comes from and whom it thinks it talks to.
//!
//! A web page may send requests to any address its user can reach.  Its browser says so in
//! `Origin`, which therefore has to be one we were told of (2025-11-25, transports: security
//! warning).  A page that has its own name resolved to our address sends no foreign `Origin` but
//! a foreign `Host`, so that has to be ours too (DNS rebinding).

use std::collections::BTreeSet;

use gateway_config::{Config, Listen};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    header::{self, HOST, HeaderValue, ORIGIN},
};
use transport_sse::body::Outgoing;
use transport_streamable::header::PARAM_PREFIX;

use crate::answer::Refusal;

/// What a browser may send, beside what every request may.
const ALLOWED_HEADERS: &str = "authorization, content-type, accept, last-event-id, mcp-session-id, \
     mcp-protocol-version, mcp-method, mcp-name, x-api-key";
/// What a page may read of our answers, beside what every answer has.
const EXPOSED_HEADERS: &str = "mcp-session-id, www-authenticate, retry-after";
const PREFLIGHT_MAX_AGE_SECS: &str = "600";

/// The origins and hosts that are ours.
#[derive(Debug)]
pub(crate) struct Origins {
    origins: BTreeSet<String>,
    any_origin: bool,
    hosts: BTreeSet<String>,
    any_host: bool,
    /// A field of the clients' own that they may send.
    affinity: Option<Box<str>>,
}

// === impl Origins ===

impl Origins {
    /// What a configuration allows: its origins; the hosts it listens at, its public URL's, and
    /// those it names.
    ///
    /// Where the gateway listens at every address, only names can be foreign: any address is ours.
    pub(crate) fn new(config: &Config) -> Self {
        let mut hosts: BTreeSet<String> = ["localhost".to_owned()].into();
        for listen in &config.listen {
            match listen {
                Listen::Tcp(address) => hosts.extend([address.ip().to_string()]),
                Listen::Name { host, .. } => hosts.extend([host.to_ascii_lowercase()]),
                _ => (),
            }
        }
        let public = config.public_url.as_ref().and_then(|url| url.uri().host().map(str::to_owned));
        hosts.extend(public.map(|host| host.to_ascii_lowercase()));
        hosts.extend(config.allowed_hosts.iter().map(|host| host.to_ascii_lowercase()));
        if let Ok(name) = std::fs::read_to_string("/etc/hostname") {
            let name = name.trim().to_ascii_lowercase();
            hosts.extend([format!("{name}.local"), format!("{name}.lan"), name]);
        }
        Self {
            origins: config.allowed_origins.iter().map(|it| it.to_ascii_lowercase()).collect(),
            any_origin: config.allowed_origins.iter().any(|it| it == "*"),
            any_host: hosts.contains("*"),
            hosts,
            affinity: config.affinity_header.as_deref().map(Into::into),
        }
    }

    /// Refuses what a foreign page sends, and what was meant for somebody else.
    pub(crate) fn check<B>(&self, request: &Request<B>) -> Result<(), Box<Refusal>> {
        let (headers, uri, version) = (request.headers(), request.uri(), request.version());
        let mut named = headers.get_all(HOST).iter();
        let (host, another) = (named.next(), named.next());
        if another.is_some() {
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "two `Host` fields came");
            return Err(refusal.expect("one").into());
        }
        if host.is_none() && version == Version::HTTP_11 {
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "no `Host` field came");
            return Err(refusal.expect("one, as RFC 9112 §3.2 wants it").into());
        }
        // HTTP/2 says it in `:authority`.
        let host = uri.authority().map(|it| it.as_str()).or_else(|| host?.to_str().ok());
        let host = host.unwrap_or_default();
        if !self.is_our_host(host) {
            let what = format!("`{}` is not a name of this gateway", shortened(host));
            let how = "one of its addresses or names; add others to `gateway.allowedHosts`";
            return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, what).expect(how).into());
        }
        match headers.get(ORIGIN) {
            Some(origin) if !self.is_allowed(origin, host) => {
                let origin = shortened(origin.to_str().unwrap_or("?"));
                let what = format!("pages of `{origin}` may not use this gateway");
                let how = "an origin of `gateway.allowedOrigins`, or no browser";
                Err(Refusal::new(StatusCode::FORBIDDEN, what).expect(how).into())
            }
            _ => Ok(()),
        }
    }

    fn is_our_host(&self, authority: &str) -> bool {
        let host = without_port(authority);
        // Mostly it is written as we have it.
        if self.any_host || self.hosts.contains(host) {
            return true;
        }
        let host = host.to_ascii_lowercase();
        let host = host.trim_end_matches('.');
        let is_address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        is_address
            || self.hosts.contains(host)
            || host.ends_with(".localhost")
            // A unix socket has no host.
            || authority.is_empty()
    }

    fn is_allowed(&self, origin: &HeaderValue, host: &str) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        // A page of the gateway's own.
        let own = origin.split_once("://").is_some_and(|(_, at)| at.eq_ignore_ascii_case(host));
        self.any_origin || own || self.origins.contains(&origin)
    }

    /// Answers the question a browser asks before it lets a page ask (Fetch: CORS preflight).
    pub(crate) fn preflight(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<Response<Outgoing>> {
        let asks = method == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && headers.contains_key(ORIGIN);
        asks.then(|| {
            let mut response = Response::new(Outgoing::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            for (name, value) in [
                (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE, HEAD, OPTIONS"),
                (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE_SECS),
            ] {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            let allowed = self.allowed_headers(headers);
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            response
        })
    }

    /// What the page may send: beside what all may, the mirrored parameters it asks for
    /// (2026-07-28), whose names are the tools', and the name of a conversation.
    fn allowed_headers(&self, headers: &HeaderMap) -> HeaderValue {
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let asked = asked.and_then(|it| it.to_str().ok()).unwrap_or_default();
        let asked = asked.split(',').map(|name| name.trim().to_ascii_lowercase());
        let besides = asked.filter(|name| {
            name.starts_with(PARAM_PREFIX) || self.affinity.as_deref() == Some(name.as_str())
        });
        let all = besides.fold(ALLOWED_HEADERS.to_owned(), |all, name| all + ", " + &name);
        HeaderValue::try_from(all).unwrap_or_else(|_| HeaderValue::from_static(ALLOWED_HEADERS))
    }

    /// Lets the page that asked read the answer.
    pub(crate) fn permit(&self, origin: &HeaderValue, response: &mut Response<Outgoing>) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let exposed = HeaderValue::from_static(EXPOSED_HEADERS);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        // The colon is inside an IPv6 address.
        Some((_, after)) if after.ends_with(']') => authority,
        Some((host, _)) => host,
        None => authority,
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(text: &str) -> Origins {
        let env = gateway_config::FixedEnv::default();
        Origins::new(&Config::parse(text, &env).unwrap())
    }

    fn request(headers: HeaderMap) -> Request<()> {
        let mut request = Request::new(());
        *request.headers_mut() = headers;
        *request.uri_mut() = "/a/mcp".parse().unwrap();
        request
    }

    #[track_caller]
    fn check(origins: &Origins, host: &str, origin: Option<&str>, expect: Option<u16>) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let refused = origins.check(&request(headers)).err();
        let status = refused.map(|it| it.into_response().status().as_u16());
        assert_eq!(status, expect, "{host} {origin:?}");
    }

    #[test]
    fn hosts_and_origins() {
        let plain = origins(r#"{"gateway":{"listen":"127.0.0.1:9090"},"mcpServers":{}}"#);
        check(&plain, "127.0.0.1:9090", None, None);
        check(&plain, "localhost:9090", None, None);
        check(&plain, "[::1]:9090", None, None);
        check(&plain, "192.168.1.7:9090", None, None);
        check(&plain, "evil.example:9090", None, Some(421));
        check(&plain, "localhost:9090", Some("http://localhost:9090"), None);
        check(&plain, "localhost:9090", Some("http://evil.example"), Some(403));
        check(&plain, "localhost:9090", Some("null"), Some(403));

        let named = origins(
            r#"{"gateway":{"listen":":9090","tokens":{"a":"secret-token-1"},"publicUrl":"https://mcp.example/x",
                "allowedHosts":["gw.lan"],"allowedOrigins":["https://app.example"]},"mcpServers":{}}"#,
        );
        check(&named, "mcp.example", Some("https://app.example"), None);
        check(&named, "GW.lan:9090", Some("https://other.example"), Some(403));
        check(&named, "other.lan", None, Some(421));
    }

    #[test]
    fn two_hosts_are_none() {
        let origins = origins(r#"{"gateway":{},"mcpServers":{}}"#);
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost".parse().unwrap());
        headers.append(HOST, "localhost".parse().unwrap());
        assert!(origins.check(&request(headers)).is_err());
    }

    #[test]
    fn one_host_has_to_be_named() {
        let origins = origins(r#"{"gateway":{},"mcpServers":{}}"#);
        let mut request = request(HeaderMap::new());
        let refusal = origins.check(&request).unwrap_err();
        assert_eq!(refusal.into_response().status(), StatusCode::BAD_REQUEST);
        *request.version_mut() = Version::HTTP_10;
        origins.check(&request).unwrap();
    }
}
