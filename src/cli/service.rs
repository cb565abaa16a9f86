//! What the service manager is told that has started the process, if one has (`sd_notify(3)`).
//!
//! Without `NOTIFY_SOCKET` in its environment nobody is told anything.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use sd_notify::NotifyState;

/// It serves; `status` is shown beside it.
pub(super) fn serves(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It works at its start for longer than usual, and is to be given more time; `status` is shown.
pub(super) fn prepares(status: &str) {
    const MORE: u32 = 60_000_000;
    tell(&[
        NotifyState::Status(status),
        NotifyState::ExtendTimeoutUsec(MORE),
    ]);
}

/// It reads its files again, until it [is done](reloaded).
pub(super) fn reloads() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the clock tells no time since the boot"),
    }
}

/// What it read again counts from now on.
pub(super) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// It ends, which may take as long as the requests that run.
pub(super) fn stops() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// Like [`sd_notify::notify`], which knows no socket in the abstract namespace.
fn notify(states: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&socket)?,
    };
    let lines: Vec<_> = states.iter().map(ToString::to_string).collect();
    let lines = lines.join("\n");
    let sent = UnixDatagram::unbound()?.send_to_addr(lines.as_bytes(), &address);
    sent.map(drop)
}
