//! Why a command fails, and what whoever typed it can do.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;

use super::output::{plain, told_path};
use crate::backup::BackupError;
use crate::base_url::BaseUrl;
use crate::config::WrongSetting;

/// How many of several files are told; more help nobody to choose.
const MOST_TOLD: usize = 50;

/// What a node says that can have no copies of its files held, however often it is asked.
const NO_COPIES: &str = "no_copies";

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(
        "no node answers at {}; start one with `larder serve`, or name another with --node",
        .0.with_port()
    )]
    NoNode(BaseUrl, #[source] reqwest::Error),
    #[error("no secure connection to the node at {}: {}", .0.with_port(), .1)]
    NotSecure(BaseUrl, String),
    #[error(
        "the node at {} takes connections and does not answer: it was waited for {} s",
        .0.with_port(), .1
    )]
    Silent(BaseUrl, u64),
    #[error("the connection to the node broke")]
    Cut(#[source] reqwest::Error),
    #[error("{0}")]
    Usage(&'static str),
    #[error(transparent)]
    Setting(#[from] WrongSetting),
    #[error("{0}; give its token with --token or LARDER_TOKEN (`larder token` makes some)")]
    Token(&'static str),
    #[error("the node refuses: {message}")]
    Refused {
        status: StatusCode,
        code: String,
        message: String,
    },
    #[error(
        "the node sends on to {0}, where no token is taken; if that is right, name it with --node"
    )]
    Elsewhere(String),
    #[error("the node's answer is not one of larder's")]
    Answer(#[source] reqwest::Error),
    #[error("the node's answer is not one of larder's: {0}")]
    Nonsense(&'static str),
    #[error(
        "the node's list does not end: {0} pages of {1} bytes came, and there are more; a file is \
         found without the list by its id or its hash"
    )]
    Endless(u32, usize),
    #[error("the upload is whole, and the node has no file of it")]
    Vanished,
    #[error("no file has the id, hash or name {0}; `larder ls --network` shows what there is")]
    NotFound(String),
    #[error("no file has a name that matches {0}; `larder ls --network` shows what there is")]
    NoMatch(String),
    #[error("{0}")]
    NotListed(String),
    #[error("{0} files that {1} means are not removed, since nobody has said yes")]
    NotRemoved(usize, String),
    #[error("nothing of what {0} means is removed before all of it is clear")]
    NotAllClear(String),
    #[error(
        "no file matches {0}, and folders do; with a slash at its end it means all that is in them"
    )]
    OnlyFolders(String),
    #[error(
        "of {0} only copies are left, which members hold of one that is not there: nobody else can \
         remove it or say on how many it is to be; `larder keep` makes it a file of this node's own"
    )]
    OnlyCopies(String),
    #[error("this node does not hold {0}; a node that does {2}: `larder {3} --node {1} …`")]
    NotHere(String, String, &'static str, &'static str),
    #[error("{0} means several files; name one by its id:")]
    Ambiguous(String, Vec<String>),
    #[error(
        "{0} means files in more than one way, and other nodes have given the names; name one by \
         its id:"
    )]
    Unclear(String, Vec<String>),
    #[error(
        "nobody has the id or the hash {0}, and other nodes call files so; name one by its id:"
    )]
    OnlyCalledSo(String, Vec<String>),
    #[error("{0} is ambiguous: peers tell of different files with this id; name one by its hash:")]
    Disputed(String, Vec<String>),
    #[error("the bytes that came are not those of {0}; {1}")]
    WrongBytes(String, &'static str),
    #[error("{0} is there already; --force replaces it, -o names another file")]
    Exists(PathBuf),
    #[error("something else is at {} already, and a restoring replaces nothing", told_path(.0))]
    Occupied(PathBuf),
    #[error("{0} is {1}, which is not replaced; -o names another file")]
    NotReplaced(PathBuf, &'static str),
    #[error("{0} is a link, which is not followed when files are written by their paths")]
    LinkToFolder(PathBuf),
    #[error("{} is a link that leads to nothing", told_path(.0))]
    Dangling(PathBuf),
    #[error("{0} is no folder, and files are to be written into one; -o names a folder")]
    NoFolder(PathBuf),
    #[error(
        "{0} is not there; make that folder first, since -o with the name of a file makes none"
    )]
    MissingFolder(PathBuf),
    #[error("{} is neither a file nor a folder", told_path(.0))]
    NoFile(PathBuf),
    #[error(
        "{} is the storage directory of a node, or is in it, and is not sent, since everybody \
         could read the node's secret key",
        told_path(.0)
    )]
    OfStorage(PathBuf),
    #[error("{}: No such file or directory", told_path(.0))]
    NoLocal(PathBuf),
    #[error("{} is {}, and is left out", told_path(.0), .1)]
    LeftOut(PathBuf, &'static str),
    /// Everything that failed was told; this is the highest status of it.
    #[error("told")]
    Told(u8),
    #[error("{}: {}", told_path(.0), .1)]
    File(PathBuf, #[source] io::Error),
    #[error("{} has changed while it was sent; send it once more", told_path(.0))]
    Changed(PathBuf),
    #[error(
        "{} has changed while it was sent, and what has arrived is there still: `larder rm {}`",
        told_path(.0), .1
    )]
    ChangedAndLeft(PathBuf, String),
    #[error("what arrived of {} is not what was sent; send it once more", told_path(.0))]
    ArrivedOther(PathBuf),
    #[error(
        "what arrived of {} is not what was sent, and it is there still: `larder rm {}`",
        told_path(.0), .1
    )]
    ArrivedOtherAndLeft(PathBuf, String),
    #[error("the node could not be given the {0} that are to be read: {1}")]
    NotFilled(String, String),
    #[error("the copy could not be made: {0}")]
    NotKept(String),
    #[error(
        "no byte of the copy has come for {0} s, and the node goes on trying (no peer that it \
         reaches has the whole content): {1}"
    )]
    NotKeptYet(u64, String),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("{0}")]
    NotBackedUp(String),
    /// The backups that are there are of another one.
    #[error("{0}")]
    OtherNode(String),
    #[error("{0}")]
    NotRestored(String),
    #[error("{0}")]
    NotWritten(String),
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    #[error("the output cannot be written")]
    Print(#[from] io::Error),
}

impl Failure {
    /// What an operation on a file here came to.
    pub(super) fn of_file<T>(path: &Path, result: io::Result<T>) -> Result<T, Self> {
        result.map_err(|error| Self::File(path.to_owned(), error))
    }

    /// The exit status of a command that fails so.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::LeftOut(..) => 0,
            Self::Told(status) => *status,
            Self::Backup(error) => status_of(error),
            Self::OtherNode(_)
            | Self::NotRestored(_)
            | Self::Setting(_)
            | Self::Usage(_)
            | Self::OfStorage(_) => 2,
            Self::NotFound(_)
            | Self::NoMatch(_)
            | Self::NotListed(_)
            | Self::OnlyFolders(_)
            | Self::NotHere(..)
            | Self::OnlyCopies(_)
            | Self::NoLocal(_)
            | Self::Dangling(_) => 3,
            Self::Ambiguous(..)
            | Self::Unclear(..)
            | Self::OnlyCalledSo(..)
            | Self::NotAllClear(..)
            | Self::Disputed(..) => 4,
            Self::NoNode(..) | Self::NotSecure(..) | Self::Silent(..) => 5,
            Self::Token(_) => 6,
            Self::Refused { code, .. } if code == "damaged" => 7,
            Self::WrongBytes(..)
            | Self::Changed(_)
            | Self::ChangedAndLeft(..)
            | Self::ArrivedOther(_)
            | Self::ArrivedOtherAndLeft(..) => 7,
            _ => 1,
        }
    }

    /// Whether it says which file it is about, or is about all.
    pub(super) fn names_file(&self) -> bool {
        matches!(
            self,
            Self::File(..)
                | Self::NoFile(_)
                | Self::OfStorage(_)
                | Self::NoLocal(_)
                | Self::LeftOut(..)
                | Self::Changed(_)
                | Self::ChangedAndLeft(..)
                | Self::ArrivedOther(_)
                | Self::ArrivedOtherAndLeft(..)
                | Self::NotFound(_)
                | Self::NoMatch(_)
                | Self::NotRemoved(..)
                | Self::NotAllClear(..)
                | Self::OnlyFolders(_)
                | Self::NotHere(..)
                | Self::OnlyCopies(_)
                | Self::Dangling(_)
                | Self::LinkToFolder(_)
                | Self::Ambiguous(..)
                | Self::Unclear(..)
                | Self::OnlyCalledSo(..)
                | Self::Disputed(..)
                | Self::WrongBytes(..)
                | Self::Exists(_)
                | Self::Occupied(_)
                | Self::NotReplaced(..)
                | Self::NoFolder(_)
                | Self::MissingFolder(_)
        ) || self.is_of_every_file()
    }

    /// The file here that it is about.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path, _)
            | Self::NoFile(path)
            | Self::OfStorage(path)
            | Self::NoLocal(path)
            | Self::Dangling(path)
            | Self::LeftOut(path, _) => Some(path),
            _ => None,
        }
    }

    /// Whether what came of a file is of no use here: it is wrong, or has no place.
    pub(super) fn is_of_target(&self) -> bool {
        matches!(
            self,
            Self::WrongBytes(..)
                | Self::Exists(_)
                | Self::NotReplaced(..)
                | Self::NoFolder(_)
                | Self::MissingFolder(_)
                | Self::LinkToFolder(_)
        )
    }

    /// Whether the system refuses a path here, and may take others.
    pub(super) fn is_of_path(&self) -> bool {
        use io::ErrorKind::{
            FileTooLarge, InvalidFilename, IsADirectory, NotADirectory, PermissionDenied,
        };
        let Self::File(_, error) = self else {
            return false;
        };
        matches!(
            error.kind(),
            FileTooLarge | InvalidFilename | IsADirectory | NotADirectory | PermissionDenied
        )
    }

    /// Whether no other file would fare better.
    pub(super) fn is_of_every_file(&self) -> bool {
        match self {
            Self::NoNode(..)
            | Self::NotSecure(..)
            | Self::Silent(..)
            | Self::Token(_)
            | Self::Elsewhere(_) => true,
            Self::Refused { status, .. } => *status == StatusCode::FORBIDDEN,
            _ => false,
        }
    }

    /// The failure for people, with its deepest cause where that says more: one line, and one
    /// for each of several files.
    pub(super) fn told(&self) -> String {
        let mut cause: Option<&dyn Error> = None;
        let mut next = self.source().filter(|_| !matches!(self, Self::File(..)));
        while let Some(error) = next {
            cause = Some(error);
            next = error.source();
        }
        let mut text = plain(&self.to_string());
        if let Some(cause) = cause {
            text = format!("{text} ({})", plain(&cause.to_string()));
        }
        if let Self::Ambiguous(_, files)
        | Self::Unclear(_, files)
        | Self::OnlyCalledSo(_, files)
        | Self::Disputed(_, files) = self
        {
            for file in files.iter().take(MOST_TOLD) {
                text = format!("{text}\n  {}", plain(file));
            }
            if let Some(more @ 1..) = files.len().checked_sub(MOST_TOLD) {
                text = format!("{text}\n  and {more} more");
            }
            if matches!(self, Self::Ambiguous(..)) {
                text = format!("{text}\nor take the newest with --newest, or all with --all");
            }
        }
        text
    }

    /// Whether it came of asking the node, so that it matters who stands between.
    pub(super) fn is_of_node(&self) -> bool {
        matches!(
            self,
            Self::NoNode(..)
                | Self::NotSecure(..)
                | Self::Silent(..)
                | Self::Cut(_)
                | Self::Token(_)
                | Self::Refused { .. }
                | Self::Elsewhere(_)
                | Self::Answer(_)
                | Self::Nonsense(_)
                | Self::Endless(..)
        )
    }

    /// Whether the same may go well a little later.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::NoNode(..) | Self::Silent(..) | Self::Cut(_) => true,
            Self::Refused { status, .. } => matches!(status.as_u16(), 408 | 429 | 502..=504),
            _ => false,
        }
    }

    /// Whether the node, or a proxy before it, fails so while the node is being restarted.
    pub(super) fn is_of_restart(&self) -> bool {
        match self {
            Self::NoNode(..) | Self::Cut(_) => true,
            Self::Refused { status, code, .. } => {
                let is_of_proxy = code.is_empty() && matches!(status.as_u16(), 502..=504);
                is_of_proxy || code == "shutting_down"
            }
            _ => false,
        }
    }

    /// The same, where the node has asked all holders in vain, with what that means.
    pub(super) fn of_holders(self) -> Self {
        match self {
            Self::Refused {
                status,
                code,
                message,
            } if code == "peer_failed" => Self::Refused {
                status,
                code,
                message: format!("no holder that it reaches has whole content: {message}"),
            },
            other => other,
        }
    }

    /// Whether another request has the turn at an upload, or had it a moment ago.
    pub(super) fn is_taken_over(&self) -> bool {
        match self {
            Self::Refused { status, code, .. } => {
                code == "upload_taken_over"
                    || matches!(status.as_u16(), 409 | 423) && code != NO_COPIES
            }
            _ => false,
        }
    }

    /// Whether what was asked for is not there, or no longer.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status.as_u16(), 404 | 410),
            Self::Vanished => true,
            _ => false,
        }
    }
}

/// The exit status of a command that fails so with a directory of backups.
fn status_of(error: &BackupError) -> u8 {
    match error {
        BackupError::NoSuch(_) => 3,
        error if error.is_of_directory() => 2,
        error if error.is_damage() => 7,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_of_a_client_that_was_asleep_may_pass() {
        let refused = |status| Failure::Refused {
            status,
            code: String::new(),
            message: String::new(),
        };
        assert!(refused(StatusCode::REQUEST_TIMEOUT).may_pass());
        assert!(refused(StatusCode::SERVICE_UNAVAILABLE).may_pass());
        assert!(!refused(StatusCode::BAD_REQUEST).may_pass());
    }

    #[test]
    fn what_is_told_has_a_line_for_each_of_the_first_files_and_no_other() {
        let files = (0..60).map(|it| format!("{it}\n\u{1b}[2J")).collect();
        let told = Failure::Ambiguous("a\nb".to_owned(), files).told();
        // The last says how to choose.
        assert_eq!(told.lines().count(), 1 + MOST_TOLD + 2);
        assert!(told.contains("\n  and 10 more\n"), "{told}");
        assert!(!told.contains('\u{1b}'), "{told}");
        let refused = Failure::Refused {
            status: StatusCode::BAD_REQUEST,
            code: String::new(),
            message: "no\nlarder: all is well\u{202e}".to_owned(),
        };
        assert_eq!(refused.told().lines().count(), 1);
        assert!(!refused.told().contains('\u{202e}'));
    }
}
