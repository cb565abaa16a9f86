//! Header values of the form `value; name=token; name="quoted"`, as in
//! `Content-Type` and `Content-Disposition`.
//!
//! They are read as Werkzeug reads them (`parse_options_header`), with which clients of the
//! older service grew up: what cannot be read is left out, and of a name that comes twice the
//! last counts.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// A header value with its parameters, as clients really write them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// What stands before the first semicolon, in lower case.
    pub value: String,
    named: Vec<Parameter>,
}

#[derive(Debug, PartialEq, Eq)]
struct Parameter {
    /// In lower case.
    name: String,
    written: Written,
    /// Whether Werkzeug cannot read it: it counts only where nothing else is called so.
    sloppy: bool,
}

/// How a value is written.
#[derive(Debug, PartialEq, Eq)]
enum Written {
    /// In quotes, which are gone, with the backslashes that quoted something.
    Quoted(Vec<u8>),
    /// Without: up to a space or semicolon, and how much of it is a token (RFC 9110, section
    /// 5.6.2).
    Plain { all: Vec<u8>, token: usize },
}

/// The charsets that names are read in, beside UTF-8; others leave a value as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Ascii,
    Latin1,
    Utf8,
}

impl Charset {
    /// The charset that is called so, if it is one of these.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        match name.to_ascii_lowercase().as_slice() {
            b"ascii" | b"us-ascii" => Some(Self::Ascii),
            b"iso-8859-1" => Some(Self::Latin1),
            b"utf-8" => Some(Self::Utf8),
            _ => None,
        }
    }

    /// The text that bytes stand for; what stands for nothing is replaced.
    pub(crate) fn decode(self, bytes: &[u8]) -> String {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Self::Latin1 => bytes.iter().map(|b| char::from(*b)).collect(),
            Self::Ascii => {
                let replaced = |b: &u8| match b {
                    0..=0x7f => char::from(*b),
                    _ => char::REPLACEMENT_CHARACTER,
                };
                bytes.iter().map(replaced).collect()
            }
        }
    }
}

impl Parameters {
    /// Takes a header value apart.
    pub(crate) fn parse(header: &[u8]) -> Self {
        let (value, mut rest) = split_at(header, |b| b == b';');
        let mut named = Vec::new();
        while let Some(after) = rest.strip_prefix(b";") {
            let (name, after) = split_at(after, |b| matches!(b, b'=' | b';'));
            rest = after;
            if let Some(value) = after.strip_prefix(b"=") {
                let (written, after) = written(value.trim_ascii_start());
                let spaced = value.first().is_some_and(u8::is_ascii_whitespace);
                let sloppy = spaced || !name.trim_ascii_start().iter().all(|b| is_token(*b));
                let name = lower(name);
                named.extend(written.map(|written| Parameter {
                    name,
                    sloppy: sloppy || written.is_sloppy(),
                    written,
                }));
                rest = after;
            }
            (_, rest) = split_at(rest, |b| b == b';');
        }
        Self {
            value: lower(value),
            named,
        }
    }

    /// The parameter with exactly this name, which is in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let mut called = self.named.iter().filter(|it| it.name == name);
        let readable = called.clone().rfind(|it| !it.sloppy);
        let parameter = readable.or_else(|| called.next_back())?;
        Some(match &parameter.written {
            Written::Quoted(value) => value,
            Written::Plain { all, .. } => all,
        })
    }

    /// The text of the parameter with this name, which is in lower case, also where it comes with
    /// its charset (`name*=utf-8''…`, RFC 8187) or in pieces (`name*0=…`, RFC 2231, section 3).
    /// What is neither is UTF-8.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        let readable = self.text_of(name, |it| !it.sloppy);
        readable.or_else(|| self.text_of(name, |_| true))
    }

    fn text_of(&self, name: &str, counts: impl Fn(&Parameter) -> bool) -> Option<String> {
        let mut found: Option<String> = None;
        // A piece without a charset has that of the piece before.
        let (mut named, mut charset) = (None, None);
        for parameter in self.named.iter().filter(|it| counts(it)) {
            let (base, encoded) = match parameter.name.strip_suffix('*') {
                Some(base) => (base, true),
                None => (parameter.name.as_str(), false),
            };
            let mut text = None;
            let mut value = parameter.written.token();
            if encoded {
                if let Some((charset, rest)) = parameter.written.after_charset() {
                    named = Some(charset.to_vec());
                    value = rest;
                }
                let own = named.as_deref().filter(|it| !it.is_empty());
                if let Some(known) = own.map_or(charset, Charset::named) {
                    charset = Some(known);
                    let bytes: Cow<[u8]> = percent_decode(value).into();
                    text = Some(known.decode(&bytes));
                }
            }
            let text = text.unwrap_or_else(|| Charset::Utf8.decode(value));
            let text = match parameter.written {
                // As browsers write a quote (HTML standard, "multipart form data").
                Written::Quoted(_) => text.replace("%22", "\""),
                Written::Plain { .. } => text,
            };
            match without_number(base) {
                Some(base) if base == name => found.get_or_insert_default().push_str(&text),
                None if base == name => found = Some(text),
                _ => {}
            }
        }
        found
    }
}

impl Written {
    /// The part that older clients' server takes; all of it where that is nothing.
    fn token(&self) -> &[u8] {
        match self {
            Self::Quoted(value) => value,
            Self::Plain { all, token: 0 } => all,
            Self::Plain { all, token } => all.get(..*token).unwrap_or(all),
        }
    }

    fn is_sloppy(&self) -> bool {
        matches!(self, Self::Plain { token: 0, .. })
    }

    /// The charset before the first of two apostrophes, perhaps none, and what follows the second.
    fn after_charset(&self) -> Option<(&[u8], &[u8])> {
        let Self::Plain { .. } = self else {
            return None;
        };
        let mut fields = self.token().splitn(3, |b| *b == b'\'');
        let (charset, _language, rest) = (fields.next()?, fields.next()?, fields.next()?);
        (!rest.is_empty()).then_some((charset, rest))
    }
}

/// The name of which this is a numbered piece.
fn without_number(name: &str) -> Option<&str> {
    let (base, number) = name.rsplit_once('*')?;
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    is_number.then_some(base)
}

/// The value at the start, if there is one, and what follows.
fn written(bytes: &[u8]) -> (Option<Written>, &[u8]) {
    if let Some(quoted) = bytes.strip_prefix(b"\"") {
        return match unquote(quoted) {
            Some((value, after)) => (Some(Written::Quoted(value)), after),
            None => (None, quoted),
        };
    }
    // Not even quoted is what is neither ASCII nor ends at a space.
    let (mut all, mut after) = split_at(bytes, |b| b == b';' || b.is_ascii_whitespace());
    let token = all.iter().take_while(|b| is_token(**b)).count();
    if token == 0 {
        (all, after) = split_at(bytes, |b| b == b';');
        all = all.trim_ascii_end();
    }
    let plain = Written::Plain {
        all: all.to_vec(),
        token,
    };
    ((!all.is_empty()).then_some(plain), after)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
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

    fn values(header: &str, names: &[&str]) -> Vec<Option<String>> {
        let parameters = Parameters::parse(header.as_bytes());
        assert_eq!(parameters.value, "form-data", "{header}");
        let text = |name: &&str| parameters.get(name).map(<[u8]>::to_vec);
        let text = |name| text(name).map(|it| String::from_utf8(it).unwrap());
        names.iter().map(text).collect()
    }

    #[test]
    fn values_come_as_tokens_or_quoted() {
        for (header, name, filename) in [
            ("form-data", None, None),
            ("Form-Data ;", None, None),
            ("form-data; NAME=file", Some("file"), None),
            (
                r#"form-data; name = "a b" ;; filename=c.txt"#,
                Some("a b"),
                Some("c.txt"),
            ),
            (r#"form-data;name="a;b=\"c\"\\""#, Some(r#"a;b="c"\"#), None),
            (r#"form-data; name="C:\new\x""#, Some(r"C:\new\x"), None),
            (r#"form-data; name="""#, Some(""), None),
            ("form-data; name=a; name=b", Some("b"), None),
        ] {
            let expected = [name, filename].map(|it| it.map(str::to_owned));
            assert_eq!(values(header, &["name", "filename"]), expected, "{header}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for header in [
            r#"form-data; x="open; name=a"#,
            r#"form-data; x; name="a"b"#,
            "form-data; name=a; x=",
            "form-data; =; =b; name=a",
        ] {
            assert_eq!(
                values(header, &["name"]),
                [Some("a".to_owned())],
                "{header}"
            );
        }
        for header in [r#"form-data; name="open"#, r#"form-data; name="open\""#] {
            assert_eq!(values(header, &["name"]), [None], "{header}");
        }
    }

    #[test]
    fn a_text_may_have_a_charset_and_come_in_pieces() {
        for (parameters, text) in [
            ("n=a", "a"),
            ("n=\"\u{e4}\"", "\u{e4}"),
            ("n=\u{e4} b.txt", "\u{e4} b.txt"),
            ("n*=UTF-8''%F0%9F%98%80.txt", "\u{1f600}.txt"),
            ("n*=iso-8859-1'de'%A3.txt", "\u{a3}.txt"),
            ("n*=US-ASCII''a%FF", "a\u{fffd}"),
            ("n*=koi8-r''%C1", "%C1"),
            ("n*=''x.txt", "x.txt"),
            ("n*0=\"a-\"; n*1=b.txt", "a-b.txt"),
            ("n*0*=utf-8''%C3; n*1*=%A4", "\u{fffd}\u{fffd}"),
            (
                "n*0*=utf-8''%C3%A4; n*1*=%C3%B6; n*2=%C3",
                "\u{e4}\u{f6}%C3",
            ),
            ("n=\"a\"; n==x", "a"),
            ("n=\"a\"; n =b; n= c; n*=\\x", "a"),
            ("n = b", "b"),
            ("n=x; n*=utf-8''y", "y"),
            ("n*=utf-8''y; n=x", "x"),
        ] {
            let header = format!("form-data; {parameters}");
            let parsed = Parameters::parse(header.as_bytes());
            assert_eq!(parsed.text("n").as_deref(), Some(text), "{parameters}");
        }
        assert_eq!(Parameters::parse(b"form-data; m=a").text("n"), None);
    }
}
