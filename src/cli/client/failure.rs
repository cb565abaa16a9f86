//! Why a command fails, and what whoever typed it can do.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use reqwest::StatusCode;

use super::output::plain;
use crate::base_url::BaseUrl;
use crate::peer::tls::AuthoritiesError;

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("no node answers at {0}; start one with `larder serve`, or name another with --node")]
    NoNode(BaseUrl, #[source] reqwest::Error),
    #[error("the connection to the node broke")]
    Cut(#[source] reqwest::Error),
    #[error("{0}; give its token with --token or LARDER_TOKEN")]
    Token(String),
    #[error("the node refuses: {1}")]
    Refused(StatusCode, String),
    #[error("the node's answer is not one of larder's")]
    Answer(#[source] reqwest::Error),
    #[error("no file has the id, hash or name {0}; `larder ls --network` shows what there is")]
    NotFound(String),
    #[error("{0} means several files; name one by its id:\n{list}", list = .1.join("\n"))]
    Ambiguous(String, Vec<String>),
    #[error("the bytes that came are not those of {0}; nothing was kept of them")]
    WrongBytes(String),
    #[error("{0} is there already; --force replaces it, -o names another file")]
    Exists(PathBuf),
    #[error("{0} is neither a file nor a folder")]
    NoFile(PathBuf),
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    #[error("{0} has changed while it was sent; send it once more")]
    Changed(PathBuf),
    #[error("the copy could not be made: {0}")]
    NotKept(String),
    #[error(transparent)]
    Authorities(#[from] AuthoritiesError),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("cannot be printed")]
    Print(#[from] io::Error),
}

impl Failure {
    /// What an operation on a file here came to.
    pub(super) fn of_file<T>(path: &Path, result: io::Result<T>) -> Result<T, Self> {
        result.map_err(|error| Self::File(path.to_owned(), error))
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::NotFound(_) => 3,
            Self::Ambiguous(..) => 4,
            Self::NoNode(..) => 5,
            Self::Token(_) => 6,
            Self::WrongBytes(_) | Self::Changed(_) => 7,
            _ => 1,
        })
    }

    /// The failure for people, with its deepest cause where that says more. Names that came
    /// from elsewhere reach the terminal without control characters.
    pub(super) fn told(&self) -> String {
        let text = self.to_string();
        let lines: Vec<_> = text.lines().map(plain).collect();
        let mut cause: Option<&dyn Error> = None;
        let mut next = self.source().filter(|_| !matches!(self, Self::File(..)));
        while let Some(error) = next {
            cause = Some(error);
            next = error.source();
        }
        match cause {
            Some(cause) => format!("{} ({})", lines.join("\n"), plain(&cause.to_string())),
            None => lines.join("\n"),
        }
    }

    /// Whether the same may go well a little later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::NoNode(..) | Self::Cut(_) => true,
            Self::Refused(status, _) => matches!(status.as_u16(), 429 | 502..=504),
            _ => false,
        }
    }
}
