//! The head of a part of a form (RFC 7578): its name, file name and content type.

use percent_encoding::percent_decode;

use super::multipart::MultipartError;
use super::parameters::Parameters;
use crate::record::MAX_CONTENT_TYPE_BYTES;

/// What the head of a part says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartHead {
    /// The name of the form's field.
    pub name: String,
    /// The file name, if the part is a file; empty when no file was chosen.
    pub file_name: Option<String>,
    /// The content type, as it came.
    pub content_type: Option<String>,
}

impl PartHead {
    /// Reads the header lines of a part. Names that are not UTF-8 are taken over
    /// with replacement characters.
    pub(crate) fn parse(lines: &[u8]) -> Result<Self, MultipartError> {
        let (mut disposition, mut content_type) = (None, None);
        for line in lines.split(|b| *b == b'\n').filter(|it| !it.is_empty()) {
            let colon = line.iter().position(|b| *b == b':');
            let colon = colon.ok_or(MultipartError::Head("a line has no colon"))?;
            let (name, value) = line.split_at(colon);
            let value = value.strip_prefix(b":").unwrap_or_default().trim_ascii();
            if name.eq_ignore_ascii_case(b"content-disposition") {
                disposition = Some(value);
            } else if name.eq_ignore_ascii_case(b"content-type") {
                content_type = Some(content_type_of(value)?);
            }
        }
        let disposition = disposition
            .and_then(Parameters::parse)
            .filter(|it| it.value == "form-data")
            .ok_or(MultipartError::Head("no valid Content-Disposition"))?;
        let name = disposition.get("name");
        let name = name.ok_or(MultipartError::Head("the field has no name"))?;
        Ok(Self {
            name: String::from_utf8_lossy(name).into_owned(),
            file_name: file_name(&disposition),
            content_type: content_type.flatten(),
        })
    }
}

/// The content type, which goes back into a header one day; None if it is empty.
fn content_type_of(value: &[u8]) -> Result<Option<String>, MultipartError> {
    let printable = value.iter().all(|b| matches!(b, b' '..=b'~'));
    if !printable || value.len() > MAX_CONTENT_TYPE_BYTES {
        return Err(MultipartError::Head("the Content-Type is not valid"));
    }
    let text = String::from_utf8_lossy(value).into_owned();
    Ok((!text.is_empty()).then_some(text))
}

/// The file name. RFC 7578 forbids `filename*`, but some clients send it for
/// names beyond ASCII.
fn file_name(disposition: &Parameters) -> Option<String> {
    let extended = disposition.get("filename*").and_then(decode_extended);
    extended.or_else(|| disposition.get("filename").map(decode_plain))
}

/// A value of RFC 8187: charset, language and percent-encoded bytes.
fn decode_extended(value: &[u8]) -> Option<String> {
    let mut fields = value.splitn(3, |b| *b == b'\'');
    let (charset, _language, encoded) = (fields.next()?, fields.next()?, fields.next()?);
    let decode = || percent_decode(encoded).decode_utf8_lossy().into_owned();
    charset.eq_ignore_ascii_case(b"utf-8").then(decode)
}

/// A file name as browsers and curl write it: with quote, CR and LF, and only
/// those, percent-encoded (HTML standard, "multipart form data").
fn decode_plain(value: &[u8]) -> String {
    String::from_utf8_lossy(value)
        .replace("%22", "\"")
        .replace("%0D", "\r")
        .replace("%0A", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_name(disposition: &str) -> Option<String> {
        let lines = format!("Content-Disposition: form-data; name=file; {disposition}");
        PartHead::parse(lines.as_bytes()).unwrap().file_name
    }

    #[test]
    fn a_file_has_name_file_name_and_type() {
        let lines = b"content-disposition: form-data; name=\"file\"; filename=\"a b.pdf\"\r\n\
            X-Other: 1\r\nContent-Type: application/pdf";
        let expected = PartHead {
            name: "file".to_owned(),
            file_name: Some("a b.pdf".to_owned()),
            content_type: Some("application/pdf".to_owned()),
        };
        assert_eq!(PartHead::parse(lines), Ok(expected));
    }

    #[test]
    fn file_names_arrive_as_the_user_wrote_them() {
        for (sent, name) in [
            (r#"filename="""#, ""),
            (r#"filename="../../etc/passwd""#, "../../etc/passwd"),
            (r#"filename="a%22b%0D%0Ac""#, "a\"b\r\nc"),
            (r#"filename="100%25""#, "100%25"),
            (r#"filename="a\"b""#, "a\"b"),
            (r#"filename="\u{1f600}.txt""#, r"\u{1f600}.txt"),
            ("filename=\"\u{1f600}.txt\"", "\u{1f600}.txt"),
            ("filename*=UTF-8''%F0%9F%98%80.txt", "\u{1f600}.txt"),
            ("filename=\"x\"; filename*=utf-8'en'a%20b", "a b"),
            ("filename=\"x\"; filename*=latin1''a%20b", "x"),
        ] {
            assert_eq!(file_name(sent).as_deref(), Some(name), "{sent}");
        }
        assert_eq!(file_name(""), None);
    }

    #[test]
    fn heads_that_cannot_be_read_are_refused() {
        let long = "x".repeat(MAX_CONTENT_TYPE_BYTES + 1);
        let with_type =
            |it: &str| format!("Content-Disposition: form-data; name=a\r\nContent-Type: {it}");
        for lines in [
            String::new(),
            "no colon".to_owned(),
            "Content-Disposition: form-data".to_owned(),
            "Content-Disposition: attachment; name=a".to_owned(),
            "Content-Disposition: form-data; name=\"a".to_owned(),
            with_type(&long),
            with_type("text/pl\u{e4}in"),
            with_type("text/\u{7}plain"),
        ] {
            assert!(PartHead::parse(lines.as_bytes()).is_err(), "{lines:?}");
        }
    }
}
