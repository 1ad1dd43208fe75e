//! What HTTP travels on: HTTP/2, TLS, unix sockets, and https behind.

use std::{net::TcpStream, sync::Arc};

use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;
use transport_sse::body::{self, Outgoing};

use crate::{
    client::{Client, Front},
    http::{self, Wire},
    process::PATIENCE,
    rig::{Gateway, INITIALIZE, certificate, demo, folder, servers},
};

/// Asks over HTTP/2 with prior knowledge, several things on one connection.
#[test]
fn http2_without_tls() {
    let gateway = Gateway::start(&demo());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(&gateway.at).await.unwrap();
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let tasks = TaskTracker::new();
        tasks.spawn(connection);
        let ask = async |sender: &mut http2::SendRequest<Outgoing>, path: &str, body: &str| {
            let request =
                Request::post(gateway.url(path)).header("content-type", "application/json");
            let request = request.body(Outgoing::whole(body.to_owned())).unwrap();
            let response = sender.send_request(request).await.unwrap();
            let (parts, body) = response.into_parts();
            (parts, body::read(body, 1 << 20, PATIENCE).await.unwrap())
        };
        let (first, second) = (&mut sender.clone(), &mut sender);
        let (greeted, lost) =
            tokio::join!(ask(first, "/demo/mcp", INITIALIZE), ask(second, "/nowhere", ""));
        assert_eq!((greeted.0.status.as_u16(), greeted.0.version), (200, hyper::Version::HTTP_2));
        assert!(greeted.0.headers.contains_key("mcp-session-id"));
        assert!(String::from_utf8_lossy(&greeted.1).contains("demo-server"));
        assert_eq!(lost.0.status, 404);
        let foreign = Request::get("http://evil.example/ping").body(Outgoing::empty()).unwrap();
        assert_eq!(sender.send_request(foreign).await.unwrap().status(), 421);
        for (count, len, words) in [(1, 80 << 10, "longer than 65536"), (120, 1, "more than 100")] {
            let mut request = Request::get(gateway.url("/dmo/mcp"));
            for number in 0..count {
                request = request.header(format!("x-{number}"), "y".repeat(len));
            }
            let request = request.body(Outgoing::empty()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 431);
            let said = body::read(response.into_body(), 1 << 20, PATIENCE).await.unwrap();
            let said: Value = serde_json::from_slice(&said).unwrap();
            assert!(said["error"].as_str().unwrap().contains(words), "{said}");
            assert_eq!(
                (&said["nearest"], &said["routes"][0]),
                (&json!("/demo/mcp"), &json!("/demo/mcp"))
            );
            let line = gateway
                .request_line(0, &[("status", json!(431)), ("reason", said["error"].clone())]);
            assert_eq!(line.1["path"], "/dmo/mcp");
        }
    });
}

fn with_tls() -> Gateway {
    let mut config = demo();
    let (cert, key) = (certificate("server.pem"), certificate("server.key"));
    config["gateway"] = json!({ "tls": { "cert": cert, "key": key } });
    Gateway::start(&config)
}

/// A connection with TLS on it, and the protocol that was agreed on.
fn tls(at: &str, protocols: &[&[u8]]) -> (Box<dyn Wire>, Option<Vec<u8>>) {
    let (wire, connection) = shake_hands(at, protocols);
    let agreed = connection.alpn_protocol().map(<[u8]>::to_vec);
    (Box::new(StreamOwned::new(connection, wire)), agreed)
}

/// A connection with TLS on it, and how many certificates were shown.
pub(crate) fn shown(at: &str) -> (Box<dyn Wire>, usize) {
    let (wire, connection) = shake_hands(at, &[b"http/1.1"]);
    let shown = connection.peer_certificates().map_or(0, <[_]>::len);
    (Box::new(StreamOwned::new(connection, wire)), shown)
}

fn shake_hands(at: &str, protocols: &[&[u8]]) -> (TcpStream, ClientConnection) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream: TcpStream = http::tcp(at);
    connection.complete_io(&mut stream).unwrap();
    (stream, connection)
}

#[test]
fn tls_in_front() {
    let gateway = with_tls();
    let (mut wire, agreed) = tls(&gateway.at, &[b"http/1.1"]);
    assert_eq!(agreed.as_deref(), Some(&b"http/1.1"[..]));
    let fields = [("Content-Type", "application/json")];
    let text = http::request("POST /demo/mcp", "localhost", &fields, INITIALIZE);
    wire.write_all(text.as_bytes()).unwrap();
    let answer = http::read_head(wire, false).unwrap().read();
    assert!(answer.status == 200 && answer.body.contains("demo-server"), "{answer:?}");
    assert_eq!(tls(&gateway.at, &[b"h2", b"http/1.1"]).1.as_deref(), Some(&b"h2"[..]));
    // Who speaks plainly is not understood, and nobody else is held up by that.
    let mut plain = http::tcp(&gateway.at);
    std::io::Write::write_all(&mut plain, b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert!(http::read_head(Box::new(plain), false).is_err());
    assert!(tls(&gateway.at, &[]).1.is_none());
}

#[test]
fn https_behind_with_an_authority_of_ones_own() {
    let back = with_tls();
    let server = |path: &str, kind: &str, ca: &str| json!({ "url": format!("https://{}{path}", back.at), "type": kind, "ca": certificate(ca) });
    let gateway = Gateway::start(&servers(json!({
        "streamable": server("/demo/mcp", "streamable-http", "ca.pem"),
        "events": server("/demo/sse", "sse", "ca.pem"),
        "other": server("/demo/mcp", "streamable-http", "other-ca.pem"),
    })));
    for name in ["streamable", "events"] {
        let mut client = Client::begin(&gateway, Front::Unlistening, name);
        assert_eq!(client.call("echo", json!({ "message": name })), name);
    }
    let answer = gateway.post("/other/mcp", &[], INITIALIZE);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.error().contains("no TLS connection"), "{answer:?}");
}

#[test]
fn a_unix_socket() {
    let dir = folder();
    let path = dir.path().join("gateway.sock");
    let listen = format!("unix:{}", path.display());
    // What a killed gateway has left there is no hindrance.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let gateway = Gateway::start_in(dir, &demo(), &["--listen", &listen]);
    assert_eq!(gateway.at, listen);
    let mut client = Client::begin(&gateway, Front::Sse, "demo");
    assert_eq!(client.call("echo", json!({ "message": "there" })), "there");
    drop(client);
    let ended = gateway.end();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(!path.exists());
}

/// Toward a server: its own host, its own headers, and nothing of the client's.
#[test]
fn what_a_server_behind_is_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let heard = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = String::new();
        let mut reader = std::io::BufReader::new(stream);
        while !head.ends_with("\r\n\r\n") {
            std::io::BufRead::read_line(&mut reader, &mut head).unwrap();
        }
        head.to_lowercase()
    });
    let gateway = Gateway::start(&servers(json!({ "it": {
        "url": format!("http://{at}/mcp"), "type": "streamable-http", "startup": "lazy",
        "headers": { "Authorization": "Bearer theirs" },
    } })));
    let fields = [
        ("Origin", &*format!("http://{}", gateway.at)),
        ("Authorization", "Bearer ours"),
        ("Cookie", "a=b"),
        ("X-Forwarded-For", "10.0.0.1"),
    ];
    let answer = gateway.post("/it/mcp", &fields, INITIALIZE);
    let head = heard.join().unwrap();
    assert!(head.contains(&format!("\r\nhost: {at}\r\n")), "{head}");
    assert!(head.contains("\r\nauthorization: bearer theirs\r\n"), "{head}");
    for foreign in ["origin:", "ours", "cookie", "forwarded", &*gateway.at] {
        assert!(!head.contains(foreign), "{foreign} in {head}");
    }
    // The server hung up: its client hears of that, and no 404.
    assert!(matches!(answer.status, 502 | 503), "{answer:?}");
    assert_ne!(answer.json()["error"]["message"], Value::Null);
}
