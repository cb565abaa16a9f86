//! TLS to peers and bootstrap servers, where their addresses are `https`.
//!
//! It keeps what is asked and answered from others on the way. Who a peer is, and that
//! content is what its hash says, does not rest on it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::given_file;

/// The longest file of certificates that is read, in bytes: that of a system has some hundred KiB.
const MAX_BYTES: u64 = 16 << 20;

/// The authorities whose certificates are believed. Without any, no `https` address can
/// be asked.
#[derive(Clone)]
pub struct Authorities {
    roots: RootCertStore,
    /// Those that a file names, each of which is believed also where a server shows it itself.
    named: Vec<CertificateDer<'static>>,
    /// The one certificate that is believed whatever it says, since it is known to be the server's.
    own: Option<CertificateDer<'static>>,
}

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
        Self {
            roots: RootCertStore::empty(),
            named: Vec::new(),
            own: None,
        }
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
        authorities.roots.add_parsable_certificates(found.certs);
        authorities
    }

    /// Adds those of a file of certificates in PEM (RFC 7468). Blocks.
    pub fn add_file(&mut self, path: &Path) -> Result<(), AuthoritiesError> {
        let before = self.named.len();
        let pem = |error| AuthoritiesError::Pem(path.to_owned(), error);
        for certificate in CertificateDer::pem_slice_iter(&read(path)?) {
            let certificate = certificate.map_err(pem)?;
            self.named.push(certificate.clone());
            let added = self.roots.add(certificate);
            added.map_err(|error| AuthoritiesError::Certificate(path.to_owned(), error))?;
        }
        if self.named.len() == before {
            return Err(AuthoritiesError::None(path.to_owned()));
        }
        Ok(())
    }
}

impl Authorities {
    /// Believes the first certificate of this file where a server shows that very one, which is
    /// known to be its own: whatever name and time it is for, and whoever vouches for it. Blocks.
    pub fn believe_own(&mut self, path: &Path) -> Result<(), AuthoritiesError> {
        let pem = |error| AuthoritiesError::Pem(path.to_owned(), error);
        let given = read(path)?;
        let first = CertificateDer::pem_slice_iter(&given).next();
        let none = || AuthoritiesError::None(path.to_owned());
        self.own = Some(first.ok_or_else(none)?.map_err(pem)?);
        Ok(())
    }
}

/// All of a file of certificates. Blocks.
fn read(path: &Path) -> Result<Vec<u8>, AuthoritiesError> {
    let given = given_file::read(path, MAX_BYTES);
    let pem = |error| AuthoritiesError::Pem(path.to_owned(), pem::Error::Io(error));
    Ok(given.map_err(pem)?.bytes)
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.roots.len())
    }
}

/// How a client speaks TLS.
pub fn config(authorities: &Authorities) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions()?;
    let roots = authorities.roots.clone();
    if authorities.named.is_empty() && authorities.own.is_none() {
        return Ok(config.with_root_certificates(roots).with_no_client_auth());
    }
    let usual = if roots.is_empty() {
        None
    } else {
        let provider = Arc::clone(&provider);
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        Some(usual.map_err(|error| rustls::Error::General(error.to_string()))?)
    };
    let verifier = Verifier {
        usual,
        named: authorities.named.clone(),
        own: authorities.own.clone(),
        algorithms: provider.signature_verification_algorithms,
    };
    Ok(config
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Believes whom it usually does, and besides a certificate that is named itself, though it is
/// one of an authority: such as `openssl req -x509` makes, and other clients take. What is known to
/// be the server's own it believes without looking at what that says.
#[derive(Debug)]
struct Verifier {
    /// None where no authority is known.
    usual: Option<Arc<WebPkiServerVerifier>>,
    named: Vec<CertificateDer<'static>>,
    own: Option<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.own.as_ref() == Some(shown) {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(usual) = &self.usual else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let usual = usual.verify_server_cert(shown, between, name, ocsp, now);
        match &usual {
            // Whether it is valid at this time was looked at before.
            Err(error) if is_of_authority(error) && self.named.contains(shown) => {
                verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            _ => usual,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, shown, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, shown, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether a certificate was refused since it is that of an authority. The library that looks at
/// certificates tells this apart in its text alone.
pub fn is_of_authority(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
            format!("{other:?}").contains("CaUsedAsEndEntity")
        }
        _ => false,
    }
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
