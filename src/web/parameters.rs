//! Header values of the form `value; name=token; name="quoted"`, as in
//! `Content-Type` and `Content-Disposition`.

/// A header value with its parameters, as clients really write them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// What stands before the first semicolon, in lower case.
    pub value: String,
    /// Parameter names, in lower case, and their unquoted values.
    named: Vec<(String, Vec<u8>)>,
}

impl Parameters {
    /// Takes a header value apart; None when a parameter cannot be read.
    pub(crate) fn parse(header: &[u8]) -> Option<Self> {
        let (value, mut rest) = split_at(header, |b| b == b';');
        let mut named = Vec::new();
        while let Some(after) = rest.strip_prefix(b";") {
            let after = after.trim_ascii_start();
            if after.is_empty() || after.starts_with(b";") {
                rest = after;
                continue;
            }
            let (name, after) = split_at(after, |b| matches!(b, b'=' | b';'));
            let after = after.strip_prefix(b"=")?.trim_ascii_start();
            let (value, after) = if let Some(quoted) = after.strip_prefix(b"\"") {
                unquote(quoted)?
            } else {
                let (value, after) = split_at(after, |b| b == b';');
                (value.trim_ascii_end().to_vec(), after)
            };
            named.push((lower(name), value));
            rest = after.trim_ascii_start();
        }
        rest.is_empty().then(|| Self {
            value: lower(value),
            named,
        })
    }

    /// The first parameter with this name, which is in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.named.iter().find(|(it, _)| it == name)?;
        Some(value)
    }
}

/// Splits before the first byte that `ends`.
fn split_at(bytes: &[u8], ends: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|b| ends(*b));
    bytes.split_at(at.unwrap_or(bytes.len()))
}

fn lower(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).to_ascii_lowercase()
}

/// A quoted value up to its closing quote, and what follows.
///
/// A backslash quotes only a quote or a backslash: most clients send it as it is
/// in a Windows path.
fn unquote(quoted: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut rest = quoted;
    loop {
        rest = match rest {
            [] => return None,
            [b'"', rest @ ..] => return Some((value, rest)),
            [b'\\', byte @ (b'"' | b'\\'), rest @ ..] | [byte, rest @ ..] => {
                value.push(*byte);
                rest
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(header: &str) -> Option<(String, Vec<(String, String)>)> {
        let Parameters { value, named } = Parameters::parse(header.as_bytes())?;
        let text = |value| String::from_utf8(value).unwrap();
        let named = named.into_iter().map(|(n, v)| (n, text(v))).collect();
        Some((value, named))
    }

    #[test]
    fn values_come_as_tokens_or_quoted() {
        for (header, named) in [
            ("form-data", vec![]),
            ("Form-Data ;", vec![]),
            ("form-data; NAME=file", vec![("name", "file")]),
            (
                r#"form-data; name = "a b" ;; filename=c.txt"#,
                vec![("name", "a b"), ("filename", "c.txt")],
            ),
            (
                r#"form-data;name="a;b=\"c\"\\""#,
                vec![("name", r#"a;b="c"\"#)],
            ),
            (r#"form-data; name="C:\new\x""#, vec![("name", r"C:\new\x")]),
            (r#"form-data; name="""#, vec![("name", "")]),
        ] {
            let named = named.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned()));
            let expected = Some(("form-data".to_owned(), named.collect()));
            assert_eq!(parsed(header), expected, "{header}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for header in [
            r#"form-data; name="open"#,
            r#"form-data; name="open\""#,
            r#"form-data; name="a"b"#,
            "form-data; name",
            "form-data; a; b=c",
        ] {
            assert_eq!(parsed(header), None, "{header}");
        }
    }
}
