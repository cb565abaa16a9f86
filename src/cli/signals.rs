//! Signals by which the kernel would end the process without a word.

#![allow(unsafe_code)]

/// Has a write beyond the limit of a file's size (`ulimit -f`) fail as one on a full disk does,
/// rather than kill the process. A broken pipe (SIGPIPE) is such an error already.
pub(super) fn ignore() {
    // SAFETY: To ignore a signal runs no code of ours, so there is nothing that it could
    // interrupt.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
