//! Why TLS with a node fails, for people.

use std::error::Error;
use std::io;

use rustls::{CertificateError, Error as TlsError};

use crate::peer::tls::is_of_authority;

/// What keeps TLS from standing, if that is why a request failed.
pub(super) fn tls_failure(error: &reqwest::Error) -> Option<String> {
    first::<TlsError>(error).map(told)
}

/// Whether what came is no HTTP at all.
pub(super) fn is_no_http(error: &reqwest::Error) -> bool {
    first::<hyper::Error>(error).is_some_and(hyper::Error::is_parse)
}

/// The first cause of this type.
fn first<Cause: Error + 'static>(error: &reqwest::Error) -> Option<&Cause> {
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

fn told(error: &TlsError) -> String {
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
            "nobody that is known here vouches for its certificate; name who does with --ca"
        }
        error if is_of_authority(error) => {
            "its certificate is that of an authority, such as `openssl req -x509` makes; if it is \
             yours, name it itself with --ca"
        }
        TlsError::InvalidMessage(_) => {
            "it does not speak TLS; its address may begin with http:// rather than https://"
        }
        other => return other.to_string(),
    };
    cause.to_owned()
}
