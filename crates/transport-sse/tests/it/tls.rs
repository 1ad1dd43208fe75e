//! TLS behind: whom we believe.

use std::{convert::Infallible, path::PathBuf, sync::Arc};

use bytes::Bytes;
use hyper::{Method, Request, Response, Version, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use mcp_jsonrpc::transport::TransportError;
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{io::AsyncWriteExt, net::TcpListener};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use transport_sse::{
    body::Outgoing,
    http::{HttpClient, HttpOptions, HttpTarget, TlsError},
};

use crate::raw;

fn data(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)
}

/// With a certificate for localhost from an authority of the tests.
fn config() -> ServerConfig {
    let certificates = CertificateDer::pem_file_iter(data("server.pem")).unwrap();
    let certificates = certificates.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(data("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap()
}

/// An https server.
async fn server() -> String {
    let config = config();
    let (acceptor, tasks) = (TlsAcceptor::from(Arc::new(config)), TaskTracker::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            if raw::read_request(&mut stream).await.is_some() {
                let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    format!("https://localhost:{port}/mcp")
}

async fn get(url: &str, options: HttpOptions) -> Result<u16, TransportError> {
    let none: [(&str, &str); 0] = [];
    let target = HttpTarget::new("pg", url, none).unwrap();
    let request = target.request(Method::GET, target.url().clone()).body(Bytes::new()).unwrap();
    let response = HttpClient::new(options).send(&target, request).await;
    response.map(|response: Response<_>| response.status().as_u16())
}

#[tokio::test]
async fn an_authority_of_ones_own() {
    let ca_file = Some(data("ca.pem"));
    let options = HttpOptions { ca_file, ..HttpOptions::default() };
    assert_eq!(get(&server().await, options).await.unwrap(), 204);
}

#[tokio::test]
async fn nobody_else_is_believed_unless_everybody_is() {
    // With an authority that has not signed this: the system may have none of its own.
    let ca_file = Some(data("other-ca.pem"));
    let options = HttpOptions { ca_file, ..HttpOptions::default() };
    let url = server().await;
    let error = get(&url, options).await.unwrap_err();
    assert!(error.is_unsent());
    let said = error.said().to_string();
    assert!(said.contains("server `pg`: no TLS connection to localhost:"), "{error}");
    assert!(said.contains("CA file") && error.to_string().contains("UnknownIssuer"), "{error}");

    let options = HttpOptions { insecure_tls: true, ..HttpOptions::default() };
    assert_eq!(get(&url, options).await.unwrap(), 204);
}

#[tokio::test]
async fn http_2_where_the_server_has_it() {
    let mut config = config();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (acceptor, tasks) = (TlsAcceptor::from(Arc::new(config)), TaskTracker::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tasks.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
        let service = service_fn(async |request: Request<Incoming>| {
            assert_eq!(
                (request.version(), request.uri().host()),
                (Version::HTTP_2, Some("localhost"))
            );
            Ok::<_, Infallible>(Response::new(Outgoing::empty()))
        });
        // One connection for all: another would not be accepted.
        Builder::new(TokioExecutor::new()).serve_connection(stream, service).await.unwrap();
    });
    let client = HttpClient::new(HttpOptions { insecure_tls: true, ..HttpOptions::default() });
    let none: [(&str, &str); 0] = [];
    let target = HttpTarget::new("pg", &format!("https://localhost:{port}/mcp"), none).unwrap();
    for _ in 0..3 {
        let request = target.request(Method::GET, target.url().clone());
        let response = client.send(&target, request.body(Bytes::new()).unwrap()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = listener.local_addr().unwrap();
    let connect_timeout = std::time::Duration::from_millis(50);
    let options = HttpOptions { connect_timeout, insecure_tls: true, ..HttpOptions::default() };
    let error = get(&format!("https://{silent}/"), options).await.unwrap_err();
    assert!(error.said().to_string().contains("in time"), "{error}");
}

#[tokio::test]
async fn files_that_hold_no_authority() {
    for file in ["no-such.pem", "server.key"] {
        let ca_file = Some(data(file));
        let client = HttpClient::new(HttpOptions { ca_file, ..HttpOptions::default() });
        let error = client.prepare_tls().unwrap_err();
        assert!(matches!(error, TlsError::CaFile { .. }), "{error}");
        assert!(error.to_string().contains(file), "{error}");
    }
}
