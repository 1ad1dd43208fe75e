//! Where the body of a response ends (RFC 9112 §6, §7.1).

use bytes::{Buf, Bytes, BytesMut};

use super::fault::Fault;

/// The longest line before a chunk, extensions included, in bytes.
const CHUNK_LINE_LEN_MAX: usize = 4 << 10;

/// The longest run of fields after the last chunk, in bytes.
const TRAILER_LEN_MAX: usize = 16 << 10;

/// Takes a body out of what is read, uncopied.
#[derive(Debug)]
pub(super) struct Framing(Stage);

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// So many bytes, and that is all.
    Length(u64),
    /// All there is until the connection ends.
    UntilClose,
    /// The line before a chunk.
    ChunkSize,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The end of line after a chunk.
    ChunkEnd,
    /// The fields after the last chunk, so many bytes of which have come.
    Trailer(usize),
    End,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    /// A piece of the body.
    Data(Bytes),
    /// More has to be read.
    Nothing,
    /// The body is complete.
    End,
}

// === impl Framing ===

impl Framing {
    /// A body of this length.
    pub(super) fn length(length: u64) -> Self {
        Self(if length == 0 { Stage::End } else { Stage::Length(length) })
    }

    /// A body in chunks.
    pub(super) fn chunked() -> Self {
        Self(Stage::ChunkSize)
    }

    /// A body that ends with its connection.
    pub(super) fn until_close() -> Self {
        Self(Stage::UntilClose)
    }

    /// How many bytes are still to come, where that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        match self.0 {
            Stage::Length(left) => Some(left),
            Stage::End => Some(0),
            _ => None,
        }
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) -> Result<Found, Fault> {
        if self.skip(buffer)? {
            return Ok(Found::End);
        }
        if buffer.is_empty() {
            return Ok(Found::Nothing);
        }
        let (left, more, then): (_, fn(u64) -> Stage, _) = match self.0 {
            Stage::Length(left) => (left, Stage::Length, Stage::End),
            Stage::Chunk(left) => (left, Stage::Chunk, Stage::ChunkEnd),
            Stage::UntilClose => return Ok(Found::Data(buffer.split().freeze())),
            _ => return Ok(Found::Nothing),
        };
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let left = left - len as u64;
        self.0 = if left == 0 { then } else { more(left) };
        Ok(Found::Data(buffer.split_to(len).freeze()))
    }

    /// Takes what is no data off; returns whether the body is complete.
    pub(super) fn skip(&mut self, buffer: &mut BytesMut) -> Result<bool, Fault> {
        loop {
            let line = match self.0 {
                Stage::End => return Ok(true),
                Stage::Length(_) | Stage::UntilClose | Stage::Chunk(_) => return Ok(false),
                Stage::ChunkSize | Stage::ChunkEnd => {
                    line(buffer, CHUNK_LINE_LEN_MAX).map_err(|TooLong| Fault::Chunk)?
                }
                Stage::Trailer(before) => line(buffer, TRAILER_LEN_MAX.saturating_sub(before))
                    .map_err(|TooLong| Fault::TrailerTooLong { max: TRAILER_LEN_MAX })?,
            };
            let Some(len) = line else { return Ok(false) };
            let text = buffer.get(..len).unwrap_or_default();
            let text = text.strip_suffix(b"\r").ok_or(Fault::Chunk)?;
            self.0 = match self.0 {
                Stage::ChunkSize => match size(text).ok_or(Fault::Chunk)? {
                    0 => Stage::Trailer(0),
                    size => Stage::Chunk(size),
                },
                Stage::ChunkEnd if text.is_empty() => Stage::ChunkSize,
                Stage::Trailer(_) if text.is_empty() => Stage::End,
                Stage::Trailer(before) => Stage::Trailer(before + len + 1),
                _ => return Err(Fault::Chunk),
            };
            buffer.advance(len + 1);
        }
    }

    /// The connection has ended: was that the end of the body?
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        match self.0 {
            Stage::End | Stage::UntilClose => {
                self.0 = Stage::End;
                Ok(())
            }
            _ => Err(Fault::Cut),
        }
    }
}

struct TooLong;

/// The length of the first line without its LF, if it is complete.
fn line(buffer: &[u8], max: usize) -> Result<Option<usize>, TooLong> {
    let found = memchr::memchr(b'\n', buffer);
    if max < found.unwrap_or(buffer.len()) { Err(TooLong) } else { Ok(found) }
}

/// The size of a chunk; what follows it on its line means nothing here.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii_end();
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    is_hex.then(|| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that comes of a body however it is cut, and what is left behind it.
    fn read(mut framing: Framing, raw: &[u8], cut: usize) -> Result<(Vec<u8>, usize), Fault> {
        let (mut buffer, mut body) = (BytesMut::new(), Vec::new());
        let mut pieces = raw.chunks(cut);
        loop {
            match framing.take(&mut buffer)? {
                Found::Data(data) => body.extend_from_slice(&data),
                Found::End => {
                    return Ok((body, buffer.len() + pieces.map(<[u8]>::len).sum::<usize>()));
                }
                Found::Nothing => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => framing.close()?,
                },
            }
        }
    }

    #[test]
    fn bodies_end_where_they_end_however_they_are_cut() {
        let chunks =
            b"3\r\nabc\r\n1a;x=\"y\"\r\ndefghijklmnopqrstuvwxyz012\r\n0\r\nA: b\r\n\r\nHTTP";
        for cut in 1..chunks.len() {
            let (body, rest) = read(Framing::chunked(), chunks, cut).unwrap();
            assert_eq!(body, b"abcdefghijklmnopqrstuvwxyz012");
            assert_eq!(rest, 4);
            let (body, rest) = read(Framing::length(5), chunks, cut).unwrap();
            assert_eq!((&body[..], rest), (&chunks[..5], chunks.len() - 5));
            let (body, rest) = read(Framing::until_close(), chunks, cut).unwrap();
            assert_eq!((&body[..], rest), (&chunks[..], 0));
        }
        assert_eq!(read(Framing::length(0), b"x", 1).unwrap(), (vec![], 1));
    }

    #[test]
    fn what_breaks_off_is_not_taken_for_whole() {
        for raw in [&b""[..], b"3", b"3\r\nab", b"3\r\nabc\r\n", b"0\r\n", b"0\r\nA: b\r\n"] {
            let error = read(Framing::chunked(), raw, 8).unwrap_err();
            assert!(matches!(error, Fault::Cut), "{raw:?}: {error}");
        }
        assert!(matches!(read(Framing::length(2), b"a", 8), Err(Fault::Cut)));
    }

    #[test]
    fn malformed_and_endless_chunks_are_refused() {
        let long = [b"1;", vec![b'x'; CHUNK_LINE_LEN_MAX].as_slice()].concat();
        for raw in [
            &b"x\r\n"[..],
            b"\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"1\na",
            b"1 2\r\n",
            b"1\r\nab\r\n",
            b"11111111111111111\r\n",
            &long,
        ] {
            let error = read(Framing::chunked(), raw, 64).unwrap_err();
            assert!(matches!(error, Fault::Chunk), "{raw:?}: {error}");
        }
        let trailers = [b"0\r\n".as_slice(), &b"A: b\r\n".repeat(TRAILER_LEN_MAX / 6 + 2)].concat();
        let error = read(Framing::chunked(), &trailers, 64).unwrap_err();
        assert!(matches!(error, Fault::TrailerTooLong { .. }), "{error}");
    }
}
