//! `Upload-Metadata`: what a client tells of an upload (tus 1.0.0, "Upload-Metadata").

use std::collections::HashMap;

use axum::http::HeaderValue;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::record::{MAX_CONTENT_TYPE_BYTES, MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES};
use crate::store::About;
use crate::web::error::{ApiError, TusError};

/// The longest value taken, in bytes: name, type and description at their longest, and as
/// much again for what other servers make of it.
const MAX_BYTES: usize = 64 * 1024;
/// Reads Base64 whether it is padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client tells of a file.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What it is to be.
    pub(super) about: About,
    /// On how many members it is to be, as it is written.
    pub(super) copies: Option<String>,
}

/// What the metadata says of the file. The keys are those that tus-js-client's and Uppy's
/// users send, `filename`, `filetype` and `description`, or else `name` and `type`, and `copies`;
/// others mean nothing here.
pub(super) fn read(value: &HeaderValue) -> Result<Told, ApiError> {
    let pairs = parse(value).map_err(TusError::Metadata)?;
    let text = |keys: [&str; 2]| {
        let value = keys.iter().find_map(|key| pairs.get(*key));
        let text = String::from_utf8(value.cloned().unwrap_or_default());
        text.map_err(|_| TusError::Metadata("a value is not UTF-8"))
    };
    let about = About {
        name: text(["filename", "name"])?,
        content_type: Some(text(["filetype", "type"])?).filter(|it| !it.is_empty()),
        description: text(["description", "description"])?,
    };
    if about.name.len() > MAX_NAME_BYTES {
        return Err(ApiError::FileNameTooLong);
    }
    if about.description.len() > MAX_DESCRIPTION_BYTES {
        return Err(ApiError::DescriptionTooLong);
    }
    // It goes back into a header one day.
    let sane = |it: &String| {
        it.len() <= MAX_CONTENT_TYPE_BYTES && it.bytes().all(|b| matches!(b, b' '..=b'~'))
    };
    if !about.content_type.iter().all(sane) {
        return Err(TusError::Metadata("the file type is not valid").into());
    }
    let copies = text(["copies", "copies"])?;
    let copies = Some(copies).filter(|it| !it.is_empty());
    Ok(Told { about, copies })
}

/// The keys and what they stand for.
fn parse(value: &HeaderValue) -> Result<HashMap<&str, Vec<u8>>, &'static str> {
    let text = value.to_str().map_err(|_| "it is not ASCII")?;
    if text.len() > MAX_BYTES {
        return Err("it is too long");
    }
    let mut pairs = HashMap::new();
    for pair in text.split(',').map(str::trim) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        if key.is_empty() {
            return Err("a key is empty");
        }
        let value = BASE64
            .decode(value.trim())
            .map_err(|_| "a value is not Base64")?;
        if pairs.insert(key, value).is_some() {
            return Err("a key is there twice");
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn about_of(text: &str) -> Result<About, ApiError> {
        Ok(read(&HeaderValue::from_str(text).unwrap())?.about)
    }

    #[test]
    fn the_example_of_the_protocol_names_the_file() {
        let value = "filename d29ybGRfZG9taW5hdGlvbl9wbGFuLnBkZg==,is_confidential";
        let about = about_of(value).unwrap();
        assert_eq!(about.name, "world_domination_plan.pdf");
        assert_eq!(about.content_type, None);
        assert_eq!(about.description, "");
    }

    #[test]
    fn what_uppy_calls_name_and_type_counts_where_nothing_else_does() {
        let about = about_of("name YQ==,type YS9i").unwrap();
        assert_eq!(
            (&*about.name, about.content_type.as_deref()),
            ("a", Some("a/b"))
        );
        let about = about_of("name YQ,filename Yg, filetype ,type YS9i").unwrap();
        assert_eq!((&*about.name, about.content_type), ("b", None));
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        for text in [
            "",
            ",",
            "a,",
            "a b c",
            "a *",
            "a YQ,a YQ",
            "filename gA==",
            "filetype Cg==",
        ] {
            let refused = about_of(text);
            assert!(
                matches!(refused, Err(ApiError::Tus(TusError::Metadata(_)))),
                "{text:?}"
            );
        }
        let long = |len| format!("filename {}", BASE64_STANDARD.encode("x".repeat(len)));
        assert!(about_of(&long(MAX_NAME_BYTES)).is_ok());
        assert!(matches!(
            about_of(&long(MAX_NAME_BYTES + 1)),
            Err(ApiError::FileNameTooLong)
        ));
    }

    proptest! {
        #[test]
        fn whatever_a_client_names_is_understood(
            name in "\\PC{0,100}",
            description in any::<String>(),
            other in prop::collection::vec(any::<u8>(), 0..100),
            padded: bool,
        ) {
            let encode = |bytes: &[u8]| {
                let text = BASE64_STANDARD.encode(bytes);
                if padded { text } else { text.trim_end_matches('=').to_owned() }
            };
            let text = format!(
                "filename {},other {},description {}",
                encode(name.as_bytes()), encode(&other), encode(description.as_bytes()),
            );
            let about = about_of(&text).unwrap();
            prop_assert_eq!(about.name, name);
            prop_assert_eq!(about.description, description);
        }

        #[test]
        fn any_value_is_understood_or_refused(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let value = HeaderValue::from_bytes(&value);
            if let Some(refusal) = value.ok().and_then(|it| read(&it).err()) {
                let expected = matches!(refusal, ApiError::Tus(TusError::Metadata(_)));
                prop_assert!(expected, "{:?}", refusal);
            }
        }
    }
}
