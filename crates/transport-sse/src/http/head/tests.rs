use hyper::Request;

use super::*;

fn written(request: hyper::http::request::Builder, body: &'static [u8]) -> (String, usize) {
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let [first, rest] = write(&parts, Bytes::from_static(body));
    (String::from_utf8(first.to_vec()).unwrap(), rest.len())
}

#[test]
fn requests_say_what_a_server_needs() {
    let (get, _) = written(Request::get("http://h:80/sse?k=1").header("accept", "x"), b"");
    assert_eq!(get, "GET /sse?k=1 HTTP/1.1\r\nhost: h\r\naccept: x\r\n\r\n");
    let (post, _) = written(Request::post("http://[::1]:81"), b"{}");
    assert_eq!(post, "POST / HTTP/1.1\r\nhost: [::1]:81\r\ncontent-length: 2\r\n\r\n{}");
    let (delete, _) = written(Request::delete("http://h/m").header("host", "own"), b"");
    assert_eq!(delete, "DELETE /m HTTP/1.1\r\nhost: own\r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn a_long_body_is_not_copied() {
    static LONG: [u8; COPY_LEN_MAX + 1] = [b'x'; COPY_LEN_MAX + 1];
    let (head, rest) = written(Request::post("http://h/"), &LONG);
    assert!(head.ends_with("content-length: 8193\r\n\r\n"), "{head}");
    assert_eq!(rest, LONG.len());
    assert_eq!(written(Request::post("http://h/"), &LONG[1..]).1, 0);
}

fn head(text: &str) -> Result<Option<Response<()>>, Fault> {
    read(&mut BytesMut::from(text), 256)
}

#[test]
fn heads_are_taken_off_when_they_are_complete() {
    let whole = "HTTP/1.1 200 OK\r\nA: b\r\na: c\r\nMcp-Session-Id: \u{e9}\r\n\r\nbody";
    let len = whole.len() - "body".len();
    for cut in 0..len {
        let mut buffer = BytesMut::from(&whole.as_bytes()[..cut]);
        assert!(read(&mut buffer, 256).unwrap().is_none(), "{cut}");
        buffer.extend_from_slice(&whole.as_bytes()[cut..]);
        let head = read(&mut buffer, 256).unwrap().unwrap();
        assert_eq!((head.status().as_u16(), &buffer[..]), (200, &b"body"[..]));
        let values: Vec<_> = head.headers().get_all("a").iter().collect();
        assert_eq!(values, ["b", "c"]);
    }
}

#[test]
fn heads_have_bounds() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(256));
    assert!(matches!(head(&long), Err(Fault::HeadTooLong { max: 256 })));
    assert!(matches!(head(long.get(..256).unwrap()), Err(Fault::HeadTooLong { max: 256 })));
    assert!(head(long.get(..255).unwrap()).unwrap().is_none());
    let fields = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(count));
    let read = |count| read(&mut BytesMut::from(&*fields(count)), 1 << 20);
    assert!(read(FIELD_COUNT_MAX).unwrap().is_some());
    let error = read(FIELD_COUNT_MAX + 1).unwrap_err();
    assert!(matches!(error, Fault::TooManyFields { .. }), "{error}");
    for bad in ["HTTP/2 200 OK\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/1.1 20 OK\r\n\r\n", "\0"] {
        assert!(matches!(head(bad), Err(Fault::Head(_))), "{bad:?}");
    }
}

#[test]
fn bodies_are_as_long_as_their_head_says() {
    // How long (none: unknown), and whether the connection stays.
    let framed = |text: &str| {
        let head = head(&format!("{text}\r\n\r\n")).unwrap().unwrap();
        framing(false, &head).map(|(framing, stays)| (framing.remaining(), stays))
    };
    for (text, expect) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5", (Some(5), true)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5, 5", (Some(5), true)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: x, Close", (Some(5), false)),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5", (Some(5), false)),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: Keep-Alive", (Some(5), true)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked", (None, true)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5", (None, false)),
        ("HTTP/1.1 200 OK", (None, false)),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 5", (Some(0), true)),
        ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked", (Some(0), true)),
    ] {
        assert_eq!(framed(text).unwrap(), expect, "{text}");
    }
    for text in ["5\r\ncontent-length: 6", "5, 6", "-5", "+5", "", "5x", "18446744073709551616"] {
        let error = framed(&format!("HTTP/1.1 200 OK\r\ncontent-length: {text}")).unwrap_err();
        assert!(matches!(error, Fault::Length), "{text}: {error}");
    }
    for text in ["gzip", "chunked, gzip"] {
        let error = framed(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {text}")).unwrap_err();
        assert!(matches!(error, Fault::Coding), "{text}: {error}");
    }
    let answer = head("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").unwrap().unwrap();
    assert_eq!(framing(true, &answer).unwrap().0.remaining(), Some(0));
}
