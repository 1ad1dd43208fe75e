//! What went wrong with a server, in words that say what to do.

use std::{error::Error, io};

use hyper::{
    Response, StatusCode, Uri,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE},
};
use hyper_util::client::legacy;
use mcp_jsonrpc::transport::{ErrorKind, TransportError};

use super::{HttpTarget, Incoming, TlsError, is_type};

/// Why no connection was made.
enum Cause {
    Refused,
    Name,
    Tls,
    Timeout,
    Other,
}

/// The error of a request without a response, over TLS.
pub(super) fn unsent_or_broken(target: &HttpTarget, error: legacy::Error) -> TransportError {
    let never_sent = error.source().and_then(|it| it.downcast_ref::<hyper::Error>());
    let never_sent = never_sent.is_some_and(hyper::Error::is_canceled);
    if !error.is_connect() && !never_sent {
        return broken(target, error);
    }
    unsent(target, error.into())
}

/// The error of a request that was not sent.
pub(super) fn unsent(target: &HttpTarget, error: Box<dyn Error + Send + Sync>) -> TransportError {
    let at = target.authority();
    let (what, hint) = match cause(&*error) {
        Cause::Refused => (
            format!("connection to {at} was refused"),
            "is the server running, and is this its port?",
        ),
        Cause::Name => (
            format!("the host of {at} is not known"),
            "check the name in its URL, and the name service of this machine",
        ),
        Cause::Tls => (
            format!("no TLS connection to {at}"),
            "a certificate of an own authority needs a CA file; \
             a server without TLS needs http:// in its URL",
        ),
        Cause::Timeout => (
            format!("no connection to {at} in time"),
            "is the address right, and does a firewall let it through?",
        ),
        Cause::Other => (format!("no connection to {at}"), "the log says more"),
    };
    let kind = ErrorKind::Unavailable { retry_after: None };
    TransportError::new(kind, what).of(target.name()).hint(hint).because(error)
}

/// The error of a connection that broke while something was under way.
pub fn broken(
    target: &HttpTarget,
    error: impl Into<Box<dyn Error + Send + Sync>>,
) -> TransportError {
    let what = "the connection broke before the answer was complete";
    TransportError::new(ErrorKind::Closed, what)
        .of(target.name())
        .hint("what the server did until then is not known")
        .because(error)
}

/// The error of a server that cannot be reached because TLS cannot be spoken here.
pub(super) fn no_tls(target: &HttpTarget, error: &TlsError) -> TransportError {
    let kind = ErrorKind::Unavailable { retry_after: None };
    TransportError::new(kind, "TLS cannot be used here")
        .of(target.name())
        .hint(error.to_string())
        .because(error.clone())
}

fn cause(error: &(dyn Error + 'static)) -> Cause {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return Cause::Tls;
        }
        // The one thing hyper-util gives no type to.
        if error.to_string().starts_with("dns error") {
            return Cause::Name;
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(io) if io.kind() == io::ErrorKind::ConnectionRefused => return Cause::Refused,
            Some(io) if io.kind() == io::ErrorKind::TimedOut => return Cause::Timeout,
            // The source of an io error is not the error it is made of, but that one's source.
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    Cause::Other
}

/// Turns away what is no success, keeping what the caller must know of it.
///
/// # Errors
///
/// As [`refused`].
pub fn check(
    target: &HttpTarget,
    response: Response<Incoming>,
) -> Result<Response<Incoming>, TransportError> {
    if response.status().is_success() { Ok(response) } else { Err(refused(target, &response)) }
}

/// The error of a response that is no success: [`ErrorKind::Unauthorized`] with the challenge, and
/// [`ErrorKind::Status`] otherwise.
///
/// No status says that nothing was done: a load balancer answers 503, and more so 502 and 504, also
/// where the server behind it has worked on the request.
pub fn refused<B>(target: &HttpTarget, response: &Response<B>) -> TransportError {
    let header = |name| response.headers().get(name).and_then(|it| it.to_str().ok());
    let status = response.status();
    let (kind, what, hint) = match status {
        StatusCode::UNAUTHORIZED => {
            let kind = ErrorKind::Unauthorized(header(WWW_AUTHENTICATE).map(Into::into));
            let what = "it does not accept the gateway's credentials".to_owned();
            (kind, what, "set an `Authorization` header for this server, or renew the one it has")
        }
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            let seconds = header(RETRY_AFTER).and_then(|it| it.trim().parse::<u32>().ok());
            let what = "it takes no requests for now";
            let error = TransportError::new(ErrorKind::Status(status.as_u16()), what);
            return error.of(target.name()).hint(match seconds {
                Some(seconds) => format!("try again in {seconds} s"),
                None => "try again later".to_owned(),
            });
        }
        status => {
            let (what, hint) = words(status, header(LOCATION));
            (ErrorKind::Status(status.as_u16()), what, hint)
        }
    };
    TransportError::new(kind, what).of(target.name()).hint(hint)
}

fn words(status: StatusCode, location: Option<&str>) -> (String, &'static str) {
    if status.is_redirection() {
        let to = location.and_then(|it| it.parse::<Uri>().ok());
        // Without the query, which may hold a token.
        let to = to.map(|to| match (to.scheme_str(), to.host(), to.port_u16()) {
            (Some(scheme), Some(host), Some(port)) => {
                format!("{scheme}://{host}:{port}{}", to.path())
            }
            (Some(scheme), Some(host), None) => format!("{scheme}://{host}{}", to.path()),
            _ => to.path().to_owned(),
        });
        let to = to.unwrap_or_else(|| "another address".to_owned());
        return (
            format!("it redirects to {to}, and redirects are not followed"),
            "if that is where it lives now, write it into the server's URL",
        );
    }
    let (what, hint) = match status.as_u16() {
        403 => ("it forbids this", "the gateway's credentials for it may lack a permission"),
        404 => ("nothing is at its address", "check the path of the server's URL"),
        405 => {
            ("its address does not take this method", "check the path and the type of the server")
        }
        406 | 415 => ("it does not take what MCP sends", "is this the URL of an MCP server?"),
        421 => ("it does not answer to this host name", "add the name to the server's own list"),
        500..=599 => ("it failed", "its own log says why"),
        _ => ("it refused", "its own log may say why"),
    };
    (what.to_owned(), hint)
}

/// Whether the body of a `400` speaks of the session: servers that answer an unknown one with that
/// say so.
pub fn mentions_session(raw: &[u8]) -> bool {
    raw.windows(b"session".len()).any(|word| word.eq_ignore_ascii_case(b"session"))
}

/// Whether a response holds JSON, as far as its head says.
pub fn is_json<B: hyper::body::Body>(response: &Response<B>) -> bool {
    is_type(response, "application/json")
}

/// The error of a response that should hold events and holds something else.
pub fn not_events<B>(target: &HttpTarget, response: &Response<B>) -> TransportError {
    let content = response.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let what =
        format!("it answered with {} instead of an event stream", content.unwrap_or("nothing"));
    TransportError::new(ErrorKind::Protocol, what)
        .of(target.name())
        .hint("check the path of the server's URL, and the type it is configured with")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, field: Option<(&str, &str)>) -> (ErrorKind, String) {
        let none: [(&str, &str); 0] = [];
        let target = HttpTarget::new("pg", "http://h/mcp", none).unwrap();
        let mut response = Response::builder().status(status);
        if let Some((name, value)) = field {
            response = response.header(name, value);
        }
        let error = refused(&target, &response.body(()).unwrap());
        (error.kind().clone(), error.said().to_string())
    }

    #[test]
    fn every_status_says_what_to_do() {
        let (kind, words) = said(401, Some(("www-authenticate", "Bearer realm=\"x\"")));
        assert_eq!(kind, ErrorKind::Unauthorized(Some("Bearer realm=\"x\"".into())));
        assert!(
            words.starts_with("server `pg`: it does not accept")
                && words.contains("`Authorization`")
        );

        let (kind, words) = said(308, Some(("location", "https://other/mcp?token=secret")));
        assert_eq!(kind, ErrorKind::Status(308));
        assert!(words.contains("redirects to https://other/mcp,") && !words.contains("secret"));

        for status in [503, 429] {
            let (kind, words) = said(status, Some(("retry-after", "7")));
            assert_eq!(kind, ErrorKind::Status(status), "nothing says that it was not done");
            assert!(words.contains(&format!("(HTTP {status}); try again in 7 s")), "{words}");
        }

        for status in [400, 403, 404, 405, 406, 418, 421, 500, 502, 302] {
            let (kind, words) = said(status, None);
            assert_eq!(kind, ErrorKind::Status(status));
            assert!(
                words.contains("server `pg`") && words.contains(&format!("HTTP {status}")),
                "{words}"
            );
        }
    }
}
