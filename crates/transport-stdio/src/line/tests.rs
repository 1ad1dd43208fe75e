use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::ReadBuf;

use super::*;

/// Hands out its text in pieces of one size.
struct Pieces {
    text: Vec<u8>,
    at: usize,
    len: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.len.min(buf.remaining()).min(self.text.len() - self.at);
        buf.put_slice(&self.text[self.at..self.at + len]);
        self.at += len;
        Poll::Ready(Ok(()))
    }
}

async fn read(text: &[u8], piece: usize, len_max: usize) -> Vec<String> {
    let mut lines = Lines::new(Pieces { text: text.to_vec(), at: 0, len: piece }, len_max);
    let mut found = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        found.push(match line {
            Line::Whole(line) => String::from_utf8(line.to_vec()).unwrap(),
            Line::TooLong(it) => {
                let (head, tail) = (String::from_utf8(it.head), String::from_utf8(it.tail));
                format!("{}: {} … {}", it.len, head.unwrap(), tail.unwrap())
            }
        });
    }
    found
}

/// However the text is cut on its way.
#[track_caller]
fn check(text: &[u8], len_max: usize, expect: &[&str]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for piece in (1..=text.len()).filter(|piece| text.len() < 100 || piece % 97 == 1) {
        let found = runtime.block_on(read(text, piece, len_max));
        assert_eq!(found, expect, "in pieces of {piece}");
    }
}

#[test]
fn lines() {
    check(b"a\nbc\n\nd", 10, &["a", "bc", "d"]);
    check(b"\xef\xbb\xbfa\r\n  \r\n\tb \n", 10, &["a", "b"]);
    check(b"\n\n", 10, &[]);
}

#[test]
fn too_long_is_skipped_to_its_end() {
    check(b"12345\n123456\n1\n", 5, &["12345", "6: 123456 … 123456", "1"]);
    check(b"1\n1234567890", 5, &["1", "10: 1234567890 … 1234567890"]);
    let long = [b"a".repeat(END_LEN), b"b".repeat(END_LEN), b"\nc".to_vec()].concat();
    let (head, tail) = ("a".repeat(END_LEN), "b".repeat(END_LEN));
    check(&long, 5000, &[&format!("8192: {head} … {tail}"), "c"]);
}

#[tokio::test]
async fn a_line_that_lies_there_is_not_copied_and_a_huge_one_leaves_no_huge_buffer() {
    let text = [b"x".repeat(1 << 20), b"\nshort\n".to_vec()].concat();
    let mut lines = Lines::new(Pieces { text, at: 0, len: 1 << 16 }, 1 << 21);
    let Ok(Some(Line::Whole(huge))) = lines.next().await else { panic!("no line") };
    assert_eq!(huge.len(), 1 << 20);
    drop(huge);
    let Ok(Some(Line::Whole(short))) = lines.next().await else { panic!("no line") };
    assert_eq!(short, "short");
    assert!(lines.next().await.unwrap().is_none());
    assert!(lines.buf.capacity() <= 2 * KEEP_LEN_MAX, "{}", lines.buf.capacity());
}

#[tokio::test]
async fn searching_is_linear() {
    // Bytewise, and still done at once: a search that starts anew each time would take hours.
    let text = [b"x".repeat(4 << 20), b"\n".to_vec()].concat();
    let mut lines = Lines::new(Pieces { text, at: 0, len: 64 }, 8 << 20);
    let Ok(Some(Line::Whole(line))) = lines.next().await else { panic!("no line") };
    assert_eq!(line.len(), 4 << 20);
}
