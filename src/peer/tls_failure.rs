//! Why TLS with another node fails, for people.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError};

use super::tls::is_of_authority;

/// What keeps TLS from standing, if that is why a request failed; `flag` is what names the
/// certificates that are trusted.
pub fn tls_failure(error: &reqwest::Error, flag: &str) -> Option<String> {
    first::<TlsError>(error).map(|it| told(it, flag))
}

/// Whether what came is no HTTP at all.
pub fn is_no_http(error: &reqwest::Error) -> bool {
    // Who is greeted before it has asked, hyper tells by no more than the text.
    let is_greeted = |it: &hyper::Error| it.to_string().starts_with("received unexpected message");
    first::<hyper::Error>(error).is_some_and(|it| it.is_parse() || is_greeted(it))
}

/// The first cause of this type.
pub(super) fn first<Cause: Error + 'static>(error: &reqwest::Error) -> Option<&Cause> {
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // What such an error wraps is not its source, but the source of that is.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn told(error: &TlsError, flag: &str) -> String {
    use CertificateError as C;
    let cause = match error {
        TlsError::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        TlsError::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            "its certificate is not valid yet, by the clock of this machine"
        }
        TlsError::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "its certificate is for another name than this"
        }
        TlsError::InvalidCertificate(C::UnknownIssuer) => {
            return format!(
                "nobody that is known here vouches for its certificate; name who does with {flag}"
            );
        }
        error if is_of_authority(error) => {
            return format!(
                "its certificate is that of an authority, such as `openssl req -x509` makes; if \
                 it is yours, name it itself with {flag}"
            );
        }
        TlsError::AlertReceived(AlertDescription::AccessDenied) => {
            "it is no member of this network"
        }
        TlsError::AlertReceived(AlertDescription::CertificateRevoked) => {
            "this node was revoked: the network has it be no member any more (revoked)"
        }
        TlsError::InvalidCertificate(C::Revoked) => {
            "it was revoked: the network has it be no member any more (revoked)"
        }
        TlsError::InvalidMessage(_) => {
            "it does not speak TLS; its address may begin with http:// rather than https://"
        }
        other => return other.to_string(),
    };
    cause.to_owned()
}
