//! TLS by certificate files, which are read again once they change.
//!
//! Must never know: what is served.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;

/// The files are looked at once in so long, when somebody connects.
const LOOK: SignedDuration = SignedDuration::from_secs(30);

/// What keeps certificate files from being used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or holds nothing of that kind.
    #[error("{} holds no {what} in PEM that can be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What went wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key don't go together, or are of a kind that isn't taken.
    #[error("certificate and key can't be used together")]
    Pair(#[from] rustls::Error),
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    stamps: [Option<SystemTime>; 2],
    looked: Timestamp,
}

/// The certificate by which clients know us.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    clock: Arc<dyn Clock>,
    loaded: Mutex<Loaded>,
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(certificate: &Path, key: &Path, clock: Arc<dyn Clock>) -> Result<Tls, TlsError> {
        let stamps = [stamp(certificate), stamp(key)];
        let loaded = Loaded { config: load(certificate, key)?, stamps, looked: clock.now() };
        Ok(Tls { certificate: certificate.to_owned(), key: key.to_owned(), clock, loaded: Mutex::new(loaded) })
    }

    /// What takes the next connection: with the files as they are by now. While they can't be used the old ones are.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let now = self.clock.now();
        let mut loaded = self.loaded.lock().expect("no code panics while it holds the certificate");
        if now.duration_since(loaded.looked).abs() >= LOOK {
            loaded.looked = now;
            let stamps = [stamp(&self.certificate), stamp(&self.key)];
            if stamps != loaded.stamps {
                loaded.stamps = stamps;
                match load(&self.certificate, &self.key) {
                    Ok(config) => {
                        loaded.config = config;
                        tracing::info!("the certificate was read again");
                    }
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "the certificate changed and can't be used; the one before is kept");
                    }
                }
            }
        }
        TlsAcceptor::from(loaded.config.clone())
    }
}

fn stamp(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// TLS 1.3 and 1.2.
fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let wrong = |path: &Path, what| {
        let path = path.to_owned();
        move |source| TlsError::File { path, what, source }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
    let chain = chain.map_err(wrong(certificate, "certificate"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(wrong(key, "private key"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
