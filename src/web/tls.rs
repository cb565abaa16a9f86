//! TLS to clients: the node's own certificate, which can be replaced while it runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::{given_file, secret_file};

/// The longest file of a certificate or a key that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Where the certificate and its key are, as PEM (RFC 7468).
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate, and behind it those that lead to an authority.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Files that no server can be made of.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate cannot be read.
    #[error("the certificate in {0} cannot be read")]
    Certificate(PathBuf, #[source] pem::Error),
    /// There is none in its file.
    #[error("there is no certificate in {0}")]
    NoCertificate(PathBuf),
    /// The key cannot be read.
    #[error("the private key in {0} cannot be read")]
    Key(PathBuf, #[source] pem::Error),
    /// They cannot be used, or not together.
    #[error("the certificate in {} does not go with the key in {}",
        .0.certificate.display(), .0.key.display())]
    Pair(CertificateFiles, #[source] rustls::Error),
    /// TLS itself cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// What a server needs to speak TLS. Clones share the certificate.
#[derive(Clone)]
pub struct Tls {
    files: CertificateFiles,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

/// The certificate shown to clients that connect now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read();
        Some(Arc::clone(&current))
    }
}

impl Tls {
    /// Reads the files. Blocks.
    pub fn load(files: CertificateFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current(RwLock::new(certified(&files, &provider)?)));
        let config = ServerConfig::builder_with_provider(provider);
        let mut config = config
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Current>::clone(&current));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            files,
            current,
            config: Arc::new(config),
        })
    }

    /// Reads the files again, for connections that are made from now on; after an error the
    /// certificate stays what it was. Blocks.
    pub fn reload(&self) -> Result<(), TlsError> {
        let certified = certified(&self.files, self.config.crypto_provider())?;
        *self.current.0.write() = certified;
        Ok(())
    }

    /// What makes TLS connections of plain ones.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config())
    }

    /// How TLS is spoken to clients.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?})", self.files)
    }
}

fn certified(
    files: &CertificateFiles,
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = read_chain(&files.certificate)?;
    let unreadable = |error| TlsError::Key(files.key.clone(), error);
    let unread = |error| unreadable(pem::Error::Io(error));
    let given = given_file::read(&files.key, MAX_BYTES).map_err(unread)?;
    let warning = secret_file::check(&given.file).map_err(unread)?;
    let key = PrivateKeyDer::from_pem_slice(&given.bytes).map_err(unreadable)?;
    let certified = CertifiedKey::from_der(chain, key, provider);
    let certified = certified.map_err(|error| TlsError::Pair(files.clone(), error))?;
    // Of a key that is not used there is more to say.
    secret_file::warn(&files.key, warning);
    Ok(Arc::new(certified))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |error| TlsError::Certificate(path.to_owned(), error);
    let given = given_file::read(path, MAX_BYTES);
    let given = given.map_err(|error| unreadable(pem::Error::Io(error)))?;
    let chain = CertificateDer::pem_slice_iter(&given.bytes).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(unreadable)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(path.to_owned()));
    }
    Ok(chain)
}
