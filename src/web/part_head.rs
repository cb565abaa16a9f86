//! The head of a part of a form (RFC 7578): its name, file name and content type.

use super::parameters::{Charset, Parameters};
use crate::record::MAX_CONTENT_TYPE_BYTES;

/// What the head of a part says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartHead {
    /// The name of the form's field, if it has one.
    pub name: Option<String>,
    /// The file name, if the part is a file; empty when no file was chosen.
    pub file_name: Option<String>,
    /// The content type, as it came; None where it could not go back into a header.
    pub content_type: Option<String>,
    /// The charset of a text.
    pub charset: Charset,
}

impl PartHead {
    /// Reads the header lines of a part. What they have that cannot be read is left out: it is up
    /// to whoever wants the part to find it lacking. Names that are not UTF-8 are taken over with
    /// replacement characters.
    pub(crate) fn parse(lines: &[u8]) -> Self {
        let lines = unfolded(lines);
        let fields: Vec<_> = lines.split(|b| is_line_end(*b)).map(field).collect();
        let first = |name: &[u8]| {
            let mut named = fields
                .iter()
                .filter(|(it, _)| it.eq_ignore_ascii_case(name));
            named.next().map(|(_, value)| *value)
        };
        let disposition = first(b"content-disposition").map(Parameters::parse);
        let text = |name| disposition.as_ref().and_then(|it| it.text(name));
        let content_type = first(b"content-type");
        let charset = content_type.map(Parameters::parse);
        let charset = charset.and_then(|it| Charset::named(it.get("charset")?));
        Self {
            name: text("name"),
            file_name: text("filename"),
            content_type: content_type.and_then(sendable_type),
            charset: charset.unwrap_or(Charset::Utf8),
        }
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// The same lines without breaks before spaces, which go on with the line before (RFC 2231).
fn unfolded(lines: &[u8]) -> Vec<u8> {
    let mut unfolded = Vec::with_capacity(lines.len());
    let mut rest = lines;
    loop {
        rest = match rest {
            [] => return unfolded,
            [b'\r', b'\n', b' ' | b'\t', rest @ ..] | [b'\r' | b'\n', b' ' | b'\t', rest @ ..] => {
                unfolded.push(b' ');
                rest
            }
            [byte, rest @ ..] => {
                unfolded.push(*byte);
                rest
            }
        };
    }
}

/// The name and the value of a line.
fn field(line: &[u8]) -> (&[u8], &[u8]) {
    let colon = line.iter().position(|b| *b == b':');
    let (name, value) = line.split_at(colon.unwrap_or(line.len()));
    let value = value.strip_prefix(b":").unwrap_or_default();
    (name.trim_ascii(), value.trim_ascii())
}

/// A content type, which goes back into a header one day. It is advice, so one that cannot is
/// none.
pub(crate) fn sendable_type(value: &[u8]) -> Option<String> {
    let printable = value.iter().all(|b| matches!(b, b' '..=b'~'));
    let sendable = printable && (1..=MAX_CONTENT_TYPE_BYTES).contains(&value.len());
    sendable.then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_name(disposition: &str) -> Option<String> {
        let lines = format!("Content-Disposition: form-data; name=file; {disposition}");
        PartHead::parse(lines.as_bytes()).file_name
    }

    #[test]
    fn a_file_has_name_file_name_and_type() {
        let expected = PartHead {
            name: Some("file".to_owned()),
            file_name: Some("a b.pdf".to_owned()),
            content_type: Some("application/pdf".to_owned()),
            charset: Charset::Utf8,
        };
        for lines in [
            "content-disposition: form-data; name=\"file\"; filename=\"a b.pdf\"\r\n\
             X-Other: 1\r\nContent-Type: application/pdf",
            "no colon\nContent-Disposition : attachment;\n\tname=\"file\"; x; filename=\"a b.pdf\"\n\
             Content-Type:application/pdf",
            "Content-Type: application/pdf\r\rContent-Disposition: form-data; name=file;\r \
             filename=\"a b.pdf\"\rContent-Disposition: form-data; name=second",
        ] {
            assert_eq!(PartHead::parse(lines.as_bytes()), expected, "{lines:?}");
        }
    }

    #[test]
    fn file_names_arrive_as_the_user_wrote_them() {
        for (sent, name) in [
            (r#"filename="""#, ""),
            (r#"filename="../../etc/passwd""#, "../../etc/passwd"),
            (r#"filename="a%22b%0D%0Ac""#, "a\"b%0D%0Ac"),
            (r#"filename="100%25""#, "100%25"),
            (r#"filename="a\"b""#, "a\"b"),
            (r#"filename="\u{1f600}.txt""#, r"\u{1f600}.txt"),
            ("filename=\"\u{1f600}.txt\"", "\u{1f600}.txt"),
            ("filename=\"x\"; filename*=utf-8'en'a%20b", "a b"),
        ] {
            assert_eq!(file_name(sent).as_deref(), Some(name), "{sent}");
        }
        assert_eq!(file_name(""), None);
    }

    #[test]
    fn a_type_that_cannot_be_sent_back_is_none() {
        let long = "x".repeat(MAX_CONTENT_TYPE_BYTES + 1);
        for content_type in [long.as_str(), "text/pl\u{e4}in", "text/\u{7}plain", ""] {
            let lines = format!("Content-Disposition: form-data\r\nContent-Type: {content_type}");
            let head = PartHead::parse(lines.as_bytes());
            assert_eq!(head.content_type, None, "{content_type}");
        }
    }

    #[test]
    fn a_text_has_the_charset_of_its_type() {
        for (content_type, charset) in [
            ("text/plain; charset=ISO-8859-1", Charset::Latin1),
            ("text/plain; charset=\"us-ascii\"", Charset::Ascii),
            ("text/plain; charset=koi8-r", Charset::Utf8),
            ("text/plain", Charset::Utf8),
        ] {
            let lines = format!("Content-Type: {content_type}");
            assert_eq!(PartHead::parse(lines.as_bytes()).charset, charset);
        }
    }
}
