//! What is told of content beside its bytes, made ready once for all of its answers.

use std::time::SystemTime;

use axum::http::{HeaderMap, HeaderValue, header};

use super::conditions::Validators;
use super::disposition;
use super::error::ApiError;
use super::file_type;

/// What a browser may do with content that it shows in place: nothing but show it.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox",
);
/// The same for what a browser fetches once more for the document that it makes of it, which then
/// has to be of this node.
const SANDBOX_OF_MEDIA: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox allow-same-origin",
);
/// The same for documents whose viewers do not run in a sandbox.
const NOTHING_ELSE: HeaderValue =
    HeaderValue::from_static("default-src 'none'; object-src 'self'; style-src 'unsafe-inline'");
/// Of content that is named by its hash: it never changes.
pub(crate) const FOR_EVER: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");

/// What is known of content.
pub(crate) struct Facts<'a> {
    /// The hash, or without one whatever stands for these bytes alone.
    pub tag: &'a str,
    /// Under which name to save it.
    pub name: &'a str,
    /// The content type, if its uploader told.
    pub content_type: Option<&'a str>,
    /// When it came under this address, where it has been the same ever since.
    pub modified: Option<SystemTime>,
    /// Whether the address is that of this content for ever.
    pub is_immutable: bool,
}

/// The same as headers say it.
pub(crate) struct Description {
    /// The entity tag, in its quotes.
    etag: String,
    etag_value: HeaderValue,
    modified: Option<(SystemTime, HeaderValue)>,
    is_immutable: bool,
    name: String,
    content_type: String,
    content_type_value: HeaderValue,
    attachment: HeaderValue,
}

impl Description {
    /// Makes it ready. Fails where the content type cannot stand in a header.
    pub(crate) fn of(facts: &Facts<'_>) -> Result<Self, ApiError> {
        let etag = format!("\"{}\"", facts.tag);
        let content_type = file_type::of(facts.content_type, facts.name);
        let content_type = content_type.unwrap_or(file_type::UNKNOWN.into());
        let modified = facts.modified.map(|at| {
            let date = HeaderValue::try_from(httpdate::fmt_http_date(at))?;
            Ok::<_, ApiError>((at, date))
        });
        Ok(Self {
            etag_value: HeaderValue::try_from(&etag)?,
            etag,
            modified: modified.transpose()?,
            is_immutable: facts.is_immutable,
            name: facts.name.to_owned(),
            content_type_value: HeaderValue::try_from(&*content_type)?,
            content_type: content_type.into_owned(),
            attachment: disposition::attachment(facts.name),
        })
    }

    /// What conditions are held against.
    pub(crate) fn validators(&self) -> Validators<'_> {
        Validators {
            etag: &self.etag,
            modified: self.past().map(|(at, _)| *at),
        }
    }

    /// When it was modified. Nobody may tell of a time to come (RFC 9110, section 8.8.2.1), which
    /// a clock that was set back makes of it.
    fn past(&self) -> Option<&(SystemTime, HeaderValue)> {
        self.modified
            .as_ref()
            .filter(|(at, _)| *at <= SystemTime::now())
    }

    /// Puts down which content it is, which also those are told who have it.
    pub(crate) fn tell_which(&self, headers: &mut HeaderMap) {
        headers.insert(header::ETAG, self.etag_value.clone());
        if self.is_immutable {
            headers.insert(header::CACHE_CONTROL, FOR_EVER);
        }
        if let Some((_, modified)) = self.past() {
            headers.insert(header::LAST_MODIFIED, modified.clone());
        }
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }

    /// Puts down what it is and what to do with it: to save it, or where it is to be shown
    /// `inline` and may be, to show it.
    pub(crate) fn tell_what(&self, headers: &mut HeaderMap, inline: bool) -> Result<(), ApiError> {
        let nosniff = HeaderValue::from_static("nosniff");
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        let shown = inline.then(|| file_type::shown(&self.content_type));
        let Some(shown) = shown.flatten() else {
            headers.insert(header::CONTENT_DISPOSITION, self.attachment.clone());
            headers.insert(header::CONTENT_TYPE, self.content_type_value.clone());
            return Ok(());
        };
        let policy = match shown.split_once('/') {
            Some(("application", _)) => NOTHING_ELSE,
            Some(("audio" | "video", _)) => SANDBOX_OF_MEDIA,
            _ => SANDBOX,
        };
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(header::CONTENT_DISPOSITION, disposition::inline(&self.name));
        headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(&*shown)?);
        Ok(())
    }
}
