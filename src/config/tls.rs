//! Settings of TLS to clients.

use std::path::{Path, PathBuf};

use clap::Args;

use super::wrong::WrongSetting;
use crate::web::tls::{CertificateFiles, Tls, TlsError};

/// Whether the node speaks HTTPS.
#[derive(Args, Debug)]
pub(super) struct TlsSettings {
    /// File of the node's certificate (PEM), with those behind it that lead to an authority:
    /// it speaks HTTPS instead of HTTP. Read again on SIGHUP.
    #[arg(long, env = "LARDER_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// File of the private key (PEM) of that certificate.
    #[arg(long, env = "LARDER_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl TlsSettings {
    /// What the node shows its clients, if it speaks TLS. Reads the files.
    pub(super) fn tls(&self) -> anyhow::Result<Option<Tls>> {
        // Both count from wherever they come, also from the settings file.
        let (certificate, key) = match (self.tls_cert.clone(), self.tls_key.clone()) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => return Ok(None),
            (Some(_), None) => {
                return Err(WrongSetting::new(&["tls-cert"], "it needs --tls-key as well").into());
            }
            (None, Some(_)) => {
                return Err(WrongSetting::new(&["tls-key"], "it needs --tls-cert as well").into());
            }
        };
        match Tls::load(CertificateFiles { certificate, key }) {
            Ok(tls) => Ok(Some(tls)),
            Err(error) => Err(wrong(error)),
        }
    }

    /// The file of the certificate, if there is one.
    pub(super) fn certificate(&self) -> Option<&Path> {
        self.tls_cert.as_deref()
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

/// Whose fault it is.
fn wrong(error: TlsError) -> anyhow::Error {
    let settings: &[&str] = match &error {
        TlsError::Certificate(..) | TlsError::NoCertificate(_) => &["tls-cert"],
        TlsError::Key(..) => &["tls-key"],
        TlsError::Pair(..) => &["tls-cert", "tls-key"],
        TlsError::Setup(_) => return error.into(),
    };
    WrongSetting::of_several(settings, &error).into()
}
