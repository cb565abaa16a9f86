//! What the service manager is told that has started the process, if one has (`sd_notify(3)`).
//!
//! Without `NOTIFY_SOCKET` in its environment nobody is told anything.

use sd_notify::NotifyState;

/// It serves; `status` is shown beside it.
pub(super) fn serves(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
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
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
