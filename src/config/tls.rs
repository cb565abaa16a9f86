//! Settings of TLS to clients.

use std::path::PathBuf;

use clap::Args;

use crate::node::tls::{Files, Tls, TlsError};

/// Whether the node speaks HTTPS.
#[derive(Args, Debug)]
pub(super) struct TlsSettings {
    /// File of the node's certificate (PEM), with those behind it that lead to an authority:
    /// it speaks HTTPS instead of HTTP. Read again on SIGHUP.
    #[arg(
        long,
        env = "LARDER_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// File of the private key (PEM) of that certificate.
    #[arg(
        long,
        env = "LARDER_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
}

impl TlsSettings {
    /// What the node shows its clients, if it speaks TLS. Reads the files.
    pub(super) fn tls(&self) -> Result<Option<Tls>, TlsError> {
        let files = self.tls_cert.clone().zip(self.tls_key.clone());
        let files = files.map(|(certificate, key)| Files { certificate, key });
        files.map(Tls::load).transpose()
    }

    /// Whether the node speaks TLS.
    pub(super) fn is_on(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// The scheme of the node's URLs.
    pub(super) fn scheme(&self) -> &'static str {
        if self.is_on() { "https" } else { "http" }
    }
}
