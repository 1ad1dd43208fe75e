//! The id of a message that cannot be read as a whole: cut short, or broken somewhere inside.

use memchr::memmem;
use serde::Deserialize;

use crate::Id;

/// How many places in the tail are tried.
const TRIES_MAX: usize = 8;

/// What can be made out of a broken message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// The id, where the message shows one plainly.
    pub id: Option<Id>,
    /// Whether it has a `method`: it is no answer then.
    pub asks: bool,
}

impl Salvaged {
    /// How much of each end is looked at, in bytes.
    pub const END_LEN: usize = 4 << 10;

    /// From a line that could not be read.
    pub fn from_line(line: &[u8]) -> Self {
        let head = line.get(..Self::END_LEN).unwrap_or(line);
        let tail = line.get(line.len().saturating_sub(Self::END_LEN)..).unwrap_or(line);
        Self::from_ends(head, tail)
    }

    /// From the beginning and the end of a line.  SDKs write the id in either place.
    pub fn from_ends(head: &[u8], tail: &[u8]) -> Self {
        let mut found = Self::default();
        found.read_head(head);
        if found.id.is_none() {
            found.read_tail(tail);
        }
        found
    }

    /// Goes through the members of the outermost object, as far as they are whole.
    fn read_head(&mut self, head: &[u8]) {
        let Some(mut rest) = skip_blank(head).strip_prefix(b"{") else { return };
        loop {
            rest = skip_blank(rest);
            rest = skip_blank(rest.strip_prefix(b",").unwrap_or(rest));
            let Some(key_len) = value_len(rest).filter(|_| rest.starts_with(b"\"")) else { return };
            let (key, after) = rest.split_at(key_len);
            let Some(value) = skip_blank(after).strip_prefix(b":").map(skip_blank) else { return };
            self.asks |= key == b"\"method\"";
            let Some(value_len) = value_len(value) else { return };
            let (value, after) = value.split_at(value_len);
            if key == b"\"id\"" && self.id.is_none() {
                self.id = serde_json::from_slice(value).ok();
            }
            rest = after;
        }
    }

    /// Looks for a tail that, with a brace before it, is a whole object: then the brace that
    /// closes it is the one that closes the message, and the id is the message's.
    fn read_tail(&mut self, tail: &[u8]) {
        #[derive(Deserialize)]
        struct Tail<'a> {
            id: Id,
            #[serde(borrow, default)]
            method: Option<&'a serde_json::value::RawValue>,
        }
        let mut before = tail;
        for _ in 0..TRIES_MAX {
            let Some(at) = memmem::rfind(before, b"\"id\"") else { return };
            let (front, member) = tail.split_at(at);
            before = front;
            if front.trim_ascii_end().last() != Some(&b',') {
                continue;
            }
            let object = [b"{".as_slice(), member].concat();
            if let Ok(found) = serde_json::from_slice::<Tail<'_>>(&object) {
                self.id = Some(found.id);
                self.asks |= found.method.is_some();
                return;
            }
        }
    }
}

fn skip_blank(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// How long the value is that the text begins with; none if its end is not there.
fn value_len(text: &[u8]) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, &byte) in text.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    in_string = false;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => (),
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return Some(at),
            b'}' | b']' if depth == 1 => return Some(at + 1),
            b'}' | b']' => depth -= 1,
            b' ' | b'\t' if depth == 0 => return Some(at),
            _ => (),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(line: &str, id: Option<Id>, asks: bool) {
        assert_eq!(Salvaged::from_line(line.as_bytes()), Salvaged { id, asks }, "{line}");
    }

    #[test]
    fn ids_of_broken_messages() {
        check(r#"{"jsonrpc":"2.0","id":7,"result":{"x":NaN}}"#, Some(Id::from(7)), false);
        check(
            r#"{"result":{"x":NaN,"id":9},"jsonrpc":"2.0","id":"a"}"#,
            Some(Id::from("a")),
            false,
        );
        check(r#"{ "id" : 7 , "method":"x","params":{"#, Some(Id::from(7)), true);
        check(r#"{"params":{"a":[{"id":1}]},"method":"x","id":2"#, None, true);
        check(r#"{"result":{"text":"\"id\":3}"#, None, false);
        check(r#"{"result":{"id":3}"#, None, false);
        check(r#"{"result":{"x":1,"id":3}}"#, None, false);
        check(r#"{"id":null,"result":1}"#, None, false);
        check("", None, false);
        check("[1]", None, false);
    }

    proptest! {
        /// What it finds in a good message is its id, and it finds it unless both ends are long.
        #[test]
        fn a_found_id_is_the_right_one(
            id in any::<i64>(),
            before in "[ -~\n\"\\\\{}\\[\\],:]{0,40}",
            after in "(\"id\":3|[ -~\n\"\\\\{}]){0,8}",
        ) {
            let line = serde_json::json!({ "a": before, "id": id, "z": { "id": 7, "t": after } });
            check(&line.to_string(), Some(Id::from(id)), false);
        }

        #[test]
        fn nothing_panics(line in any::<Vec<u8>>(), cut in "[\"id:{},\\[\\]\\\\ 0-9]{0,60}") {
            Salvaged::from_line(&line);
            Salvaged::from_line(format!("{{{cut}").as_bytes());
            Salvaged::from_line(cut.as_bytes());
        }
    }

    #[test]
    fn ids_at_either_end_of_a_long_message() {
        let long = "x".repeat(100_000);
        check(&format!(r#"{{"id":1,"result":"{long}"}}"#), Some(Id::from(1)), false);
        check(
            &format!(r#"{{"result":"{long}","jsonrpc":"2.0","id":2}}"#),
            Some(Id::from(2)),
            false,
        );
        check(&format!(r#"{{"a":"{long}","id":2,"b":"{long}"}}"#), None, false);
    }
}
