//! HTTP as a person with `nc` would speak it: one request a connection, nothing hidden.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use serde_json::Value;

/// How long a response may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// A header field, by its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|it| it.1.trim())
    }

    /// The body, which says that it is JSON and is.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let kind = self.field("content-type").unwrap_or_default();
        assert!(kind.contains("json"), "not JSON: {self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A response that is being read.
pub(crate) struct Open {
    pub(crate) status: u16,
    head: String,
    rest: BufReader<TcpStream>,
}

/// Sends a request and reads the head of the response.
pub(crate) fn open(addr: SocketAddr, line: &str, fields: &[(&str, &str)], body: &str) -> Open {
    let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut head = format!("{line} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut rest = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(rest.read_line(&mut head).unwrap(), 0, "{line}: closed within {head:?}");
    }
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    Open { status: status.unwrap_or_else(|| panic!("no status in {head:?}")), head, rest }
}

impl Open {
    /// Whether it is a stream of events.
    pub(crate) fn is_stream(&self) -> bool {
        self.head.to_ascii_lowercase().contains("content-type: text/event-stream")
    }

    /// The rest of the response, which has an end.
    pub(crate) fn read(mut self) -> Answer {
        let mut bytes = Vec::new();
        let chunked = self.head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        if chunked {
            while let Some(mut chunk) = self.chunk() {
                bytes.append(&mut chunk);
            }
        } else {
            self.rest.read_to_end(&mut bytes).unwrap();
        }
        let body = String::from_utf8(bytes).unwrap();
        Answer { status: self.status, head: self.head, body }
    }

    /// What a stream says until it has said `words`.
    pub(crate) fn until(&mut self, words: &str) -> String {
        let mut said = String::new();
        while !said.contains(words) {
            let mut line = String::new();
            let read = self.rest.read_line(&mut line);
            assert!(read.is_ok_and(|it| 0 < it), "no {words:?} came after {said:?}");
            said += &line;
        }
        said
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        self.rest.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut bytes = vec![0; size + 2];
        self.rest.read_exact(&mut bytes).unwrap();
        bytes.truncate(size);
        (0 < size).then_some(bytes)
    }
}

/// Sends a request and reads the whole response.
pub(crate) fn ask(addr: SocketAddr, line: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    open(addr, line, fields, body).read()
}

/// Serves one page at every path, for as long as the test runs, and returns its URL.
pub(crate) fn page(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/page.txt", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut head = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while head.read_line(&mut line).is_ok_and(|it| 2 < it) {
                line.clear();
            }
            let size = text.len();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n";
            // A reader that has gone away misses nothing.
            drop(
                (&stream)
                    .write_all(format!("{head}Content-Length: {size}\r\n\r\n{text}").as_bytes()),
            );
        }
    });
    url
}
