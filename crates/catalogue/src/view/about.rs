//! What servers that are shown as one say of themselves.

use mcp_jsonrpc::ParseError;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::{
    names::Prefix,
    view::{Member, Settings},
};

/// How much of all servers' instructions is shown, in bytes, if nothing else is set.
const INSTRUCTIONS_LEN_MAX: usize = 16 << 10;
/// What stands where something was left out.
const CUT: &str = "… (cut)";

/// All servers' instructions, each under its name.  Of what is too much the longest are cut, and
/// the short ones stay whole.
pub(super) fn instructions(members: &[Member], settings: &Settings) -> Option<String> {
    let naming = &settings.naming;
    let said = members.iter().filter(|it| it.is_there).filter_map(|member| {
        let text = member.catalogue.instructions()?.trim();
        let note = match member.prefix.unwrap_or_else(|| naming.prefix()) {
            Prefix::Never => String::new(),
            Prefix::Always => {
                format!(" (names begin with `{}{}`)", member.alias, naming.separator())
            }
            Prefix::Conflict => {
                format!(" (names may begin with `{}{}`)", member.alias, naming.separator())
            }
        };
        (!text.is_empty()).then(|| (format!("# {}{note}\n\n", member.server), text))
    });
    let said: Vec<(String, &str)> = said.collect();
    let max = settings.instructions_len_max.unwrap_or(INSTRUCTIONS_LEN_MAX);
    let around: usize = said.iter().map(|(heading, _)| heading.len() + 2).sum();
    let share =
        share(said.iter().map(|(_, text)| text.len()).collect(), max.saturating_sub(around));
    let mut out = String::new();
    for (heading, text) in said {
        let text = cut(text, share);
        if max < out.len() + heading.len() + text.len() + 2 {
            break;
        }
        out += if out.is_empty() { "" } else { "\n\n" };
        out += &heading;
        out += &text;
    }
    (!out.is_empty()).then_some(out)
}

/// How long each may be, so that all together fit.
fn share(mut lens: Vec<usize>, mut room: usize) -> usize {
    lens.sort_unstable();
    let mut left = lens.len();
    for len in lens {
        if room / left < len {
            return room / left;
        }
        room -= len;
        left -= 1;
    }
    usize::MAX
}

fn cut(text: &str, len_max: usize) -> String {
    if text.len() <= len_max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(len_max.saturating_sub(CUT.len()));
    [text.get(..end).unwrap_or_default(), CUT].concat()
}

/// What at least one of them can do: of two objects the members of both, of two flags that which
/// is set, of all else what the first one says.
pub(super) fn capabilities(members: &[Member]) -> Result<Box<RawValue>, ParseError> {
    let mut all = Value::Object(Map::new());
    for member in members {
        if let Some(said) = member.catalogue.capabilities() {
            // What cannot be read is a capability of nobody's.
            let said: Value = serde_json::from_str(said.get()).unwrap_or_default();
            if said.is_object() {
                unite(&mut all, said);
            }
        }
    }
    Ok(to_raw_value(&all)?)
}

/// As deep as what is parsed, which serde_json bounds.
fn unite(all: &mut Value, more: Value) {
    match (all, more) {
        (Value::Object(all), Value::Object(more)) => {
            for (name, value) in more {
                match all.get_mut(&name) {
                    Some(known) => unite(known, value),
                    None => {
                        all.insert(name, value);
                    }
                }
            }
        }
        (all @ (Value::Bool(false) | Value::Null), more) => *all = more,
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_leave_room_for_short_ones() {
        assert_eq!(share(vec![10, 20], 100), usize::MAX);
        assert_eq!(share(vec![1000, 10], 100), 90);
        assert_eq!(share(vec![1000, 1000, 10], 110), 50);
        assert_eq!(share(vec![], 0), usize::MAX);
        assert_eq!(cut("äöü", 100), "äöü");
        assert_eq!(cut(&"ä".repeat(20), 16), ["äää", CUT].concat());
    }
}
