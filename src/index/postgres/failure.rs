//! What can go wrong with a server, and what follows from it.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::index::IndexError;
use crate::unavailable::Unavailable;

/// After how long a server that is away may be back.
const RETRY: Duration = Duration::from_secs(2);

/// Why a statement was not carried out, as far as anybody knows.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server or the connection to it says so.
    #[error("{}", told(.0))]
    Sql(#[from] tokio_postgres::Error),
    /// There was no answer in time.
    #[error("the server does not answer")]
    Silent,
    /// The server takes no changes, since it follows another one.
    #[error("the server follows another one")]
    Standby,
    /// The database is nothing to keep an index in, as it is.
    #[error("{0}")]
    Unfit(String),
    /// What it answers is nothing that was ever written.
    #[error("{0}")]
    Odd(String),
}

/// Its own words, as the library keeps those of the server to itself.
pub(super) fn told(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Whether the system has told it, as of a connection that it has lost.
fn is_of_system(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(<dyn Error>::is::<io::Error>)
}

impl Failure {
    fn code(&self) -> Option<&str> {
        match self {
            Self::Sql(error) => error.code().map(SqlState::code),
            _ => None,
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn is_of_connection(&self) -> bool {
        match self {
            Self::Silent | Self::Standby => true,
            Self::Unfit(_) | Self::Odd(_) => false,
            Self::Sql(error) => match self.code() {
                // Ended by an administrator, a crash or for being idle; about to start; or what was
                // a primary is one no longer.
                Some(code) => {
                    code.starts_with("08")
                        || code.starts_with("57P")
                        || matches!(code, "25P03" | "25006")
                }
                None => error.is_closed() || is_of_system(error),
            },
        }
    }

    /// Whether the server has refused a statement, so that nothing of its transaction stands.
    pub(super) fn undoes(&self) -> bool {
        self.code().is_some() && !self.is_of_connection()
    }

    /// Whether the same may be done at once when it is tried again.
    pub(super) fn may_pass(&self) -> bool {
        self.is_of_connection() || matches!(self.code(), Some("40001" | "40P01"))
    }

    /// Whether the server only has not what it would need now: the connection, room, a lock that
    /// somebody holds, time.
    fn is_shortage(&self) -> bool {
        let code = self.code();
        self.may_pass()
            || code.is_some_and(|it| it.starts_with("53") || matches!(it, "55P03" | "57014"))
    }

    /// What is told of it, of the server that is called so.
    pub(super) fn of(self, server: &str) -> IndexError {
        if let Self::Unfit(why) = self {
            return IndexError::Refused(why);
        }
        if self.is_shortage() {
            return away(server, self).into();
        }
        if self.is_of_settings() {
            return IndexError::NoDatabase(self.to_string());
        }
        IndexError::Server(self.to_string())
    }

    /// Whether another URL helps, or other settings of the server.
    fn is_of_settings(&self) -> bool {
        let says_no_tls = || self.to_string().contains("does not support TLS");
        match self.code() {
            Some(code) => code.starts_with("28") || code == "3D000",
            None => says_no_tls(),
        }
    }
}

/// That a server is out of reach.
pub(super) fn away(server: &str, source: Failure) -> Unavailable {
    Unavailable {
        what: server.to_owned(),
        retry: RETRY,
        source: Arc::new(source),
    }
}
