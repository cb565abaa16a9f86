//! Accepting connections, also where no file can be opened any more.
//!
//! The shares of the open files leave room for each connection. Where something else takes it,
//! one file is in reserve, which is closed so that whoever comes next is told rather than left
//! waiting, and idle connections end.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::seats::Seats;

/// How long to wait after a failed accept: mostly the process has too many files
/// open, and only closing connections helps.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener whose connections are accepted.
pub(super) struct Accepting {
    listener: TcpListener,
    /// An open file for nothing, closed where no other can be opened.
    reserve: Option<OwnedFd>,
    /// Whether the log was told since the last connection that was accepted in order.
    told: bool,
}

/// A connection that has come.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) client: SocketAddr,
    /// Whether it has the last file that could be opened, so that it can only be told.
    pub(super) is_last: bool,
}

impl Accepting {
    pub(super) fn on(listener: TcpListener) -> Self {
        let reserve = listener.as_fd().try_clone_to_owned().ok();
        Self {
            listener,
            reserve,
            told: false,
        }
    }

    /// The next connection. Nothing is lost where the caller stops waiting.
    pub(super) async fn next(&mut self, seats: &Seats) -> Accepted {
        loop {
            seats.settled().await;
            match self.listener.accept().await {
                Ok((stream, client)) => {
                    self.refill();
                    let is_last = self.reserve.is_none();
                    self.told &= is_last;
                    return Accepted {
                        stream,
                        client,
                        is_last,
                    };
                }
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut self.told, true) {
                        tracing::warn!(%error, "cannot accept connections");
                    }
                    seats.free_some();
                    if self.reserve.take().is_none() {
                        tokio::time::sleep(PAUSE).await;
                        self.refill();
                    }
                }
            }
        }
    }

    fn refill(&mut self) {
        if self.reserve.is_none() {
            self.reserve = self.listener.as_fd().try_clone_to_owned().ok();
        }
    }
}
