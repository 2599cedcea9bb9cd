//! TLS in front of a server that has none, with an authority of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

/// TLS on a free port of loopback. Whoever connects needs the client certificate that lies in
/// [`certificates`](Self::certificates).
pub struct TlsFront {
    port: u16,
    directory: tempfile::TempDir,
    runtime: Option<tokio::runtime::Runtime>,
}

impl TlsFront {
    /// Starts it in front of `unix://PATH` or `HOST:PORT`. Its certificate is for `127.0.0.1`, and for
    /// no other name.
    pub fn start(target: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let config = certificates(directory.path());
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        listener.set_nonblocking(true).expect("a socket can be made so");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_io()
            .build()
            .expect("a thread can be started");
        let target = target.to_owned();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime is here");
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, target) = (acceptor.clone(), target.clone());
                tokio::spawn(async move {
                    // A client that is refused, or gives up, is what tests want to see on its side.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, &target).await;
                    }
                });
            }
        });
        Self { port, directory, runtime: Some(runtime) }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A directory with `ca.pem`, and the client's `cert.pem` and `key.pem`.
    pub fn certificates(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, target: &str) {
    // Whichever side ends first, the other one notices.
    let _ = match target.strip_prefix("unix://") {
        Some(path) => match UnixStream::connect(path).await {
            Ok(mut target) => copy_bidirectional(&mut stream, &mut target).await,
            Err(error) => Err(error),
        },
        None => match TcpStream::connect(target).await {
            Ok(mut target) => copy_bidirectional(&mut stream, &mut target).await,
            Err(error) => Err(error),
        },
    };
}

/// Writes the client's files, and returns what the server needs.
fn certificates(directory: &Path) -> ServerConfig {
    let key = || KeyPair::generate().expect("keys can be made");
    let write = |name: &str, text: String| {
        std::fs::write(directory.join(name), text).expect("a temporary file can be written");
    };
    let params =
        |name: &str| CertificateParams::new([name.to_owned()]).expect("it is a name or an address");
    let mut ca = params("authority.example");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // No two authorities have the same name.
    ca.distinguished_name.push(DnType::CommonName, directory.display().to_string());
    let ca_key = key();
    let ca_certificate = ca.self_signed(&ca_key).expect("keys can sign");
    let issuer = Issuer::new(ca, ca_key);
    let signed = |name: &str| {
        let key = key();
        let certificate = params(name).signed_by(&key, &issuer).expect("keys can sign");
        (certificate, key)
    };
    let (client, client_key) = signed("client.example");
    write("ca.pem", ca_certificate.pem());
    write("cert.pem", client.pem());
    write("key.pem", client_key.serialize_pem());
    let mut roots = RootCertStore::empty();
    roots.add(ca_certificate.der().clone()).expect("it is a certificate");
    let provider = Arc::new(crypto::ring::default_provider());
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .expect("there is an authority");
    let (server, server_key) = signed("127.0.0.1");
    let private = PrivateKeyDer::try_from(server_key.serialize_der()).expect("it is a key");
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows all versions")
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![server.der().clone()], private)
        .expect("key and certificate belong together")
}
