//! HTTP as a person with `nc` would speak it: one request a connection, nothing hidden.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
};

use serde_json::Value;

use crate::process::PATIENCE;

/// What requests are sent on.
pub(crate) trait Wire: Read + Write + Send {}
impl<T: Read + Write + Send> Wire for T {}

/// A whole response.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

/// A response whose head has come.
pub(crate) struct Open {
    pub(crate) status: u16,
    head: String,
    rest: BufReader<Box<dyn Wire>>,
    framing: Framing,
}

#[derive(Clone, Copy)]
enum Framing {
    Chunked { left: usize },
    Length(usize),
    ToTheEnd,
}

/// A connection to `127.0.0.1:port` or `unix:/path`, on which nothing takes longer than patience.
pub(crate) fn connect(at: &str) -> Box<dyn Wire> {
    match at.strip_prefix("unix:") {
        Some(path) => {
            let stream = UnixStream::connect(path).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            Box::new(stream)
        }
        None => Box::new(tcp(at)),
    }
}

pub(crate) fn tcp(at: &str) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The text of a request. `line` is a method and a path; a `Host` is added unless there is one.
pub(crate) fn request(line: &str, at: &str, fields: &[(&str, &str)], body: &str) -> String {
    let host = if at.starts_with("unix:") { "localhost" } else { at };
    let mut text = format!("{line} HTTP/1.1\r\n");
    let has = |name: &str| fields.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
    if !has("host") {
        text += &format!("Host: {host}\r\n");
    }
    for (name, value) in fields {
        text += &format!("{name}: {value}\r\n");
    }
    if line.starts_with("POST ") && !has("content-length") && !has("transfer-encoding") {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text + "\r\n" + body
}

/// Reads the head of a response.
pub(crate) fn read_head(wire: Box<dyn Wire>, is_head: bool) -> io::Result<Open> {
    let mut rest = BufReader::new(wire);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if rest.read_line(&mut head)? == 0 {
            let what = format!("closed within a head: {head:?}");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
        }
    }
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status in {head:?}"));
    let framing = match (field(&head, "transfer-encoding"), field(&head, "content-length")) {
        _ if is_head || status == 204 => Framing::Length(0),
        (Some(_), _) => Framing::Chunked { left: 0 },
        (None, Some(length)) => Framing::Length(length.parse().unwrap()),
        (None, None) => Framing::ToTheEnd,
    };
    Ok(Open { status, head, rest, framing })
}

/// A header field of a head, by its name.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|it| it.1.trim())
}

// === impl Answer ===

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// The body, which says that it is JSON and is.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.field("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// What a refusal says: in the gateway's own words or as a JSON-RPC error.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        let json = self.json();
        let error = json["error"].as_str().or_else(|| json["error"]["message"].as_str());
        error.unwrap_or_else(|| panic!("no error in {self:?}")).to_owned()
    }

    /// The code of a JSON-RPC error.
    #[track_caller]
    pub(crate) fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_else(|| panic!("no code in {self:?}"))
    }
}

// === impl Open ===

impl Open {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// The rest of the response.
    pub(crate) fn read(mut self) -> Answer {
        let mut body = Vec::new();
        self.read_to_end(&mut body).unwrap_or_else(|error| panic!("{error} after {self:?}"));
        let body = String::from_utf8(body).unwrap();
        Answer { status: self.status, head: self.head, body }
    }

    /// The data of the next event that has any.
    #[track_caller]
    pub(crate) fn data(&mut self) -> String {
        loop {
            let event = self.event().unwrap_or_else(|error| panic!("{error} after {self:?}"));
            let event = event.unwrap_or_else(|| panic!("the end of {self:?}"));
            if let Some(data) = event.data {
                return data;
            }
        }
    }

    /// The next event of a stream: its comments, its kind and its data; none at its end.
    pub(crate) fn event(&mut self) -> io::Result<Option<Event>> {
        let mut event = Event::default();
        loop {
            let mut line = Vec::new();
            if BufReader::with_capacity(1, &mut *self).read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            let line = String::from_utf8(line).unwrap();
            let line = line.trim_end_matches(['\n', '\r']);
            match line.split_once(':') {
                None if line.is_empty() && event == Event::default() => (),
                None if line.is_empty() => return Ok(Some(event)),
                Some(("", comment)) => event.comment = Some(comment.trim().to_owned()),
                Some(("event", kind)) => event.kind = Some(kind.trim().to_owned()),
                Some(("data", data)) => {
                    let data = data.strip_prefix(' ').unwrap_or(data);
                    event.data = Some(event.data.map_or_else(String::new, |it| it + "\n") + data);
                }
                _ => (),
            }
        }
    }
}

/// What is between two empty lines of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) comment: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) data: Option<String>,
}

/// The body.
impl Read for Open {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.framing {
            Framing::ToTheEnd => self.rest.read(buffer),
            Framing::Length(0) => Ok(0),
            Framing::Length(left) => {
                let most = buffer.len().min(*left);
                let read = self.rest.read(&mut buffer[..most])?;
                *left -= read;
                if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
            }
            Framing::Chunked { left } => {
                if *left == 0 {
                    let mut line = String::new();
                    self.rest.read_line(&mut line)?;
                    let size = usize::from_str_radix(line.trim(), 16);
                    *left = size.map_err(|_| io::ErrorKind::UnexpectedEof)?;
                    if *left == 0 {
                        self.framing = Framing::Length(0);
                        return Ok(0);
                    }
                }
                let most = buffer.len().min(*left);
                let read = self.rest.read(&mut buffer[..most])?;
                *left -= read;
                if *left == 0 {
                    self.rest.read_exact(&mut [0; 2])?;
                }
                if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) }
            }
        }
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("head", &self.head).finish_non_exhaustive()
    }
}
