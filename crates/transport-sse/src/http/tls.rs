//! Whom we believe: the system's authorities, an operator's own, or everybody.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use tracing::{debug, warn};

use super::HttpOptions;

/// Why TLS cannot be spoken.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file of certificates cannot be read, or holds none.
    #[error("certificates of {file}: {what}")]
    CaFile {
        /// The file.
        file: Box<str>,
        /// What is wrong with it.
        what: Box<str>,
    },
    /// Nobody is trusted.
    #[error(
        "the system has no certificate authorities; install them (Debian: ca-certificates) \
             or name a file of your own"
    )]
    NoRoots,
    /// The TLS library refuses to be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(Box<str>),
}

/// How to speak TLS as a client.
pub(super) fn config(options: &HttpOptions) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Setup(error.to_string().into()))?;
    if options.insecure_tls {
        warn!("TLS certificates of servers are not checked (insecure)");
        let verifier = Arc::new(Everybody(provider));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth());
    }
    Ok(builder.with_root_certificates(roots(options)?).with_no_client_auth())
}

fn roots(options: &HttpOptions) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        debug!(%error, "certificates of the system");
    }
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    debug!(added, ignored, "certificate authorities of the system");
    if let Some(file) = &options.ca_file {
        add_file(&mut roots, file)
            .map_err(|what| TlsError::CaFile { file: file.display().to_string().into(), what })?;
    }
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}

fn add_file(roots: &mut RootCertStore, file: &Path) -> Result<(), Box<str>> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|it| it.to_string())?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
        count += 1;
    }
    if count == 0 { Err("no PEM certificate in it".into()) } else { Ok(()) }
}

/// Believes every certificate, but not a forged signature.
#[derive(Debug)]
struct Everybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
