//! TLS to peers and bootstrap servers, where their addresses are `https`.
//!
//! It keeps what is asked and answered from others on the way. Who a peer is, and that
//! content is what its hash says, does not rest on it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};

/// The authorities whose certificates are believed. Without any, no `https` address can
/// be asked.
#[derive(Clone)]
pub struct Authorities(RootCertStore);

/// A file that does not tell of authorities.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// It cannot be read as PEM (RFC 7468).
    #[error("the certificates in {0} cannot be read")]
    Pem(PathBuf, #[source] pem::Error),
    /// It holds something that is no certificate of an authority.
    #[error("a certificate in {0} cannot be used")]
    Certificate(PathBuf, #[source] rustls::Error),
    /// It holds none.
    #[error("there is no certificate in {0}")]
    None(PathBuf),
}

impl Default for Authorities {
    fn default() -> Self {
        Self(RootCertStore::empty())
    }
}

impl Authorities {
    /// Those that this system believes. Blocks.
    pub fn of_system() -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in found.errors {
            tracing::debug!(%error, "certificates of the system cannot be read");
        }
        let mut authorities = Self::default();
        authorities.0.add_parsable_certificates(found.certs);
        authorities
    }

    /// Adds those of a file of certificates in PEM (RFC 7468). Blocks.
    pub fn add_file(&mut self, path: &Path) -> Result<(), AuthoritiesError> {
        let before = self.0.len();
        let pem = |error| AuthoritiesError::Pem(path.to_owned(), error);
        for certificate in CertificateDer::pem_file_iter(path).map_err(pem)? {
            let added = self.0.add(certificate.map_err(pem)?);
            added.map_err(|error| AuthoritiesError::Certificate(path.to_owned(), error))?;
        }
        if self.0.len() == before {
            return Err(AuthoritiesError::None(path.to_owned()));
        }
        Ok(())
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

/// How a client speaks TLS.
pub fn config(authorities: &Authorities) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config
        .with_root_certificates(authorities.0.clone())
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(content: &str) -> Result<(), AuthoritiesError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, content).unwrap();
        Authorities::default().add_file(&path)
    }

    #[test]
    fn a_file_of_authorities_holds_certificates_and_only_good_ones() {
        let parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let good = parameters.self_signed(&key).unwrap().pem();
        assert!(added(&good).is_ok());
        assert!(added(&format!("A comment.\n{good}{good}")).is_ok());
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (content, refusal) in [
            ("", "there is no certificate in"),
            (&key.serialize_pem(), "there is no certificate in"),
            (&format!("{good}{broken}"), "a certificate in"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "the certificates in"),
        ] {
            let error = added(content).unwrap_err().to_string();
            assert!(error.starts_with(refusal), "{content}: {error}");
        }
    }
}
