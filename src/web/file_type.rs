//! What type a file is sent as, and whether a browser may show it.

use std::borrow::Cow;

use super::parameters::Parameters;

/// The type of what nobody can tell more of.
pub(crate) const UNKNOWN: &str = "application/octet-stream";
/// What browsers show and run nothing of, beside sounds, videos and texts.
const SHOWN: [&str; 10] = [
    "application/pdf",
    "image/apng",
    "image/avif",
    "image/bmp",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/vnd.microsoft.icon",
    "image/webp",
    "image/x-icon",
];
/// Texts that are not called so.
const TEXTS: [&str; 5] = [
    "application/javascript",
    "application/json",
    "application/toml",
    "application/x-sh",
    "application/xml",
];

/// Endings that mostly mean something else than the registered type: programs in TypeScript, which
/// browsers show, while they play no transport streams; players look into those themselves.
const OTHER_TEXTS: [&str; 3] = ["cts", "mts", "ts"];

/// The type that a file is sent as: what its uploader said, or where that says nothing what its
/// name tells. None where neither does.
pub(crate) fn of<'a>(said: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    let said = said.filter(|it| is_type(it));
    let meant = said.filter(|it| !essence(it).eq_ignore_ascii_case(UNKNOWN));
    if let Some(meant) = meant {
        return Some(meant.into());
    }
    let guessed = match name.rsplit_once('.') {
        Some((_, ending)) if OTHER_TEXTS.contains(&&*ending.to_ascii_lowercase()) => {
            Some("text/plain")
        }
        _ => mime_guess::from_path(name).first_raw(),
    };
    let guessed = guessed.map(|it| {
        if it.starts_with("text/") {
            // What else is written today.
            format!("{it}; charset=utf-8").into()
        } else {
            Cow::from(it)
        }
    });
    guessed.or(said.map(Cow::from))
}

/// Whether this is the type of anything, and not a word that a client sends where it knows none
/// (`null`, `text`, `image/*`): a kind that there is, and a name in it (RFC 6838, section 4.2).
fn is_type(text: &str) -> bool {
    let essence = essence(text);
    let Some((kind, name)) = essence.split_once('/') else {
        return false;
    };
    let is_name_byte = |c: u8| c.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&c);
    let is_name = |it: &str| {
        it.starts_with(|c: char| c.is_ascii_alphanumeric())
            && it.bytes().all(is_name_byte)
            && !["null", "undefined", "unknown", "none"].contains(&it)
    };
    is_name(kind) && is_name(name)
}

/// The type as which a browser may show this one in place, where nothing of it can become a
/// script of this node. All texts are shown as such, also those of pages.
pub(crate) fn shown(content_type: &str) -> Option<Cow<'_, str>> {
    let essence = essence(content_type);
    if essence.starts_with("text/") || TEXTS.contains(&&*essence) {
        let charset = Parameters::parse(content_type.as_bytes());
        let charset = charset
            .get("charset")
            .and_then(|it| str::from_utf8(it).ok());
        let sane = |it: &&str| {
            it.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
        };
        let charset = charset.filter(sane).unwrap_or("utf-8");
        return Some(format!("text/plain; charset={charset}").into());
    }
    let is_played = essence.starts_with("audio/") || essence.starts_with("video/");
    (is_played || SHOWN.contains(&&*essence)).then_some(content_type.into())
}

/// The type without its parameters, in lower case.
fn essence(content_type: &str) -> String {
    let (essence, _) = content_type.split_once(';').unwrap_or((content_type, ""));
    essence.trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_type_where_the_uploader_does_not() {
        for (said, name, expected) in [
            (None, "a.mp4", Some("video/mp4")),
            (None, "A.JPG", Some("image/jpeg")),
            (None, "dir/a.tar.gz", Some("application/gzip")),
            (None, "notes.txt", Some("text/plain; charset=utf-8")),
            (None, "page.html", Some("text/html; charset=utf-8")),
            (Some("application/octet-stream"), "a.png", Some("image/png")),
            (
                Some("Application/Octet-Stream; x=y"),
                "a.png",
                Some("image/png"),
            ),
            (Some("text/x-own"), "a.png", Some("text/x-own")),
            (
                Some("application/octet-stream"),
                "a",
                Some("application/octet-stream"),
            ),
            (None, "a", None),
            (None, ".png", None),
            (None, "", None),
            (None, "a.no-such-type", None),
            (None, "a.\u{fffd}\n", None),
        ] {
            assert_eq!(of(said, name).as_deref(), expected, "{said:?} {name}");
        }
    }

    #[test]
    fn what_is_no_type_says_nothing() {
        for said in [
            "null",
            "undefined",
            "text",
            "image",
            "png",
            "/",
            "*/*",
            "image/*",
            "image/",
            "/png",
            "image/undefined",
            "a/b/c",
            "image/png/x",
            "",
            " ",
            ";",
            "image / png",
            "none",
            "image/*; q=1",
            "[object Object]",
            "image/,",
            "binary",
            "file",
        ] {
            let of = |name| of(Some(said), name);
            assert_eq!(of("a.png").as_deref(), Some("image/png"), "{said:?}");
            assert_eq!(of("a"), None, "{said:?}");
        }
        for said in [
            "image/vnd.microsoft.icon",
            "application/x-www-form-urlencoded",
            "x-conference/x-cooltalk",
            "chemical/x-pdb",
            "a/b",
            "text/x-c++",
            "TEXT/HTML;charset=x",
        ] {
            assert_eq!(of(Some(said), "a.png").as_deref(), Some(said));
        }
    }

    #[test]
    fn programs_in_typescript_are_texts() {
        for name in ["a.ts", "A.TS", "src/a.d.ts", "a.mts", "a.cts"] {
            let expected = Some("text/plain; charset=utf-8");
            assert_eq!(of(None, name).as_deref(), expected, "{name}");
            assert_eq!(of(Some(UNKNOWN), name).as_deref(), expected, "{name}");
        }
        let said = "video/mp2t";
        assert_eq!(of(Some(said), "a.ts").as_deref(), Some(said));
    }

    #[test]
    fn only_what_runs_nothing_is_shown_and_texts_as_texts() {
        for (content_type, expected) in [
            ("image/png", Some("image/png")),
            ("Image/PNG", Some("Image/PNG")),
            (
                "video/mp4; codecs=\"avc1\"",
                Some("video/mp4; codecs=\"avc1\""),
            ),
            ("audio/flac", Some("audio/flac")),
            ("application/pdf", Some("application/pdf")),
            ("text/html", Some("text/plain; charset=utf-8")),
            (
                "text/html; charset=ISO-8859-1",
                Some("text/plain; charset=ISO-8859-1"),
            ),
            (
                "text/plain; charset=\"a b\"",
                Some("text/plain; charset=utf-8"),
            ),
            ("application/json", Some("text/plain; charset=utf-8")),
            ("image/svg+xml", None),
            ("application/xhtml+xml", None),
            ("application/zip", None),
            ("application/octet-stream", None),
            ("multipart/related", None),
            ("", None),
        ] {
            assert_eq!(shown(content_type).as_deref(), expected, "{content_type}");
        }
    }
}
