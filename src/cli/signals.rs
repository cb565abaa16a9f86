//! Signals by which the kernel would end the process without a word.

#![allow(unsafe_code)]

/// Ends the process as a write to a pipe that nobody reads ends those programs which leave that
/// to the system: at once and without a word.
pub(super) fn end_by_broken_pipe() -> ! {
    // SAFETY: The default action of a signal runs no code of ours, and to raise one is what a
    // write to such a pipe does.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::raise(libc::SIGPIPE);
    }
    // Where somebody blocks the signal, this is the status that shells tell of it.
    std::process::exit(128 + libc::SIGPIPE)
}

/// Has a write beyond the limit of a file's size (`ulimit -f`) fail as one on a full disk does,
/// rather than kill the process. A broken pipe (SIGPIPE) is such an error already.
pub(super) fn ignore() {
    // SAFETY: To ignore a signal runs no code of ours, so there is nothing that it could
    // interrupt.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
