//! The head of an HTTP/1 request, read before the HTTP library reads it: whether there is a
//! request, and where the next one begins.
//!
//! hyper answers a head that it cannot read with a status and nothing else, and reads one that
//! has both `Content-Length` and `Transfer-Encoding` by the latter, as RFC 9112 §6.3 allows.
//! Whoever is in front of us may have read that by the other, and then one request becomes two.
//! So every head is read here first, by the same parser and to no laxer rules; what hyper gets
//! to see, it can read, and what it does not is answered by us, in words.

use std::{mem::MaybeUninit, ops::Range};

use httparse::{Error as Fault, Status};
use hyper::{HeaderMap, Method, StatusCode, Uri};

/// How much a head may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadMax {
    /// How many bytes, the request line and the ends of lines included.
    pub(crate) len: usize,
    /// How many fields.
    pub(crate) count: usize,
}

/// What comes behind a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// So many bytes.
    Bytes(u64),
    /// Chunks, until the last.
    Chunked,
}

/// A head that makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// How long it is itself.
    pub(crate) len: usize,
    /// What comes behind it.
    pub(crate) length: Length,
    /// Where the only number is that says so.
    pub(crate) number: Option<Range<usize>>,
}

/// A head that makes no request, and what is said of it.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) status: StatusCode,
    /// What was wrong.
    pub(crate) what: String,
    /// What is expected instead.
    pub(crate) expected: String,
    /// Its method, where that could be read.
    pub(crate) method: Option<Method>,
    /// Where it was going to, where that could be read.
    pub(crate) uri: Option<Uri>,
}

/// So many fields are read without a list of their own.
const COUNT_USUAL: usize = 128;
/// What http's `Uri` takes.
const URI_LEN_MAX: usize = (u16::MAX - 1) as usize;
/// How many bytes of empty lines may come before a head (RFC 9112 §2.2 speaks of one line).
const EMPTY_LEN_MAX: usize = 64;
/// hyper keeps the last of 64 bits for itself.
pub(crate) const BODY_LEN_MAX: u64 = u64::MAX - 2;
/// So many digits make 64 bits, in any radix that HTTP uses.
pub(crate) const DIGITS_MAX: usize = 20;

type Fields<'h, 'b> = &'h mut [MaybeUninit<httparse::Header<'b>>];

/// Reads a head, or nothing yet where it is not complete.
///
/// # Errors
///
/// It is no request, and never will be.
pub(crate) fn read(bytes: &[u8], max: &HeadMax) -> Result<Option<Whole>, Box<Unreadable>> {
    let begin = bytes.iter().position(|it| !matches!(it, b'\r' | b'\n')).unwrap_or(bytes.len());
    if EMPTY_LEN_MAX < begin {
        return Err(Unreadable::new(400, "nothing but empty lines comes", A_REQUEST));
    }
    let mut usual = [const { MaybeUninit::uninit() }; COUNT_USUAL];
    match usual.get_mut(..max.count) {
        Some(fields) => read_with(bytes, fields, max),
        None => read_with(bytes, &mut vec![MaybeUninit::uninit(); max.count], max),
    }
}

fn read_with<'b>(
    bytes: &'b [u8],
    fields: Fields<'_, 'b>,
    max: &HeadMax,
) -> Result<Option<Whole>, Box<Unreadable>> {
    let mut request = httparse::Request::new(&mut []);
    let read = match request.parse_with_uninit_headers(bytes, fields) {
        Ok(Status::Complete(len)) if len <= max.len => {
            check(&request).map(|(length, number)| {
                // It lies in these bytes: so far behind where they begin.
                let number = number.map(|number| {
                    let begin = number.as_ptr().addr() - bytes.as_ptr().addr();
                    begin..begin + number.len()
                });
                Some(Whole { len, length, number })
            })
        }
        Ok(Status::Partial) if bytes.len() < max.len => Ok(None),
        Ok(_) => Err(too_long(&request, max)),
        Err(fault) => Err(faulty(fault, &request, max)),
    };
    read.map_err(|unreadable| unreadable.about(&request))
}

const A_REQUEST: &str = "a request such as `POST /NAME/mcp HTTP/1.1`";
const A_LENGTH: &str =
    "either `Content-Length`, once and in digits, or `Transfer-Encoding: chunked`";

fn too_long(request: &httparse::Request<'_, '_>, max: &HeadMax) -> Box<Unreadable> {
    let max = max.len;
    if request.path.is_none() {
        let what = format!("the request line is longer than {max} bytes");
        return Unreadable::new(414, what, A_REQUEST);
    }
    let what = format!("the head of the request is longer than {max} bytes");
    Unreadable::new(431, what, "fewer or shorter header fields, or a larger `limits.headerLenMax`")
}

fn faulty(fault: Fault, request: &httparse::Request<'_, '_>, max: &HeadMax) -> Box<Unreadable> {
    const A_FIELD: &str = "fields such as `Name: value`, with no space before the colon";
    const A_LINE: &str = "lines that end with CR LF";
    let max = max.count;
    match fault {
        Fault::TooManyHeaders => Unreadable::new(
            431,
            format!("there are more than {max} header fields"),
            "fewer of them, or a larger `limits.headerCountMax`",
        ),
        Fault::Version => Unreadable::new(
            400,
            "the request line does not end with a version of HTTP that is spoken here",
            "HTTP/1.1, HTTP/1.0, or HTTP/2 with its preface",
        ),
        Fault::HeaderName => {
            Unreadable::new(400, "the name of a header field cannot be read", A_FIELD)
        }
        Fault::HeaderValue => {
            Unreadable::new(400, "the value of a header field cannot be read", A_FIELD)
        }
        Fault::NewLine => Unreadable::new(400, "a line ends as none may", A_LINE),
        _ if request.method.is_none() => {
            Unreadable::new(400, "what came does not begin with a method", A_REQUEST)
        }
        _ => Unreadable::new(400, "the target of the request cannot be read", A_REQUEST),
    }
}

/// What hyper would not take, and what may be read in two ways.  With the length comes the number
/// that says it, where there is one and no other.
fn check<'b>(
    request: &httparse::Request<'_, 'b>,
) -> Result<(Length, Option<&'b [u8]>), Box<Unreadable>> {
    let target = request.path.unwrap_or_default();
    if URI_LEN_MAX < target.len() {
        let what = format!("the target of the request is longer than {URI_LEN_MAX} bytes");
        return Err(Unreadable::new(414, what, "a shorter path"));
    }
    if !is_plain(target) && Uri::try_from(target).is_err() {
        return Err(Unreadable::new(400, "the target of the request cannot be read", A_REQUEST));
    }
    let (mut length, mut encoding, mut only) = (None, None, None);
    for field in request.headers.iter() {
        if field.name.len() == "transfer-encoding".len()
            && field.name.eq_ignore_ascii_case("transfer-encoding")
        {
            encoding = Some(field.value);
        } else if field.name.len() == "content-length".len()
            && field.name.eq_ignore_ascii_case("content-length")
        {
            match number(field.value, 10).filter(|it| *it <= BODY_LEN_MAX) {
                Some(given) if length.is_none_or(|before| before == given) => {
                    only = length.is_none().then_some(field.value);
                    length = Some(given);
                }
                _ => return Err(ambiguous()),
            }
        }
    }
    match (length, encoding) {
        (length, None) => Ok((Length::Bytes(length.unwrap_or_default()), only)),
        (Some(_), Some(_)) => Err(ambiguous()),
        (None, Some(encoding)) if request.version == Some(1) && is_chunked(encoding) => {
            Ok((Length::Chunked, None))
        }
        (None, Some(_)) => Err(Unreadable::new(
            400,
            "the body is encoded in a way that is not spoken here, so its end cannot be found",
            A_LENGTH,
        )),
    }
}

/// Which characters may stand anywhere in a path; a target holds the id of a session as like as
/// not, so it is looked up and not worked out for each.
#[expect(clippy::indexing_slicing, reason = "the compiler does it, and would say so")]
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let also = b"/?=&%-._~";
    let mut byte = 0_u8;
    while byte < u8::MAX {
        plain[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < also.len() {
        plain[also[at] as usize] = true;
        at += 1;
    }
    plain
};

/// Whether a target is a path of characters that may stand anywhere in one, as almost all are.
fn is_plain(target: &str) -> bool {
    let is_plain = |byte: u8| PLAIN.get(usize::from(byte)) == Some(&true);
    target.starts_with('/') && target.bytes().all(is_plain)
}

fn ambiguous() -> Box<Unreadable> {
    let what = "the length of the body is given twice, or cannot be read";
    Unreadable::new(400, what, A_LENGTH)
}

/// Whether `chunked` is the last encoding, which it has to be (RFC 9112 §6.3).
fn is_chunked(value: &[u8]) -> bool {
    let last = value.rsplit(|it| *it == b',').next().unwrap_or_default();
    value.is_ascii() && last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// A number of digits alone.
pub(crate) fn number(digits: &[u8], radix: u32) -> Option<u64> {
    // A sign is no digit here.
    let plain = digits.first()?.is_ascii_hexdigit() && digits.len() <= DIGITS_MAX;
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| plain)?, radix).ok()
}

/// The same bounds for a request of HTTP/2, whose head comes in another form; its length is
/// counted as that form wants it (RFC 9113 §6.5.2).
pub(crate) fn check_fields(
    method: &Method,
    uri: &Uri,
    fields: &HeaderMap,
    max: &HeadMax,
) -> Result<(), Box<Unreadable>> {
    let field_len = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        name.as_str().len() + value.len() + 32
    };
    let len = fields.iter().map(field_len).sum::<usize>() + uri.path().len();
    let unreadable = if max.len < len {
        let what = format!("the head of the request is longer than {} bytes", max.len);
        let how = "fewer or shorter header fields, or a larger `limits.headerLenMax`";
        Unreadable::new(431, what, how)
    } else if max.count < fields.len() {
        let what = format!("there are more than {} header fields", max.count);
        Unreadable::new(431, what, "fewer of them, or a larger `limits.headerCountMax`")
    } else {
        return Ok(());
    };
    let (method, uri) = (Some(method.clone()), Some(uri.clone()));
    Err(Box::new(Unreadable { method, uri, ..*unreadable }))
}

// === impl Unreadable ===

impl Unreadable {
    fn new(status: u16, what: impl Into<String>, expected: impl Into<String>) -> Box<Self> {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
        let (what, expected) = (what.into(), expected.into());
        Box::new(Self { status, what, expected, method: None, uri: None })
    }

    /// A head that does not end in time.
    pub(crate) fn slow(bytes: &[u8], after: std::time::Duration) -> Box<Self> {
        let what = format!("the head of the request did not end within {after:?}");
        let how = "all of it at once, or a larger `timeouts.headerRead`";
        let mut request = httparse::Request::new(&mut []);
        // Only for what its first line says.
        let mut fields = [const { MaybeUninit::uninit() }; COUNT_USUAL];
        request.parse_with_uninit_headers(bytes, &mut fields).ok();
        Self::new(408, what, how).about(&request)
    }

    /// Adds what could be read of it.
    fn about(mut self: Box<Self>, request: &httparse::Request<'_, '_>) -> Box<Self> {
        self.method = request.method.and_then(|it| Method::from_bytes(it.as_bytes()).ok());
        self.uri = request.path.and_then(|it| Uri::try_from(it).ok());
        self
    }

    /// A head in the place of this one, which hyper can read.
    pub(crate) fn stand_in(&self) -> &'static [u8] {
        match self.method {
            // Nobody expects a body behind the answer to it.
            Some(Method::HEAD) => b"HEAD / HTTP/1.1\r\nconnection: close\r\n\r\n",
            _ => b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: HeadMax = HeadMax { len: 4096, count: 10 };

    #[track_caller]
    fn refused(head: &str, status: u16, words: &str) -> Box<Unreadable> {
        let unreadable = read(head.as_bytes(), &MAX).unwrap_err();
        assert_eq!(unreadable.status.as_u16(), status, "{unreadable:?}");
        assert!(unreadable.what.contains(words), "{unreadable:?}");
        unreadable
    }

    #[test]
    fn a_head_is_read_when_it_is_complete() {
        for (head, length) in [
            ("GET / HTTP/1.1\r\n\r\n", Length::Bytes(0)),
            ("\r\nPOST /a?b HTTP/1.0\nContent-Length: 7\n\n", Length::Bytes(7)),
            ("POST / HTTP/1.1\r\nContent-Length: 7\r\ncontent-length: 7\r\n\r\n", Length::Bytes(7)),
            (
                "POST / HTTP/1.1\r\nContent-Length: 07\r\nc-Length: 7\r\ncontent-length: 07\r\nx-length: 7\r\n\r\n",
                Length::Bytes(7),
            ),
            ("POST / HTTP/1.1\r\nTransfer-encoding: gzip, Chunked\r\n\r\n", Length::Chunked),
        ] {
            for end in 0..head.len() {
                assert_eq!(read(&head.as_bytes()[..end], &MAX).unwrap(), None, "{head:?} {end}");
            }
            let more = [head, "GET"].concat();
            let whole = read(more.as_bytes(), &MAX).unwrap().unwrap();
            assert_eq!((whole.len, whole.length), (head.len(), length));
            // The number is named where it stands, unless there are two.
            let named = whole.number.and_then(|it| more.get(it));
            assert_eq!(named, (head.matches("ength: 7").count() == 1).then_some("7"), "{head:?}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_in_words() {
        let post = |field: &str| format!("POST /a/mcp HTTP/1.1\r\n{field}\r\n\r\n");
        refused("\u{1}", 400, "a method");
        refused("GET /\u{1} HTTP/1.1", 400, "the target");
        refused("GET / HTTP/3.0\r\n\r\n", 400, "a version");
        refused("GET\r\n\r\n", 400, "a method");
        refused("GET http:// HTTP/1.1\r\n\r\n", 400, "the target");
        refused(&"\r\n".repeat(40), 400, "empty lines");
        refused(&post("A b: c"), 400, "name of a header field");
        refused(&post("A: \0"), 400, "value of a header field");
        refused(&post(&"A: b\r\n".repeat(11)), 431, "more than 10");
        refused(&post(&format!("A: {}", "b".repeat(5000))), 431, "longer than 4096");
        refused(&format!("GET /{}", "b".repeat(5000)), 414, "the request line");
        let found = refused(&format!("GET / HTTP/1.1\r\nA: {}", "b".repeat(5000)), 431, "head");
        assert_eq!((found.method, found.uri.unwrap().path()), (Some(Method::GET), "/"));
        for length in ["-1", "+1", "1, 1", "18446744073709551615", "99999999999999999999", "", "x"]
        {
            refused(&post(&format!("Content-Length: {length}")), 400, "given twice, or cannot");
        }
        let both = "Content-Length: 3\r\nTransfer-Encoding: chunked";
        let found = refused(&post(both), 400, "given twice");
        assert_eq!((found.method, found.uri.unwrap().path()), (Some(Method::POST), "/a/mcp"));
        refused(&post("Content-Length: 3\r\nContent-Length: 4"), 400, "given twice");
        refused(&post("Transfer-Encoding: gzip"), 400, "encoded");
        refused(&post("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip"), 400, "encoded");
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "encoded");
    }

    #[test]
    fn more_fields_than_usual_can_be_allowed() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
        let max = HeadMax { len: 4096, count: 200 };
        let whole = Whole { len: many.len(), length: Length::Bytes(0), number: None };
        assert_eq!(read(many.as_bytes(), &max).unwrap(), Some(whole));
        read(many.as_bytes(), &HeadMax { count: 199, ..max }).unwrap_err();
    }

    #[test]
    fn a_target_that_no_uri_can_hold_is_too_long() {
        let max = HeadMax { len: 1 << 20, count: 10 };
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(URI_LEN_MAX));
        assert_eq!(read(long.as_bytes(), &max).unwrap_err().status.as_u16(), 414);
        let longest = long.replacen('x', "", 1);
        read(longest.as_bytes(), &max).unwrap().unwrap();
    }

    #[test]
    fn what_is_plain_the_library_reads() {
        for byte in 0x20..0x7f_u8 {
            let targets = ["/a/b?c=d&e", "/", "//a", "/?"];
            for target in targets.map(|it| format!("{it}{}", char::from(byte))) {
                assert!(!is_plain(&target) || Uri::try_from(&*target).is_ok(), "{target}");
            }
        }
        assert!(is_plain("/up/messages?sessionId=a-B_9.~%20"));
        assert!(!is_plain("http://a/") && !is_plain("*") && !is_plain("/ü") && !is_plain(""));
    }

    /// Whatever is passed on, the library behind can read: it says the same of every head here.
    #[test]
    fn what_stands_in_is_a_head() {
        for method in ["GET", "HEAD"] {
            let head = refused(&format!("{method} / HTTP/1.1\r\nA b: c\r\n\r\n"), 400, "name");
            let stand_in = head.stand_in();
            assert!(stand_in.starts_with(method.as_bytes()));
            let read = read(stand_in, &MAX).unwrap();
            let whole = Whole { len: stand_in.len(), length: Length::Bytes(0), number: None };
            assert_eq!(read, Some(whole));
        }
    }
}
