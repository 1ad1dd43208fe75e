//! The head of a request, written, and of a response, read (RFC 9112).

use std::{io::Write as _, mem::MaybeUninit};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hyper::{
    HeaderMap, Method, Response, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING},
    http::request::Parts,
};

use super::{fault::Fault, framing::Framing};

/// How many fields a response may have.
pub(super) const FIELD_COUNT_MAX: usize = 100;

/// Up to this length a body is written in one piece with its head.
const COPY_LEN_MAX: usize = 8 << 10;

/// What is set aside for the head of a request.
const HEAD_LEN: usize = 512;

/// Writes the head of a request, and its body too where it is short; and the body apart otherwise.
///
/// `Host` and `Content-Length` are ours to write; a configured `Host` is kept.
pub(super) fn write(parts: &Parts, body: Bytes) -> [Bytes; 2] {
    let copied = if body.len() <= COPY_LEN_MAX { body.len() } else { 0 };
    let mut out = BytesMut::with_capacity(HEAD_LEN + copied);
    out.put_slice(parts.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(parts.uri.path_and_query().map_or("/", |it| it.as_str()).as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    if !parts.headers.contains_key(HOST) {
        out.put_slice(b"host: ");
        out.put_slice(host(parts).as_bytes());
        out.put_slice(b"\r\n");
    }
    for (name, value) in &parts.headers {
        if name == CONTENT_LENGTH {
            continue;
        }
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    // RFC 9110 §8.6: a method that could have a body says that there is none.
    if !body.is_empty() || !matches!(parts.method, Method::GET | Method::HEAD) {
        let mut digits = [0; 20];
        let mut rest = digits.as_mut_slice();
        // A slice of 20 bytes takes every u64.
        if write!(rest, "{}", body.len()).is_ok() {
            let left = rest.len();
            out.put_slice(b"content-length: ");
            out.put_slice(digits.get(..20 - left).unwrap_or_default());
            out.put_slice(b"\r\n");
        }
    }
    out.put_slice(b"\r\n");
    if copied == body.len() {
        out.put_slice(&body);
        return [out.freeze(), Bytes::new()];
    }
    [out.freeze(), body]
}

/// The host and port of an address, as `Host` has them: without a port that goes without saying.
fn host(parts: &Parts) -> &str {
    let Some(authority) = parts.uri.authority() else { return "" };
    let whole = authority.as_str().rsplit('@').next().unwrap_or_default();
    match authority.port_u16() {
        Some(80) if parts.uri.scheme_str() == Some("http") => {
            whole.rsplit_once(':').map_or(whole, |(host, _)| host)
        }
        _ => whole,
    }
}

/// Reads the head of a response, and takes it off; none where it is not complete.
///
/// What is returned has bytes of its own: a field that is kept does not keep the rest.
pub(super) fn read(buffer: &mut BytesMut, len_max: usize) -> Result<Option<Response<()>>, Fault> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut room = [const { MaybeUninit::uninit() }; FIELD_COUNT_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let len = match config.parse_response_with_uninit_headers(&mut parsed, buffer, &mut room) {
        Ok(httparse::Status::Complete(len)) if len <= len_max => len,
        Ok(httparse::Status::Partial) if buffer.len() < len_max => return Ok(None),
        Ok(_) => return Err(Fault::HeadTooLong { max: len_max }),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Fault::TooManyFields { max: FIELD_COUNT_MAX });
        }
        Err(error) => return Err(Fault::Head(error)),
    };
    let base = buffer.as_ptr() as usize;
    let own = Bytes::copy_from_slice(buffer.get(..len).unwrap_or_default());
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let start = field.value.as_ptr() as usize - base;
        let value = own.slice(start..start + field.value.len());
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err(Fault::Field) };
        headers.append(name, value);
    }
    let mut response = Response::new(());
    *response.status_mut() = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(Fault::Head(httparse::Error::Status))?;
    *response.version_mut() =
        if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    *response.headers_mut() = headers;
    buffer.advance(len);
    Ok(Some(response))
}

/// How long the body is that comes after a head, and whether the connection can be used for
/// another request after it (RFC 9112 §6.3, §9.3).
pub(super) fn framing(is_head: bool, head: &Response<()>) -> Result<(Framing, bool), Fault> {
    let headers = head.headers();
    let mut stays = match head.version() {
        Version::HTTP_11 => !names(headers, &CONNECTION, "close"),
        _ => names(headers, &CONNECTION, "keep-alive"),
    };
    let bodiless = matches!(head.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless || is_head {
        return Ok((Framing::length(0), stays));
    }
    if headers.contains_key(TRANSFER_ENCODING) {
        // Who gives a length besides may be the victim of somebody who smuggles.
        stays &= !headers.contains_key(CONTENT_LENGTH) && head.version() == Version::HTTP_11;
        let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
        let last = last.and_then(|it| it.to_str().ok()).and_then(|it| it.rsplit(',').next());
        return match last.map(str::trim) {
            Some(coding) if coding.eq_ignore_ascii_case("chunked") => {
                Ok((Framing::chunked(), stays))
            }
            _ => Err(Fault::Coding),
        };
    }
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for said in value.as_bytes().split(|&byte| byte == b',') {
            let said = decimal(said.trim_ascii()).ok_or(Fault::Length)?;
            if length.is_some_and(|before| before != said) {
                return Err(Fault::Length);
            }
            length = Some(said);
        }
    }
    Ok(match length {
        Some(length) => (Framing::length(length), stays),
        None => (Framing::until_close(), false),
    })
}

/// Whether a field that lists words lists this one.
fn names(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let mut values = headers.get_all(name).iter().filter_map(|it| it.to_str().ok());
    values.any(|value| value.split(',').any(|it| it.trim().eq_ignore_ascii_case(word)))
}

/// Digits and nothing else.
fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests;
