//! Losses that are known: a line each, with its reason.

use std::cell::Cell;

/// The lines of a file of expected losses.
#[derive(Debug)]
pub(crate) struct Expected(Vec<Line>);

#[derive(Debug)]
struct Line {
    number: usize,
    /// The part of the run, the route, the scenario, the check; `*` is any.
    words: [String; 4],
    why: String,
    /// Whether anything was lost that it speaks of.
    applied: Cell<bool>,
}

impl Expected {
    /// Reads lines `PART ROUTE SCENARIO CHECK # reason`, where a space in a name is written `_`;
    /// empty ones, and those that begin with `#`, say nothing.
    ///
    /// # Errors
    ///
    /// Names the line that has not four words, or no reason.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let number = at + 1;
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let (words, why) = line.split_once('#').unwrap_or((line, ""));
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            let words = words.try_into().map_err(|_| {
                format!("line {number} is not `PART ROUTE SCENARIO CHECK # reason`")
            })?;
            let why = why.trim().to_owned();
            if why.is_empty() {
                return Err(format!("line {number} has no reason"));
            }
            lines.push(Line { number, words, why, applied: Cell::new(false) });
        }
        Ok(Self(lines))
    }

    /// Why this was expected to be lost, if it was.
    pub(crate) fn why(&self, lost: [&str; 4]) -> Option<&str> {
        let mut speaking = self
            .0
            .iter()
            .filter(|line| line.words.iter().zip(lost).all(|(word, name)| names(word, name)));
        let first = speaking.next()?;
        first.applied.set(true);
        // Whichever was first: none of them is stale.
        speaking.for_each(|it| it.applied.set(true));
        Some(&first.why)
    }

    /// The lines that spoke of nothing, among those of the parts that ran.
    pub(crate) fn stale(&self, ran: &[&str]) -> Vec<String> {
        let concerns = |line: &&Line| {
            let [part, ..] = &line.words;
            part == "*" || ran.contains(&part.as_str())
        };
        let stale = self.0.iter().filter(concerns).filter(|it| !it.applied.get());
        stale.map(|it| format!("line {}: {}", it.number, it.words.join(" "))).collect()
    }
}

/// Whether a word of a line speaks of this.
fn names(word: &str, name: &str) -> bool {
    word == "*" || word == name || word.split('_').eq(name.split(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_apply_or_are_stale() {
        let text =
            "# about\n\nserver * ping *  # so\nserver SSE ping a # and so\nclient * x * # no";
        let expected = Expected::read(text).unwrap();
        assert_eq!(expected.why(["server", "SSE", "ping", "a"]), Some("so"));
        assert_eq!(expected.why(["server", "SSE", "pong", "a"]), None);
        assert_eq!(expected.stale(&["server"]), Vec::<String>::new());
        let spaced = Expected::read("server SSE,_both ping a_b # so").unwrap();
        assert_eq!(spaced.why(["server", "SSE, both", "ping", "a_b"]), Some("so"));
        assert_eq!(spaced.why(["server", "SSE", "ping", "a_b"]), None);
        assert_eq!(expected.stale(&["server", "client"]), ["line 5: client * x *"]);
    }

    #[test]
    fn a_line_says_all_and_why() {
        let error = |text: &str| Expected::read(text).unwrap_err();
        assert_eq!(
            error("\nserver * ping # so"),
            "line 2 is not `PART ROUTE SCENARIO CHECK # reason`"
        );
        assert_eq!(error("server * ping *"), "line 1 has no reason");
        assert_eq!(error("server * ping * # "), "line 1 has no reason");
    }
}
