//! Answers of the gateway's own: in JSON, for programs and people alike.

use hyper::{
    Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use transport_sse::{body::Outgoing, note::Note, respond::noted};

/// Why a request is refused before it reaches a server, in words its sender can act on.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    challenge: Option<&'static str>,
    #[serde(skip)]
    allow: Option<&'static str>,
    /// What was wrong.
    error: String,
    /// What is expected instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<String>,
    /// The route that was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<String>,
    /// The routes this caller may use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<String>,
}

// === impl Refusal ===

impl Refusal {
    /// A refusal with this status, saying what was wrong.
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), ..Self::default() }
    }

    /// Says what is expected instead.
    #[must_use]
    pub(crate) fn expect(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Says what was probably meant, and what there is.
    #[must_use]
    pub(crate) fn routes(mut self, nearest: Option<String>, routes: Vec<String>) -> Self {
        self.nearest = nearest;
        self.routes = routes;
        self
    }

    /// Says what credentials would help.
    #[must_use]
    pub(crate) fn challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// Says which methods there are.
    #[must_use]
    pub(crate) fn allow(mut self, methods: &'static str) -> Self {
        self.allow = Some(methods);
        self
    }

    /// The response, with a note of the reason for the log.
    pub(crate) fn into_response(self) -> Response<Outgoing> {
        let mut response = json(self.status, &self);
        let headers = response.headers_mut();
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        let reason = Some(self.error);
        noted(response, Note { reason, refused: true, ..Note::default() })
    }
}

/// Adds to a refusal in JSON-RPC what every other refusal says: the route that was probably meant
/// and those that the caller may use.  They stand in the error's `data`.
///
/// Only where the request was addressed or put wrongly, and refused here: a failure behind has
/// nothing to do with routes, and what a server answers is not touched, whatever its status
/// (2026-07-28 has `404` for a method that the server does not know).
pub(crate) fn guide(response: &mut Response<Outgoing>, routes: impl FnOnce() -> Routes) {
    #[derive(Deserialize, Serialize)]
    struct Told<'a> {
        jsonrpc: &'a str,
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        error: serde_json::Map<String, serde_json::Value>,
    }
    const HELPED: [StatusCode; 6] = [
        StatusCode::BAD_REQUEST,
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::NOT_ACCEPTABLE,
        StatusCode::GONE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
    ];
    let refused = response.body().note().is_some_and(|note| note.refused);
    if !(refused && HELPED.contains(&response.status())) {
        return;
    }
    let Some(body) = response.body().as_whole() else { return };
    let Ok(mut told) = serde_json::from_slice::<Told<'_>>(body) else { return };
    let routes = routes();
    let data = told.error.entry("data").or_insert_with(|| serde_json::json!({}));
    let Some(data) = data.as_object_mut() else { return };
    data.insert("route".to_owned(), routes.meant.into());
    data.insert("routes".to_owned(), routes.all.into());
    if let Ok(text) = serde_json::to_vec(&told) {
        response.body_mut().set_whole(text);
    }
}

/// Where a caller may go.
#[derive(Debug)]
pub(crate) struct Routes {
    /// The route that was probably meant.
    pub(crate) meant: String,
    /// Those there are.
    pub(crate) all: Vec<String>,
}

/// A JSON body, never to be cached.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<Outgoing> {
    let text = serde_json::to_vec_pretty(value).map(|mut text| {
        text.push(b'\n');
        text
    });
    respond(status, "application/json", text.unwrap_or_default())
}

/// A body of this type, never to be cached.
pub(crate) fn respond(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<bytes::Bytes>,
) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::whole(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guided(status: u16, body: &'static str) -> String {
        guided_if(true, status, body)
    }

    fn guided_if(refused: bool, status: u16, body: &'static str) -> String {
        let response = respond(StatusCode::from_u16(status).unwrap(), "application/json", body);
        let mut response = noted(response, Note { refused, ..Note::default() });
        guide(&mut response, || Routes { meant: "/a/mcp".into(), all: vec!["/a/mcp".into()] });
        String::from_utf8(response.body().as_whole().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn routes_are_added_to_what_is_there() {
        let big = r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"error":{"code":-1,"message":"m"}}"#;
        assert_eq!(
            guided(404, big),
            r#"{"jsonrpc":"2.0","id":123456789012345678901234567890,"error":{"code":-1,"data":{"route":"/a/mcp","routes":["/a/mcp"]},"message":"m"}}"#
        );
        let data = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"m","data":{"supported":[]}}}"#;
        assert_eq!(
            guided(400, data),
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"data":{"route":"/a/mcp","routes":["/a/mcp"],"supported":[]},"message":"m"}}"#
        );
    }

    #[test]
    fn what_has_nothing_to_do_with_routes_is_left_alone() {
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m"}}"#;
        for status in [200, 202, 408, 413, 500, 502, 503] {
            assert_eq!(guided(status, error), error);
        }
        for status in [400, 404] {
            assert_eq!(guided_if(false, status, error), error, "it is the server's");
        }
        for body in
            ["", "{}", r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","data":7}}"#]
        {
            assert_eq!(guided(400, body), body);
        }
    }
}
