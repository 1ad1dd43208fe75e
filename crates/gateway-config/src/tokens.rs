//! Tokens: what makes one usable, and one table without doubles.

use crate::{
    config::{TokenEntry, TokenScope, TokenSecret},
    reader::{Cx, Read},
    secret::{Secret, Text},
    shaping::Shaping,
};

/// A token shorter than this can be guessed.
const SECRET_LEN_MIN: usize = 16;

/// What examples have in a token's place.
const PLACEHOLDERS: &[&str] =
    &["changeme", "change-me", "defaulttoken", "example", "your-token", "your_token"];

/// The tokens found so far.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    entries: Vec<TokenEntry>,
}

// === impl Tokens ===

impl Tokens {
    /// Adds one. If its secret is known already, the first entry opens the new servers too.
    /// Returns the name under which it is kept.
    pub(crate) fn add(&mut self, name: &str, secret: TokenSecret, servers: TokenScope) -> String {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.secret == secret) {
            match (&mut entry.servers, servers) {
                (TokenScope::Only(known), TokenScope::Only(more)) => {
                    for server in more {
                        if !known.contains(&server) {
                            known.push(server);
                        }
                    }
                }
                (scope, _) => *scope = TokenScope::All,
            }
            return entry.name.clone();
        }
        let name = self.free(name);
        let shape = Shaping::default();
        self.entries.push(TokenEntry { name: name.clone(), secret, servers, shape });
        name
    }

    /// Who has this secret.
    pub(crate) fn find(&self, secret: &TokenSecret) -> Option<&str> {
        let entry = self.entries.iter().find(|entry| entry.secret == *secret)?;
        Some(&entry.name)
    }

    /// What is shown to who brings a token.
    pub(crate) fn shape(&mut self, name: &str) -> Option<&mut Shaping> {
        self.entries.iter_mut().find(|entry| entry.name == name).map(|it| &mut it.shape)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn into_entries(self) -> Vec<TokenEntry> {
        self.entries
    }

    /// The name, or the first of `name-2`, `name-3`, … that nobody has.
    fn free(&self, name: &str) -> String {
        let taken = |name: &str| self.entries.iter().any(|entry| entry.name == name);
        let others = (2..).map(|number: usize| format!("{name}-{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(others);
        names.find(|name| !taken(name)).unwrap_or_default()
    }
}

/// Checks a token's text. Nothing of it appears in what is said.
pub(crate) fn secret(cx: &mut Cx<'_>, read: &Read<Text>) -> Option<TokenSecret> {
    let token = read.value.expose();
    let at = read.at();
    if token.is_empty() {
        let help = "an empty token would let everybody in: set the variable, or remove the entry";
        cx.problem(at, "the token is empty", Some(help.to_owned()));
        return None;
    }
    if token.get(..7).is_some_and(|begin| begin.eq_ignore_ascii_case("bearer ")) {
        let help = "`Bearer` is the scheme, and clients send it: write what follows";
        cx.problem(at, "the token begins with `Bearer `", Some(help.to_owned()));
        return None;
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let what = "a token is visible ASCII characters without spaces";
        cx.problem(at, what, None);
        return None;
    }
    let low = token.to_ascii_lowercase();
    let at = at.0.to_owned();
    if PLACEHOLDERS.iter().any(|known| low.contains(known)) {
        cx.note(&at, "this token looks like an example's: everybody knows it");
    } else if token.len() < SECRET_LEN_MIN {
        cx.note(&at, "this token is shorter than 16 characters: it can be guessed");
    }
    Some(TokenSecret::Plain(Secret::new(token)))
}

/// Reads 64 hex digits.
pub(crate) fn sha256(text: &str) -> Option<TokenSecret> {
    let mut hash = [0_u8; 32];
    let digits: Vec<u8> = text.trim().chars().map(hex).collect::<Option<_>>()?;
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
    }
    Some(TokenSecret::Sha256(hash))
}

fn hex(char: char) -> Option<u8> {
    char.to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
