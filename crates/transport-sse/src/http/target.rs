//! Which server: its name, its address, and the fields it is sent with every request.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use hyper::{
    HeaderMap, Method, Request, Uri,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
    http::{request, uri::Authority},
};
use tracing::warn;

use super::idle::{Idle, IdleMax};
use crate::base64;

/// A server behind HTTP.  Clones share the name, and the connections that are not in use.
#[derive(Clone)]
pub struct HttpTarget {
    name: Arc<str>,
    url: Uri,
    headers: HeaderMap,
    tls: bool,
    /// Its connections that are not in use, once there may be any.
    idle: Arc<OnceLock<Arc<Idle>>>,
}

/// Why an address or a field of a server cannot be used.  Values are never shown: they may be
/// secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Not a URL.
    #[error("the URL of server `{server}` cannot be read: {what}")]
    Url {
        /// The server.
        server: Arc<str>,
        /// What is wrong with it.
        what: Box<str>,
    },
    /// Not a field.
    #[error("header `{header}` of server `{server}`: {what}")]
    Header {
        /// The server.
        server: Arc<str>,
        /// The name of the field.
        header: Box<str>,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// Fields the transports write themselves; what is configured for them is left out.
const OURS: [&str; 12] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "keep-alive",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

// === impl HttpTarget ===

impl HttpTarget {
    /// A server by this name at this `http` or `https` URL, sent these fields with every request.
    ///
    /// Credentials in the URL become an `Authorization: Basic` field, unless there is one among
    /// `headers`; in the URL they would end up in logs.  Fields that the transports write
    /// themselves (`Accept`, `Content-Type`, …) are left out.
    ///
    /// # Errors
    ///
    /// [`TargetError`] for what is no such URL or field.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(
        name: impl Into<Arc<str>>,
        url: &str,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, TargetError> {
        let name = name.into();
        let (url, credentials) =
            read_url(url).map_err(|what| TargetError::Url { server: Arc::clone(&name), what })?;
        let mut fields = HeaderMap::new();
        for (header, value) in headers {
            let header = header.as_ref();
            let bad = |what| TargetError::Header {
                server: Arc::clone(&name),
                header: header.into(),
                what,
            };
            let Ok(field) = HeaderName::try_from(header) else {
                return Err(bad("not a header name"));
            };
            if OURS.contains(&field.as_str()) {
                warn!(server = &*name, header, "left out: the gateway sets this field itself");
                continue;
            }
            let Ok(mut value) = HeaderValue::try_from(value.as_ref()) else {
                return Err(bad("the value holds what a header cannot (a line break?)"));
            };
            value.set_sensitive(true);
            fields.append(field, value);
        }
        if let (Some(basic), false) = (credentials, fields.contains_key(AUTHORIZATION)) {
            fields.insert(AUTHORIZATION, basic);
        }
        let tls = url.scheme_str() == Some("https");
        Ok(Self { name, url, headers: fields, tls, idle: Arc::default() })
    }

    /// The server's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its address, without credentials.
    pub fn url(&self) -> &Uri {
        &self.url
    }

    /// Whether it is reached over TLS.
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The host and port, as written.
    pub fn authority(&self) -> &str {
        self.url.authority().map_or("", Authority::as_str)
    }

    /// Its connections that are not in use; the bounds are those of who asks first.
    pub(super) fn idle(&self, max: impl FnOnce() -> IdleMax) -> &Arc<Idle> {
        self.idle.get_or_init(|| Arc::new(Idle::new(max())))
    }

    /// A request to this server at this address of its own.
    pub fn request(&self, method: Method, uri: Uri) -> request::Builder {
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(headers) = request.headers_mut() {
            headers.clone_from(&self.headers);
        }
        request
    }
}

impl fmt::Debug for HttpTarget {
    /// Shows neither values of fields nor a query: both may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTarget")
            .field("name", &self.name)
            .field("authority", &self.authority())
            .field("path", &self.url.path())
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// A URL without its credentials, and these as a field.
fn read_url(text: &str) -> Result<(Uri, Option<HeaderValue>), Box<str>> {
    let text = text.trim();
    let text = text.split('#').next().unwrap_or_default();
    let url: Uri = text.parse().map_err(|error: hyper::http::uri::InvalidUri| error.to_string())?;
    match url.scheme_str() {
        Some("http" | "https") => (),
        Some(_) => return Err("it begins with neither http:// nor https://".into()),
        None => return Err("it is not absolute; it begins with http:// or https://".into()),
    }
    let authority = url.authority().map_or("", Authority::as_str);
    let Some((credentials, host)) = authority.rsplit_once('@') else {
        return Ok((url, None));
    };
    let unescaped = unescape(credentials).ok_or("its credentials are badly escaped")?;
    let mut basic = HeaderValue::try_from(format!("Basic {}", base64::encode(&unescaped)))
        .map_err(|error| error.to_string())?;
    basic.set_sensitive(true);
    let host = host.to_owned();
    let mut parts = url.into_parts();
    parts.authority = Some(host.parse().map_err(|_| "it names no host")?);
    let url = Uri::from_parts(parts).map_err(|error| error.to_string())?;
    Ok((url, Some(basic)))
}

/// Percent-decoding (RFC 3986 §2.1).
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        out.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [(&str, &str); 0] = [];

    #[test]
    fn credentials_leave_the_url() {
        let target = HttpTarget::new("a", "http://us%40er:p%3Aw@h:81/mcp?k=1#x", NONE).unwrap();
        assert_eq!(target.url().to_string(), "http://h:81/mcp?k=1");
        assert_eq!(target.headers[AUTHORIZATION], "Basic dXNAZXI6cDp3");
        let shown = format!("{target:?}");
        assert!(!shown.contains("k=1") && !shown.contains("dXN"), "{shown}");

        let own = HttpTarget::new("a", "http://u:p@h/", [("authorization", "Bearer x")]).unwrap();
        assert_eq!(own.headers[AUTHORIZATION], "Bearer x");
    }

    #[test]
    fn refusals_name_the_server_and_hide_values() {
        let refused = |url: &str, header: (&str, &str)| {
            HttpTarget::new("pg", url, [header]).unwrap_err().to_string()
        };
        let fine = ("x-a", "b");
        assert!(refused("ftp://h/", fine).contains("neither http:// nor https://"));
        assert!(refused("/mcp", fine).contains("not absolute"));
        assert!(refused("http://%zz:p@h/", fine).contains("badly escaped"));
        let words = refused("http://h/", ("x-a", "secret\nvalue"));
        assert_eq!(
            words,
            "header `x-a` of server `pg`: the value holds what a header cannot (a line break?)"
        );
        assert!(refused("http://h/", ("x a", "b")).contains("not a header name"));
    }

    #[test]
    fn fields_of_ours_are_left_out() {
        let headers = [("Accept", "text/html"), ("Mcp-Session-Id", "x"), ("X-Api-Key", "k")];
        let target = HttpTarget::new("a", "https://h/", headers).unwrap();
        assert_eq!(target.headers.len(), 1);
        assert!(target.is_tls());
    }
}
