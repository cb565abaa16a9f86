//! The headers of tus, and those that tell what came of an upload.

use std::time::{Duration, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use httpdate::fmt_http_date;

use crate::resumable::UploadProgress;
use crate::web::error::{ApiError, TusError};

/// The version of the protocol that a client or the node speaks.
pub(super) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
/// The versions that the node speaks.
pub(super) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
/// The extensions that it has.
pub(super) const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
/// The longest upload that it takes, in bytes.
pub(super) const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
/// The checksums that it can compare.
pub(super) const TUS_CHECKSUM_ALGORITHM: HeaderName =
    HeaderName::from_static("tus-checksum-algorithm");
/// Where an upload goes on, in bytes from its start.
pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
/// How many bytes an upload has in the end.
pub(super) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// Says that the length is not known yet.
pub(super) const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
/// Says what an upload is to others: a part, or made of parts.
pub(super) const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
/// What a client tells of an upload.
pub(super) const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
/// When an unfinished upload is removed.
pub(super) const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
/// The checksum of a request's body.
pub(super) const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
/// The method that a client means who can only send POST.
pub(super) const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
/// The id of the file that an upload has become.
const FILE_ID: HeaderName = HeaderName::from_static("larder-file-id");
/// The hash of its content.
const FILE_HASH: HeaderName = HeaderName::from_static("larder-file-hash");

/// The end of the year 9999, since 1970.
const LAST_DATE: Duration = Duration::from_secs(253_402_300_799);

/// What pages of other origins may read of an answer.
pub(in crate::http) const EXPOSED: [HeaderName; 14] = [
    header::LOCATION,
    TUS_RESUMABLE,
    TUS_VERSION,
    TUS_EXTENSION,
    TUS_MAX_SIZE,
    TUS_CHECKSUM_ALGORITHM,
    UPLOAD_OFFSET,
    UPLOAD_LENGTH,
    UPLOAD_DEFER_LENGTH,
    UPLOAD_CONCAT,
    UPLOAD_METADATA,
    UPLOAD_EXPIRES,
    FILE_ID,
    FILE_HASH,
];

/// The one version there is.
pub(super) const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");

/// The number in a header; None where there is no such header.
pub(super) fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, TusError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    // A sign is no digit, though Rust would read it.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(Some(number)),
        _ => Err(TusError::Header(name.clone())),
    }
}

/// How far an upload is, and which file it has become.
pub(super) fn put_progress(
    headers: &mut HeaderMap,
    progress: &UploadProgress,
) -> Result<(), ApiError> {
    headers.insert(UPLOAD_OFFSET, progress.offset.into());
    if let Some(finished) = progress.finished {
        let (id, hash) = (finished.file.to_string(), finished.hash.to_string());
        headers.insert(FILE_ID, HeaderValue::try_from(id)?);
        headers.insert(FILE_HASH, HeaderValue::try_from(hash)?);
    } else {
        // A later year cannot be written.
        let expires = progress.expires.min(UNIX_EPOCH + LAST_DATE);
        let expires = HeaderValue::try_from(fmt_http_date(expires))?;
        headers.insert(UPLOAD_EXPIRES, expires);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_digits_only() {
        let number = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            number(
                &HeaderMap::from_iter([(UPLOAD_OFFSET, value)]),
                &UPLOAD_OFFSET,
            )
        };
        assert!(matches!(number("0"), Ok(Some(0))));
        assert!(matches!(number("18446744073709551615"), Ok(Some(u64::MAX))));
        for text in ["", "-1", "+1", "1.0", "0x1", "1 ", "18446744073709551616"] {
            let number = number(text);
            assert!(matches!(number, Err(TusError::Header(_))), "{text:?}");
        }
    }
}
