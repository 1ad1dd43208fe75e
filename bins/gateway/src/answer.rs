//! Answers of the gateway's own: in JSON, for programs and people alike.

use hyper::{
    Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Serialize;
use transport_sse::{body::Outgoing, note::Note};

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
        response.extensions_mut().insert(Note { reason, ..Note::default() });
        response
    }
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
