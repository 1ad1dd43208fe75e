//! The check at the door.

use std::{borrow::Cow, collections::BTreeSet};

use hyper::{
    HeaderMap,
    header::{AUTHORIZATION, HeaderName},
};
use mcp_jsonrpc::transport::Caller;

use crate::{Denied, Token, TokenHash};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who may come in at all.
#[derive(Debug)]
pub struct Guard {
    tokens: Vec<Token>,
    raw_allowed: bool,
    anonymous: Caller,
}

/// Who may use one thing behind the door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody.  A token that is known is still noticed, and tells callers apart.
    Anybody,
    /// Whoever brings a token.
    AnyToken,
    /// Whoever brings one of these, by their names.
    Tokens(BTreeSet<Box<str>>),
}

// === impl Access ===

impl Access {
    /// Whether somebody who was let in elsewhere may come in here too.
    pub fn admits(&self, caller: &Caller) -> bool {
        match (self, &caller.subject) {
            (Self::Anybody, _) => true,
            (Self::AnyToken, subject) => subject.is_some(),
            (Self::Tokens(names), Some(subject)) => names.contains(&**subject),
            (Self::Tokens(_), None) => false,
        }
    }
}

// === impl Guard ===

impl Guard {
    /// Lets in whoever brings one of these.
    pub fn new(tokens: Vec<Token>) -> Self {
        Self { tokens, raw_allowed: false, anonymous: Caller::anonymous() }
    }

    /// Also takes a token that stands in `Authorization` alone, without `Bearer`: what other
    /// gateways took and clients have written down.
    #[must_use]
    pub fn allow_raw(mut self, allowed: bool) -> Self {
        self.raw_allowed = allowed;
        self
    }

    /// Whether there is any token.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Lets a request in, or says why not.
    ///
    /// `X-API-Key: TOKEN` is as good as `Authorization: Bearer TOKEN`, which is looked at first.
    pub fn admit(&self, headers: &HeaderMap, access: &Access) -> Result<Caller, Denied> {
        let token = self.token(headers);
        match access {
            Access::Anybody => Ok(token.map_or_else(|_| &self.anonymous, Token::caller).clone()),
            Access::AnyToken => Ok(token?.caller().clone()),
            Access::Tokens(names) => {
                let token = token?;
                match names.contains(&**token.name()) {
                    true => Ok(token.caller().clone()),
                    false => Err(Denied::Forbidden(token.name().clone())),
                }
            }
        }
    }

    /// A path as it may be logged: what is a token in it is not shown.
    ///
    /// Tokens are known by their hashes, so what is looked for is a whole segment, or what is
    /// between two characters that tokens do not have.
    pub fn masked<'t>(&self, path: &'t str) -> Cow<'t, str> {
        const MASK: &str = "***";
        let is_end = |it: char| !it.is_ascii_alphanumeric() && !"-._~+".contains(it);
        let is_token = |text: &str| {
            let hash = TokenHash::of(text);
            !text.is_empty() && self.tokens.iter().any(|token| token.hash().matches(&hash))
        };
        if self.tokens.is_empty() {
            return Cow::Borrowed(path);
        }
        let (mut masked, mut found) = (String::with_capacity(path.len()), false);
        for whole in path.split_inclusive('/') {
            let segment = whole.strip_suffix('/').unwrap_or(whole);
            if is_token(segment) {
                masked.push_str(MASK);
                masked.push_str(whole.get(segment.len()..).unwrap_or_default());
                found = true;
                continue;
            }
            for whole in whole.split_inclusive(is_end) {
                let part = whole.trim_end_matches(is_end);
                let hidden = part.len() < segment.len() && is_token(part);
                found |= hidden;
                masked.push_str(if hidden { MASK } else { part });
                masked.push_str(whole.get(part.len()..).unwrap_or_default());
            }
        }
        if found { Cow::Owned(masked) } else { Cow::Borrowed(path) }
    }

    fn token(&self, headers: &HeaderMap) -> Result<&Token, Denied> {
        let hash = TokenHash::of(self.brought(headers)?);
        // Every token is looked at: how long this takes does not tell which was meant.
        let mut found = None;
        for token in &self.tokens {
            if token.hash().matches(&hash) {
                found = Some(token);
            }
        }
        found.ok_or(Denied::Unknown)
    }

    fn brought<'h>(&self, headers: &'h HeaderMap) -> Result<&'h str, Denied> {
        let name = if headers.contains_key(AUTHORIZATION) { AUTHORIZATION } else { API_KEY };
        let mut fields = headers.get_all(&name).iter();
        let field = fields.next().ok_or(Denied::Missing)?;
        if fields.next().is_some() {
            return Err(Denied::Malformed("more than one field with credentials came"));
        }
        let text = field.to_str().map_err(|_| Denied::Malformed("the field is not plain text"))?;
        let text = text.trim();
        if name == API_KEY {
            return Ok(text);
        }
        match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
            Some(_) => Err(Denied::Malformed("the credentials are not a bearer token")),
            None if self.raw_allowed => Ok(text),
            None => Err(Denied::Malformed("the word `Bearer` is missing before the token")),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn guard() -> Guard {
        Guard::new(vec![Token::new("ann", "s3cret"), Token::new("bob", "t0ken")])
    }

    fn admit(guard: &Guard, fields: &[(&'static str, &'static str)], access: &Access) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        match guard.admit(&headers, access) {
            Ok(caller) => caller.subject.as_deref().unwrap_or("anybody").to_owned(),
            Err(denied) => format!("{} {}", denied.status().as_u16(), denied.challenge()),
        }
    }

    #[track_caller]
    fn check(fields: &[(&'static str, &'static str)], expect: &str) {
        assert_eq!(admit(&guard(), fields, &Access::AnyToken), expect);
    }

    #[test]
    fn a_token_in_a_path_is_not_shown() {
        let guard = guard();
        for (path, shown) in [
            ("/a/mcp", "/a/mcp"),
            ("/a/s3cret/mcp", "/a/***/mcp"),
            ("/s3cret", "/***"),
            ("s3cret/t0ken/", "***/***/"),
            ("/a:s3cret@b/key=t0ken;s3crets", "/a:***@b/key=***;s3crets"),
            ("", ""),
        ] {
            assert_eq!(guard.masked(path), shown);
        }
        let odd = Guard::new(vec![Token::new("ann", "a:b=c")]);
        assert_eq!(odd.masked("/a:b=c/mcp"), "/***/mcp");
    }

    #[test]
    fn who_was_let_in_may_go_where_its_name_may() {
        let named = |names: &[&str]| Access::Tokens(names.iter().map(|it| (*it).into()).collect());
        let (ann, nobody) = (Caller::named("ann"), Caller::anonymous());
        for (access, for_ann, for_nobody) in [
            (Access::Anybody, true, true),
            (Access::AnyToken, true, false),
            (named(&["ann", "bob"]), true, false),
            (named(&["bob"]), false, false),
        ] {
            assert_eq!((access.admits(&ann), access.admits(&nobody)), (for_ann, for_nobody));
        }
    }

    #[test]
    fn tokens() {
        check(&[("authorization", "Bearer s3cret")], "ann");
        check(&[("authorization", "bEARER   t0ken ")], "bob");
        check(&[("x-api-key", "t0ken")], "bob");
        check(&[("authorization", "Bearer t0ken"), ("x-api-key", "nonsense")], "bob");
        check(&[], r#"401 Bearer realm="mcp-gateway""#);
        let unknown = r#"401 Bearer realm="mcp-gateway", error="invalid_token""#;
        check(&[("authorization", "Bearer s3cre")], unknown);
        check(&[("authorization", "Bearer S3CRET")], unknown);
        check(&[("x-api-key", "")], unknown);
        let malformed = r#"401 Bearer realm="mcp-gateway", error="invalid_request""#;
        check(&[("authorization", "Basic czNjcmV0")], malformed);
        check(&[("authorization", "s3cret")], malformed);
        check(&[("authorization", "Bearer s3cret"), ("authorization", "Bearer t0ken")], malformed);
    }

    #[test]
    fn a_token_alone_is_taken_where_it_was_elsewhere() {
        let guard = guard().allow_raw(true);
        assert_eq!(admit(&guard, &[("authorization", "s3cret")], &Access::AnyToken), "ann");
    }

    #[test]
    fn who_may_use_what() {
        let ann = &[("authorization", "Bearer s3cret")];
        let only_bob = Access::Tokens(["bob".into()].into());
        let forbidden = r#"403 Bearer realm="mcp-gateway", error="insufficient_scope""#;
        assert_eq!(admit(&guard(), ann, &only_bob), forbidden);
        assert_eq!(admit(&guard(), ann, &Access::Anybody), "ann");
        assert_eq!(admit(&guard(), &[], &Access::Anybody), "anybody");
        let wrong = &[("authorization", "Bearer wrong")];
        assert_eq!(admit(&guard(), wrong, &Access::Anybody), "anybody");
    }

    #[test]
    fn nothing_shows_a_secret() {
        let shown = format!("{:?}", guard());
        assert!(!shown.contains("s3cret") && shown.contains("TokenHash(***)"), "{shown}");
    }
}
