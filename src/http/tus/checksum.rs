//! `Upload-Checksum`: whether a body came as it was sent (tus 1.0.0, "Checksum").

use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

use super::headers::UPLOAD_CHECKSUM;
use crate::web::error::TusError;

/// The algorithms there are.
pub(super) const ALGORITHMS: &str = "sha1,sha256,blake3";

/// What a body is compared with. A piece of it is at most what a connection reads at once,
/// so hashing it takes less than a millisecond and needs no thread of its own.
pub(super) struct Checksum {
    expected: Vec<u8>,
    hasher: Hasher,
}

enum Hasher {
    Sha(Box<digest::Context>),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    fn sha(algorithm: &'static digest::Algorithm) -> Self {
        Self::Sha(Box::new(digest::Context::new(algorithm)))
    }
}

impl Checksum {
    /// The checksum that a request promises, if it does.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, TusError> {
        const WRONG: TusError = TusError::Header(UPLOAD_CHECKSUM);
        let Some(value) = headers.get(UPLOAD_CHECKSUM) else {
            return Ok(None);
        };
        let value = value.to_str().map_err(|_| WRONG)?;
        let (algorithm, expected) = value.split_once(' ').ok_or(WRONG)?;
        let hasher = match algorithm {
            "sha1" => Hasher::sha(&SHA1_FOR_LEGACY_USE_ONLY),
            "sha256" => Hasher::sha(&SHA256),
            "blake3" => Hasher::Blake3(Box::default()),
            _ => return Err(TusError::ChecksumAlgorithm),
        };
        let expected = BASE64_STANDARD.decode(expected).map_err(|_| WRONG)?;
        Ok(Some(Self { expected, hasher }))
    }

    /// Takes the next piece of the body.
    pub(super) fn update(&mut self, piece: &[u8]) {
        match &mut self.hasher {
            Hasher::Sha(context) => context.update(piece),
            Hasher::Blake3(hasher) => drop(hasher.update(piece)),
        }
    }

    /// Whether the body is what was promised.
    pub(super) fn holds(self) -> bool {
        match self.hasher {
            Hasher::Sha(context) => context.finish().as_ref() == self.expected,
            Hasher::Blake3(hasher) => hasher.finalize().as_bytes()[..] == self.expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(value: &str, body: &[u8]) -> Result<bool, TusError> {
        let value = value.parse().unwrap();
        let headers = HeaderMap::from_iter([(UPLOAD_CHECKSUM, value)]);
        let mut checksum = Checksum::of(&headers)?.unwrap();
        body.chunks(3).for_each(|piece| checksum.update(piece));
        Ok(checksum.holds())
    }

    #[test]
    fn each_algorithm_tells_the_right_body() {
        // The first is the protocol's example.
        for value in [
            "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
            "blake3 10mB76cKDIgLjYwZhdB128v2ebmaX5kU5ar5a4ManiQ=",
        ] {
            assert!(holds(value, b"hello world").unwrap(), "{value}");
            assert!(!holds(value, b"hello worle").unwrap(), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let refused = holds("md5 XrY7u+Ae7tCTyyK7j1rNww==", b"");
        assert!(matches!(refused, Err(TusError::ChecksumAlgorithm)));
        for value in ["", "sha1", "sha1 *"] {
            let refused = holds(value, b"");
            assert!(matches!(refused, Err(TusError::Header(_))), "{value}");
        }
    }
}
