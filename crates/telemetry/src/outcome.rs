//! What came of a request, in one word.

use mcp_jsonrpc::{
    Kind, Message, Needle,
    modern::NAMES_RESULT_TYPE,
    transport::{ErrorKind, TransportError},
};

use crate::Method;

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered with a result.
    Ok,
    /// A tool was called and says that it failed (`isError`).
    ToolError,
    /// It was answered with questions, and its client is to come again (2026-07-28).
    InputRequired,
    /// It was answered with an error, or its server broke it off.
    Error,
    /// No answer came in time.
    Timeout,
    /// It was taken back, or its client left before the answer.
    Cancelled,
    /// The gateway has as many requests, sessions or children as it may.
    Refused,
    /// Its server could not be reached or started.
    Unavailable,
}

/// The member of a result by which a tool says that it failed.
static NAMES_IS_ERROR: Needle = Needle::new("\"isError\"");

// === impl Outcome ===

impl Outcome {
    /// How many there are.
    pub const COUNT: usize = 8;

    /// All of them.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Ok,
        Self::ToolError,
        Self::InputRequired,
        Self::Error,
        Self::Timeout,
        Self::Cancelled,
        Self::Refused,
        Self::Unavailable,
    ];

    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ToolError => "tool_error",
            Self::InputRequired => "input_required",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }

    /// What an answer to a request of this method says; only in an answer of 2026-07-28 there can
    /// be questions.
    pub fn of_answer(method: Method, answer: &Message, is_modern: bool) -> Self {
        if answer.kind() == Kind::Error {
            return Self::Error;
        }
        // Most results have nothing to be looked for: a search tells.
        if is_modern
            && answer.has(&NAMES_RESULT_TYPE)
            && picked(answer, "resultType") == Some("\"input_required\"")
        {
            return Self::InputRequired;
        }
        if method == Method::CALL
            && answer.has(&NAMES_IS_ERROR)
            && picked(answer, "isError") == Some("true")
        {
            return Self::ToolError;
        }
        Self::Ok
    }

    /// What an error stands for that came in the answer's stead.
    pub fn of_error(error: &TransportError) -> Self {
        match error.kind() {
            ErrorKind::Cancelled => Self::Cancelled,
            ErrorKind::Timeout => Self::Timeout,
            ErrorKind::Exhausted => Self::Refused,
            ErrorKind::Unavailable { .. } => Self::Unavailable,
            _ => Self::Error,
        }
    }
}

/// A member of a result, as it is written; none where it cannot be read.
fn picked<'a>(answer: &'a Message, name: &str) -> Option<&'a str> {
    answer.pick([name]).ok()?[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, is_modern: bool, answer: &str, expect: &str) {
        let answer = Message::parse(answer.to_owned()).unwrap();
        let outcome = Outcome::of_answer(Method::of(method), &answer, is_modern);
        assert_eq!(outcome.as_str(), expect, "{answer:?}");
    }

    #[test]
    fn answers() {
        let result = |result: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let call = "tools/call";
        check(call, false, &result(r#"{"content":[]}"#), "ok");
        check(call, false, &result(r#"{"content":[],"isError":false}"#), "ok");
        check(call, false, &result(r#"{"isError" : true ,"content":[]}"#), "tool_error");
        check("prompts/get", false, &result(r#"{"isError":true}"#), "ok");
        // What a tool says is not what is said of it.
        let quotes = r#"{"content":[{"type":"text","text":"\"isError\":true"}],"structuredContent":{"isError":true}}"#;
        check(call, false, &result(quotes), "ok");
        check(call, true, &result(r#"{"resultType":"input_required"}"#), "input_required");
        check(call, true, &result(r#"{"resultType":"complete","isError":true}"#), "tool_error");
        check(call, false, &result(r#"{"resultType":"input_required"}"#), "ok");
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"isError"}}"#;
        check(call, true, error, "error");
    }

    #[test]
    fn errors() {
        for (kind, expect) in [
            (ErrorKind::Cancelled, "cancelled"),
            (ErrorKind::Timeout, "timeout"),
            (ErrorKind::Exhausted, "refused"),
            (ErrorKind::Unavailable { retry_after: None }, "unavailable"),
            (ErrorKind::Closed, "error"),
            (ErrorKind::NoSession, "error"),
        ] {
            let error = TransportError::new(kind, "it happened");
            assert_eq!(Outcome::of_error(&error).as_str(), expect);
        }
    }
}
