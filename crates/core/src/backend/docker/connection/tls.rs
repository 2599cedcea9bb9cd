//! TLS to an engine, with the files that its endpoint names.

use std::path::Path;
use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::in_file;
use crate::backend::endpoint::TlsFiles;

pub(super) fn connector(files: &TlsFiles) -> Result<HttpsConnector<HttpConnector>, String> {
    let config = config(files)?;
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().build())
}

/// Whom these files trust, and who they are; no protocol is asked for.
pub(in crate::backend) fn config(files: &TlsFiles) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = if files.verify {
        config.with_root_certificates(authorities(files.ca.as_deref())?)
    } else {
        config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    };
    match &files.client {
        None => Ok(config.with_no_client_auth()),
        Some((certificate, key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| in_file(key, error))?;
            config
                .with_client_auth_cert(certificates(certificate)?, private)
                .map_err(|error| in_file(certificate, error))
        }
    }
}

/// As `docker` has it: where an authority is named, no other counts.
fn authorities(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if let Some(path) = ca {
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| in_file(path, error))?;
        }
    } else {
        // One that cannot be read vouches for nobody; the others still do.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| in_file(path, error))?.collect();
    match found {
        Ok(found) if found.is_empty() => Err(in_file(path, "it holds no certificate")),
        found => found.map_err(|error| in_file(path, error)),
    }
}

/// Takes whoever answers: `DOCKER_TLS` without `DOCKER_TLS_VERIFY`, and contexts with
/// `--docker skip-tls-verify`, say so.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
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
