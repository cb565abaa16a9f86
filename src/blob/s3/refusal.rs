//! What it means that a store refuses the first requests: its errors are XML, and of settings that
//! whoever starts a node has to find.

use super::options::StoreError;
use crate::causes::with_causes;

/// What object stores tell machines of a cloud their keys under.
const OF_MACHINE: &str = "169.254.";

impl From<object_store::Error> for StoreError {
    fn from(error: object_store::Error) -> Self {
        use object_store::Error::{NotFound, PermissionDenied, Unauthenticated};
        let told = with_causes(&error);
        let is_of = |code: &str| told.contains(&format!("<Code>{code}</Code>"));
        match error {
            NotFound { .. } if is_of("NoSuchBucket") => Self::NoBucket,
            _ if is_of("RequestTimeTooSkewed") => Self::Clock(summary(&told)),
            PermissionDenied { .. } | Unauthenticated { .. } => Self::Keys(summary(&told)),
            _ if told.contains(OF_MACHINE) => Self::NoKeys(summary(&told)),
            _ if told.contains("redirect") => Self::Region(summary(&told)),
            _ => Self::Store(summary(&told)),
        }
    }
}

/// What is told, in one line: of XML only its code and message.
fn summary(told: &str) -> String {
    let Some((before, xml)) = told.split_once('<') else {
        return told.to_owned();
    };
    let part = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        let (text, _) = rest.split_once("</")?;
        (!text.trim().is_empty()).then(|| text.trim().to_owned())
    };
    let parts: Vec<_> = [part("Code"), part("Message")]
        .into_iter()
        .flatten()
        .collect();
    let before = before.trim_end().trim_end_matches(':');
    if parts.is_empty() {
        return before.to_owned();
    }
    format!("{before}: {}", parts.join(": "))
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    /// What a store says with this code, of an object that is asked for.
    fn said(code: &str) -> Box<dyn Error + Send + Sync> {
        format!("status 404: <Error><Code>{code}</Code><Message>none</Message></Error>").into()
    }

    #[test]
    fn a_bucket_that_is_not_there_is_told_from_an_object_that_is_not() {
        let not_found = |code| object_store::Error::NotFound {
            path: "larder-format".to_owned(),
            source: said(code),
        };
        let bucket = StoreError::from(not_found("NoSuchBucket"));
        assert!(matches!(bucket, StoreError::NoBucket), "{bucket}");
        let object = StoreError::from(not_found("NoSuchKey"));
        assert!(matches!(object, StoreError::Store(_)), "{object}");
        assert!(bucket.is_of_settings() && !object.is_of_settings());
    }

    #[test]
    fn a_clock_that_is_wrong_is_no_wrong_key() {
        let denied = |code| object_store::Error::PermissionDenied {
            path: "larder-format".to_owned(),
            source: said(code),
        };
        let clock = StoreError::from(denied("RequestTimeTooSkewed"));
        assert!(matches!(clock, StoreError::Clock(_)), "{clock}");
        assert!(!clock.is_of_settings());
        let keys = StoreError::from(denied("SignatureDoesNotMatch"));
        assert!(matches!(keys, StoreError::Keys(_)), "{keys}");
    }

    #[test]
    fn of_an_answer_in_xml_its_code_and_message_are_told() {
        let xml = "it failed: 403 Forbidden: <?xml version=\"1.0\"?>\n<Error><Code>AccessDenied\
                   </Code><Message>Not for you.</Message><Resource>/b</Resource></Error>";
        assert_eq!(
            summary(xml),
            "it failed: 403 Forbidden: AccessDenied: Not for you."
        );
        assert_eq!(summary("it failed: 502: <html>"), "it failed: 502");
        assert_eq!(summary("it failed"), "it failed");
        let empty = "it failed: <Error><Code></Code><Message>m</Message></Error>";
        assert_eq!(summary(empty), "it failed: m");
    }
}
