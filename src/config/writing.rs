//! Settings of who may write.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use crate::http::access::{InvalidToken, Token, Writing};

/// The longest file of a token that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// Who may write and delete through the REST API.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// Token that requests must bear to write or delete. Other users of this machine see
    /// arguments, but neither the environment nor --token-file.
    #[arg(
        long,
        env = "LARDER_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,

    /// File whose first line is the token.
    #[arg(long, env = "LARDER_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Let everyone who reaches the node write and delete, where --listen is not for this
    /// machine alone.
    #[arg(long, env = "LARDER_OPEN")]
    open: bool,
}

/// A text that is never shown.
#[derive(Clone)]
struct Secret(String);

/// Why the settings do not tell who may write.
#[derive(Debug, thiserror::Error)]
pub enum WritingError {
    /// More than one of them is given.
    #[error("--token, --token-file and --open exclude each other")]
    Several,
    /// The file cannot be read.
    #[error("the token cannot be read from {0}")]
    File(PathBuf, #[source] io::Error),
    /// The token is none.
    #[error(transparent)]
    Token(#[from] InvalidToken),
}

impl Arguments {
    /// Who may write to a node that listens on this address. Reads the file of the token.
    pub(super) fn writing(&self, listen: IpAddr) -> Result<Writing, WritingError> {
        match (&self.token, &self.token_file, self.open) {
            (None, None, true) => Ok(Writing::Open),
            (None, None, false) if listen.is_loopback() => Ok(Writing::Open),
            (None, None, false) => Ok(Writing::Closed),
            (Some(Secret(token)), None, false) => Ok(Writing::Token(token.parse()?)),
            (None, Some(path), false) => Ok(Writing::Token(read(path)?)),
            _ => Err(WritingError::Several),
        }
    }
}

fn read(path: &Path) -> Result<Token, WritingError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|it| it.take(MAX_FILE_BYTES).read_to_string(&mut text));
    read.map_err(|error| WritingError::File(path.to_owned(), error))?;
    let line = text.lines().next().unwrap_or_default();
    Ok(line.trim().parse()?)
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    /// Takes everything: what is wrong with it is told later, without showing it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        writing: Arguments,
    }

    fn writing(listen: &str, arguments: &[&str]) -> Result<Writing, WritingError> {
        let line = Line::parse_from([&["larder"], arguments].concat());
        line.writing.writing(listen.parse().unwrap())
    }

    #[test]
    fn only_a_node_that_others_reach_is_closed_by_itself() {
        for listen in ["127.0.0.1", "127.0.0.2", "::1"] {
            assert!(
                matches!(writing(listen, &[]), Ok(Writing::Open)),
                "{listen}"
            );
        }
        for listen in ["0.0.0.0", "::", "192.168.1.7", "::ffff:127.0.0.1"] {
            let closed = writing(listen, &[]);
            assert!(matches!(closed, Ok(Writing::Closed)), "{listen}");
            let open = writing(listen, &["--open"]);
            assert!(matches!(open, Ok(Writing::Open)), "{listen}");
        }
    }

    #[test]
    fn a_token_counts_on_every_address() {
        for listen in ["127.0.0.1", "0.0.0.0"] {
            let Ok(Writing::Token(token)) = writing(listen, &["--token", TOKEN]) else {
                panic!("{listen}");
            };
            assert_eq!(token, TOKEN.parse().unwrap());
        }
    }

    #[test]
    fn a_token_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let of_file = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            writing("0.0.0.0", &["--token-file", path.to_str().unwrap()])
        };
        for content in [
            TOKEN.to_owned(),
            format!(" {TOKEN}\r\n"),
            format!("{TOKEN}\nmore"),
        ] {
            let Ok(Writing::Token(token)) = of_file(content.as_bytes()) else {
                panic!("{content:?}");
            };
            assert_eq!(token, TOKEN.parse().unwrap());
        }
        let short = of_file(b"\n0123456789abcdef");
        assert!(matches!(short, Err(WritingError::Token(_))), "{short:?}");
        let binary = of_file(b"\xff");
        assert!(matches!(binary, Err(WritingError::File(..))), "{binary:?}");
        let missing = writing("0.0.0.0", &["--token-file", "/no/such/file"]);
        assert!(
            matches!(missing, Err(WritingError::File(..))),
            "{missing:?}"
        );
    }

    #[test]
    fn what_contradicts_itself_opens_nothing() {
        for arguments in [
            &["--open", "--token", TOKEN][..],
            &["--open", "--token-file", "token"],
            &["--token", TOKEN, "--token-file", "token"],
        ] {
            let refused = writing("127.0.0.1", arguments);
            assert!(
                matches!(refused, Err(WritingError::Several)),
                "{arguments:?}"
            );
        }
        let short = writing("0.0.0.0", &["--token", "short"]);
        assert!(matches!(short, Err(WritingError::Token(_))), "{short:?}");
    }
}
