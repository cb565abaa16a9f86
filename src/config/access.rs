//! Settings of who may read and write.

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use super::tokens::{TokensError, read_tokens};
use crate::http::access::{Access, InvalidToken, NamedToken, Rights, Token};
use crate::secret_file;

/// The longest file of a token that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4096;

/// Who may do what through the REST API.
#[derive(Args, Debug)]
pub(super) struct AccessSettings {
    /// Token that requests must bear to write or delete. Other users of this machine see
    /// arguments, but neither the environment nor --token-file.
    #[arg(
        long,
        env = "LARDER_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,

    /// File whose first line is the token. Refused where others may write to it.
    #[arg(long, env = "LARDER_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// File of tokens with the right to read or to write, as `larder token` adds them. Refused
    /// where others may write to it.
    #[arg(long, env = "LARDER_TOKENS", value_name = "FILE")]
    tokens: Option<PathBuf>,

    /// Let nobody read without a token either; peers, which have none, get nothing then, and
    /// are told nothing. The node asks the peers that --peer names, and nobody else.
    #[arg(long, env = "LARDER_PRIVATE")]
    private: bool,

    /// Let everyone who reaches the node write and delete, where --listen is not for this
    /// machine alone.
    #[arg(long, env = "LARDER_OPEN")]
    open: bool,
}

/// A text that is never shown.
#[derive(Clone)]
struct Secret(String);

/// Why the settings do not tell who may do what.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// More than one way to let somebody write is given.
    #[error("--token, --token-file and --open exclude each other, and --open any token")]
    Several,
    /// Nobody has a token.
    #[error("--private needs --tokens, --token or --token-file")]
    Nobody,
    /// The file of the token cannot be read.
    #[error("the token cannot be read from {0}")]
    File(PathBuf, #[source] io::Error),
    /// The token is none.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// The file of tokens cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokensError),
}

impl AccessSettings {
    /// Whether nobody learns anything of the node without a token.
    pub(super) fn is_private(&self) -> bool {
        self.private
    }

    /// Who may do what at a node that listens on this address. Reads the files of tokens.
    pub(super) fn access(&self, listen: IpAddr) -> Result<Access, AccessError> {
        let mut tokens = match &self.tokens {
            Some(path) => read_tokens(path)?,
            None => Vec::new(),
        };
        let named_here = match (&self.token, &self.token_file) {
            (Some(_), Some(_)) => return Err(AccessError::Several),
            (Some(Secret(token)), None) => Some(token.trim().parse()?),
            (None, Some(path)) => Some(read(path)?),
            (None, None) => None,
        };
        tokens.extend(named_here.map(|token| NamedToken {
            name: "--token".to_owned(),
            rights: Rights::Write,
            token,
        }));
        let anyone = match (tokens.is_empty(), self.open, self.private) {
            (true, _, true) => return Err(AccessError::Nobody),
            (false, true, _) => return Err(AccessError::Several),
            (false, false, true) => None,
            (true, true, false) => Some(Rights::Write),
            (true, false, false) if listen.is_loopback() => Some(Rights::Write),
            (_, false, false) => Some(Rights::Read),
        };
        Ok(Access { anyone, tokens })
    }
}

fn read(path: &Path) -> Result<Token, AccessError> {
    let mut text = String::new();
    let read =
        secret_file::open(path).and_then(|it| it.take(MAX_FILE_BYTES).read_to_string(&mut text));
    read.map_err(|error| AccessError::File(path.to_owned(), error))?;
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
        access: AccessSettings,
    }

    fn access(listen: &str, arguments: &[&str]) -> Result<Access, AccessError> {
        let line = Line::parse_from([&["larder"], arguments].concat());
        line.access.access(listen.parse().unwrap())
    }

    fn anyone(listen: &str, arguments: &[&str]) -> Option<Rights> {
        access(listen, arguments).unwrap().anyone
    }

    #[test]
    fn only_a_node_that_others_reach_is_closed_by_itself() {
        for listen in ["127.0.0.1", "127.0.0.2", "::1"] {
            assert_eq!(anyone(listen, &[]), Some(Rights::Write), "{listen}");
        }
        for listen in ["0.0.0.0", "::", "192.168.1.7", "::ffff:127.0.0.1"] {
            assert_eq!(anyone(listen, &[]), Some(Rights::Read), "{listen}");
            assert_eq!(anyone(listen, &["--open"]), Some(Rights::Write), "{listen}");
        }
    }

    #[test]
    fn a_token_counts_on_every_address() {
        for listen in ["127.0.0.1", "0.0.0.0"] {
            let by_token = access(listen, &["--token", TOKEN]).unwrap();
            assert_eq!(by_token.anyone, Some(Rights::Read));
            assert_eq!(by_token.tokens[0].token, TOKEN.parse().unwrap());
            assert_eq!(by_token.tokens[0].rights, Rights::Write);
            let private = anyone(listen, &["--token", TOKEN, "--private"]);
            assert_eq!(private, None);
        }
    }

    #[test]
    fn a_token_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let of_file = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            access("0.0.0.0", &["--token-file", path.to_str().unwrap()])
        };
        for content in [
            TOKEN.to_owned(),
            format!(" {TOKEN}\r\n"),
            format!("{TOKEN}\nmore"),
        ] {
            let found = of_file(content.as_bytes()).unwrap();
            assert_eq!(found.tokens[0].token, TOKEN.parse().unwrap(), "{content:?}");
        }
        let short = of_file(b"\n0123456789abcdef");
        assert!(matches!(short, Err(AccessError::Token(_))), "{short:?}");
        let binary = of_file(b"\xff");
        assert!(matches!(binary, Err(AccessError::File(..))), "{binary:?}");
        for flag in ["--token-file", "--tokens"] {
            let missing = access("0.0.0.0", &[flag, "/no/such/file"]);
            assert!(missing.is_err(), "{missing:?}");
        }
    }

    #[test]
    fn what_contradicts_itself_opens_nothing() {
        for arguments in [
            &["--open", "--token", TOKEN][..],
            &["--open", "--token", TOKEN, "--private"],
            &["--token", TOKEN, "--token-file", "token"],
        ] {
            let refused = access("127.0.0.1", arguments);
            assert!(
                matches!(refused, Err(AccessError::Several)),
                "{arguments:?}"
            );
        }
        for arguments in [&["--private"][..], &["--private", "--open"]] {
            let refused = access("127.0.0.1", arguments);
            assert!(matches!(refused, Err(AccessError::Nobody)), "{arguments:?}");
        }
        let short = access("0.0.0.0", &["--token", "short"]);
        assert!(matches!(short, Err(AccessError::Token(_))), "{short:?}");
    }
}
