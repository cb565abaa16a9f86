//! The settings of the C library's allocator.
//!
//! glibc gives threads arenas of their own, up to eight for each core, and keeps what
//! they free. Blocking work moves from thread to thread here, so every arena came to hold
//! a copy of the same caches: a listing of 1,000,000 files grew the node by 75 MiB, with
//! an arena for each core by 40 MiB.

#![allow(unsafe_code)]

/// Limits the arenas to one for each core. To be called before any thread is started.
#[cfg(target_env = "gnu")]
pub(super) fn limit_arenas() {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let arenas = libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX);
    // SAFETY: mallopt only sets a number of the allocator, under the allocator's own lock.
    let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    if set == 0 {
        tracing::debug!("the allocator's arenas are not limited");
    }
}

/// Gives memory back that was used for a while: what a start reads of a large node would
/// stay with the process otherwise.
#[cfg(target_env = "gnu")]
pub(super) fn give_back() {
    // SAFETY: malloc_trim only gives free pages back, under the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

/// Other C libraries have no such arenas.
#[cfg(not(target_env = "gnu"))]
pub(super) fn limit_arenas() {}

/// Other C libraries are left to themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_back() {}
