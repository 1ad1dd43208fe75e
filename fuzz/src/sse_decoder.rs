//! Event streams: however one is cut, it holds the same; and what is written is read again.

use bytes::Bytes;
use mcp_jsonrpc::{Limits, transport::Event};
use transport_sse::wire::{Decoder, Item, encode};

/// Decodes any bytes, the last of which says how they are cut.
pub fn check(input: &[u8]) {
    let cut_len = usize::from(input.last().copied().unwrap_or_default() % 32) + 1;
    for message_len_max in [64 << 20, 64] {
        let limits = Limits { message_len_max, ..Limits::default() };
        let whole = decode(limits, [input]);
        assert_eq!(whole, decode(limits, input.chunks(cut_len)));
        assert_eq!(whole, decode(limits, input.chunks(1)));
    }
}

/// What a stream of these chunks holds, an item a line.
fn decode<'a>(limits: Limits, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut decoder = Decoder::new(limits);
    let mut found = Vec::new();
    for chunk in chunks {
        decoder.feed(Bytes::copy_from_slice(chunk));
        while let Some(item) = decoder.next_item() {
            if let Item::Event(event) = &item {
                check_written(event);
            }
            found.push(shown(&item));
        }
    }
    found.push(format!("{:?} {}", decoder.last_event_id(), decoder.is_mid_event()));
    found
}

fn shown(item: &Item) -> String {
    match item {
        Item::Event(Event::Message { id, message }) => {
            format!("{id:?} {}", String::from_utf8_lossy(message.as_bytes()))
        }
        item => format!("{item:?}"),
    }
}

/// That an event can be written and read again.
fn check_written(event: &Event) {
    let mut decoder = Decoder::new(Limits::default());
    decoder.feed(encode(event));
    let again = match decoder.next_item() {
        Some(Item::Event(again)) => again,
        other => panic!("{event:?} became {other:?}"),
    };
    match (event, &again) {
        (Event::Message { id, message }, Event::Message { id: id_again, message: again }) => {
            assert_eq!(id, id_again);
            // Blank space around it is nobody's.
            let line = message.to_line();
            assert_eq!(line.trim_ascii(), again.as_bytes().trim_ascii());
        }
        (event, again) => assert_eq!(format!("{event:?}"), format!("{again:?}")),
    }
    assert!(!decoder.is_mid_event());
}
