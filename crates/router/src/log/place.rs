//! The ids of events: which stream of which log, what it answers, and where in it.
//!
//! `LIFECHECK.N.WHAT-SEQ`: eight hexadecimal digits that are a log's own, eight that bind the
//! rest to its session, the stream's number, what it is for, and the event's place in it.  So an
//! id can be understood when its log is gone: after a restart of the gateway it still names the
//! requests that wait for an answer.

use std::{fmt::Write, sync::Arc};

use mcp_jsonrpc::{
    Id,
    transport::{EventId, SessionId},
};

/// The longest list of requests that is written into an id, in bytes.  Of a longer one the ids
/// say nothing.
const WHAT_LEN_MAX: usize = 128;

/// A stream listens.
const LISTENS: &str = "g";
/// A stream answers what does not fit.
const UNNAMED: &str = "x";

/// What a stream is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It answers these requests; none where they are not known any more.
    Answers(Arc<[Id]>),
    /// It holds what is said unasked.
    Listens,
}

/// Where in which stream an event stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of the log, since it began.
    pub(super) life: u32,
    /// Which of its streams.
    pub(super) stream: u64,
    pub(super) purpose: Purpose,
    /// How many events of the stream come before it.
    pub(super) seq: u64,
}

/// What all ids of one stream begin with.
pub(super) fn name(
    session: &SessionId,
    life: u32,
    stream: u64,
    purpose: &Purpose,
) -> Option<Box<str>> {
    let what = match purpose {
        Purpose::Listens => LISTENS.to_owned(),
        Purpose::Answers(ids) => written(ids).unwrap_or_else(|| UNNAMED.to_owned()),
    };
    let check = check(session, life, stream, &what);
    let mut text = String::with_capacity(20 + what.len());
    write!(text, "{life:08x}{check:08x}.{stream:x}.{what}").ok()?;
    Some(text.into())
}

/// The id of one event of the stream of this name.
pub(super) fn id(name: &str, seq: u64) -> Option<EventId> {
    let mut id = String::with_capacity(name.len() + 21);
    id.push_str(name);
    id.push('-');
    match u8::try_from(seq) {
        // Most streams are short, and an id is written for each event.
        Ok(digit @ 0..=9) => id.push(char::from(b'0' + digit)),
        _ => id.push_str(&seq.to_string()),
    }
    EventId::new(&id)
}

/// Reads an id; none if it is none of this session's.
pub(super) fn read(session: &SessionId, id: &EventId) -> Option<Place> {
    let (name, seq) = id.as_str().rsplit_once('-')?;
    let mut parts = name.splitn(3, '.');
    let (head, stream, what) = (parts.next()?, parts.next()?, parts.next()?);
    let (life, found) = head.split_at_checked(8)?;
    let [life, found] = [life, found].map(|it| hex(it).and_then(|it| u32::try_from(it).ok()));
    let (life, stream) = (life?, hex(stream)?);
    if found? != check(session, life, stream, what) {
        return None;
    }
    let purpose = match what {
        LISTENS => Purpose::Listens,
        UNNAMED => Purpose::Answers(Arc::from([])),
        ids => Purpose::Answers(ids.split(',').map(id_of).collect::<Option<_>>()?),
    };
    Some(Place { life, stream, purpose, seq: seq.parse().ok()? })
}

fn hex(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(text, 16).ok().filter(|_| digits)
}

/// The requests, as far as they fit: `i` and a number, or `s` and a text with all but a few
/// characters as `%XX`.
fn written(ids: &[Id]) -> Option<String> {
    let mut text = String::new();
    for id in ids {
        if !text.is_empty() {
            text.push(',');
        }
        match id {
            Id::Number(number) => write!(text, "i{number}").ok()?,
            Id::Text(it) if WHAT_LEN_MAX < it.len() => return None,
            Id::Text(it) => {
                text.push('s');
                for byte in it.bytes() {
                    match byte {
                        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b':' => {
                            text.push(char::from(byte));
                        }
                        _ => write!(text, "%{byte:02X}").ok()?,
                    }
                }
            }
        }
        if WHAT_LEN_MAX < text.len() {
            return None;
        }
    }
    (!text.is_empty()).then_some(text)
}

fn id_of(text: &str) -> Option<Id> {
    if let Some(number) = text.strip_prefix('i') {
        return number.parse().ok().map(Id::Number);
    }
    let mut parts = text.strip_prefix('s')?.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (byte, rest) = part.split_at_checked(2)?;
        bytes.push(hex(byte).and_then(|it| u8::try_from(it).ok())?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().map(|text| Id::Text(text.into()))
}

/// Binds an id to its session (FNV-1a).  No secret hangs on it: whoever asks has shown the
/// session's id before.  It tells ids of other sessions, and what is none, from those of a log
/// that is gone.
fn check(session: &SessionId, life: u32, stream: u64, what: &str) -> u32 {
    let (life, stream) = (life.to_be_bytes(), stream.to_be_bytes());
    let parts = [session.as_str().as_bytes(), &life, &stream, what.as_bytes()];
    let hash = parts.iter().copied().flatten().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    u32::try_from((hash >> 32) ^ (hash & 0xffff_ffff)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &str) -> SessionId {
        SessionId::new(text).unwrap()
    }

    fn answers(ids: &[Id]) -> Purpose {
        Purpose::Answers(ids.into())
    }

    #[test]
    fn an_id_says_what_it_is_of() {
        let ours = session("ours");
        let odd = Id::from("a-b.c,d%41 ü\n\"-7");
        for purpose in [
            Purpose::Listens,
            answers(&[Id::from(-7)]),
            answers(&[odd, Id::from(""), Id::from(0)]),
            answers(&[Id::from("d5b1a4e0-5a5e-4f5e-9a38-0a4a6a3c9f0e")]),
        ] {
            let name = name(&ours, 0xfe, 31, &purpose).unwrap();
            let id = id(&name, 12).unwrap();
            assert!(id.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
            let place = Place { life: 0xfe, stream: 31, purpose, seq: 12 };
            assert_eq!(read(&ours, &id), Some(place));
            assert_eq!(read(&session("theirs"), &id), None);
        }
        let long = answers(&[Id::from(&*"x".repeat(WHAT_LEN_MAX + 1))]);
        let name = name(&ours, 1, 2, &long).unwrap();
        assert_eq!(read(&ours, &id(&name, 1).unwrap()).unwrap().purpose, answers(&[]));
    }

    #[test]
    fn what_is_no_id_of_ours() {
        let ours = session("ours");
        let name = name(&ours, 1, 2, &answers(&[Id::from(3)])).unwrap();
        let good = id(&name, 4).unwrap();
        assert!(read(&ours, &good).is_some());
        let good = good.as_str();
        let forged = [
            good.replace(".2.", ".3."),
            good.replace("i3", "i4"),
            good.replace("i3", "g"),
            good.replace("-4", "-x"),
            good.replace("-4", ""),
            good.replace("00000001", "00000002"),
            good.replace("00000001", "+0000001"),
            format!("ü{good}"),
        ];
        let other = ["7", "-", "..-1", "0000000100000000.2.i3-4", "a.b.c-1"].map(str::to_owned);
        for text in forged.into_iter().chain(other) {
            assert_eq!(read(&ours, &EventId::new(&text).unwrap()), None, "{text}");
        }
    }
}
