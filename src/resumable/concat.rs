//! What uploads are to each other (tus 1.0.0, "Concatenation"): several that bring the parts of
//! one file, and the final one, which is made of them.

use std::fmt;
use std::str::FromStr;

use super::id::UploadId;

/// What an upload is to others, as `Upload-Concat` tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concat {
    /// It brings a part of a file, and is none itself.
    Partial,
    /// It is made of others.
    Final(Parts),
}

/// The uploads that a final one is made of, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// As the client named them.
    told: String,
    /// In their order; one may be there several times.
    pub(super) ids: Vec<UploadId>,
}

/// A text that is no such word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Upload-Concat is 'partial', or 'final;' and the URLs of partial uploads between spaces")]
pub struct InvalidConcat;

/// What stands before the list of the parts.
const FINAL: &str = "final;";

impl FromStr for Concat {
    type Err = InvalidConcat;

    fn from_str(text: &str) -> Result<Self, InvalidConcat> {
        if text == "partial" {
            return Ok(Self::Partial);
        }
        let list = text.strip_prefix(FINAL).ok_or(InvalidConcat)?;
        let ids = list.split_ascii_whitespace().map(id_in);
        let ids: Vec<_> = ids.collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Err(InvalidConcat);
        }
        let told = list.to_owned();
        Ok(Self::Final(Parts { told, ids }))
    }
}

impl fmt::Display for Concat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partial => f.write_str("partial"),
            Self::Final(parts) => write!(f, "{FINAL}{}", parts.told),
        }
    }
}

/// The id in the URL of an upload, which may be a whole one, a path, or relative to where uploads
/// are begun. What stands before the last segment is the client's affair, or that of a gateway
/// between it and the node: ids are guessed by nobody and are nowhere twice.
fn id_in(url: &str) -> Result<UploadId, InvalidConcat> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.strip_suffix('/').unwrap_or(path);
    let last = path.rsplit('/').next().unwrap_or_default();
    last.parse().map_err(|_| InvalidConcat)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "21a4100bccba4d56afe5ff49cfb4b7c1";
    const OTHER: &str = "00000000000040008000000000000000";

    #[test]
    fn parts_are_named_by_any_kind_of_url_and_in_their_order() {
        let text = format!(
            "final;{OTHER} tus/{ID} /api/p2p/tus/{ID}/  \
             https://files.example.org/prefix/api/p2p/tus/{OTHER}?a=b#c"
        );
        let concat: Concat = text.parse().unwrap();
        assert_eq!(concat.to_string(), text);
        let Concat::Final(parts) = concat else {
            panic!("{text}");
        };
        let ids: Vec<_> = parts.ids.iter().map(UploadId::to_string).collect();
        assert_eq!(ids, [OTHER, ID, ID, OTHER]);
    }

    #[test]
    fn what_names_no_part_is_refused() {
        let with_wrong = format!("final;{ID} tus/{}", "x".repeat(32));
        for text in [
            "",
            "partial ",
            "Partial",
            "final",
            "final;",
            "final; ",
            "final;/",
            "final;tus/..",
            &format!("final{ID}"),
            ID,
            &with_wrong,
        ] {
            assert_eq!(text.parse::<Concat>(), Err(InvalidConcat), "{text:?}");
        }
    }
}
