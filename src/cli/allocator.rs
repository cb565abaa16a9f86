//! The settings of the C library's allocator.
//!
//! glibc gives threads arenas of their own, up to eight for each core, and keeps what
//! they free. Blocking work moves from thread to thread here, so every arena came to hold
//! a copy of the same caches: a listing of 1,000,000 files grew the node by 75 MiB, with
//! an arena for each core by 40 MiB.

#![allow(unsafe_code)]

#[cfg(target_env = "gnu")]
use std::time::Duration;

#[cfg(target_env = "gnu")]
use rustix::time::{ClockId, clock_gettime};

/// From this many bytes on a block is mapped, and goes back to the system when it is freed:
/// far above the pieces of a transfer.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 4 << 20;

/// The same during a start, which gathers what it frees soon, and in which the lookup database
/// takes buffers for ever of which it uses little: as zeroed pieces of an arena each of them would
/// have touched 132 KiB, 5 MiB together.
#[cfg(target_env = "gnu")]
const MAPPED_AT_START: libc::c_int = 128 << 10;

/// How much more than it needs the heap grows by each time, in bytes; glibc's own number.
#[cfg(target_env = "gnu")]
const GROWN: libc::c_int = 128 << 10;

/// The same during a start: with 1,000,000 files the heap grew 671 times, and every time the
/// system looked for room anew. More is not better: zeroed pieces of what has grown already are
/// touched, so that 16 MiB cost as many in the end.
#[cfg(target_env = "gnu")]
const GROWN_AT_START: libc::c_int = 2 << 20;

/// Limits the arenas to one for each core, and what stays behind of large blocks. To be
/// called before any thread is started.
#[cfg(target_env = "gnu")]
pub(super) fn limit() {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let arenas = libc::c_int::try_from(cores).unwrap_or(libc::c_int::MAX);
    // By itself glibc raises both with the blocks that are freed, up to 32 and 64 MiB.
    set(libc::M_ARENA_MAX, arenas);
    set(libc::M_MMAP_THRESHOLD, MAPPED_AT_START);
    set(libc::M_TOP_PAD, GROWN_AT_START);
    set(libc::M_TRIM_THRESHOLD, 2 * MAPPED);
}

/// Gives back what the start used for a while, and readies the allocator for transfers, whose
/// pieces are not to be mapped each anew.
#[cfg(target_env = "gnu")]
pub(super) fn end_start() {
    set(libc::M_MMAP_THRESHOLD, MAPPED);
    set(libc::M_TOP_PAD, GROWN);
    give_back();
}

#[cfg(target_env = "gnu")]
fn set(name: libc::c_int, value: libc::c_int) {
    // SAFETY: mallopt only sets a number of the allocator, under the allocator's own lock.
    if unsafe { libc::mallopt(name, value) } == 0 {
        tracing::debug!("the allocator's memory is not limited");
    }
}

/// Gives free memory back to the system.
#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: malloc_trim only gives free pages back, under the allocator's own locks.
    unsafe { libc::malloc_trim(0) };
}

/// Gives memory back whenever the process holds more than it once did, for ever: what a peak
/// has left free in between would stay otherwise, and nothing shows when it became free. The more
/// free pieces there are the longer that takes, and the longer the pause behind it is.
#[cfg(target_env = "gnu")]
pub(super) async fn give_back_regularly() {
    const OFTEN: Duration = Duration::from_secs(5);
    /// What is worth it, in bytes.
    const MUCH: u64 = 8 << 20;
    /// No more than this part of the time is spent on it.
    const PART: u32 = 200;
    let (mut least, mut pause) = (resident(), OFTEN);
    loop {
        tokio::time::sleep(pause).await;
        let held = resident();
        least = least.min(held);
        pause = OFTEN;
        if held >= least.saturating_add(MUCH) {
            let took = crate::blocking::run(|| {
                let begun = worked();
                give_back();
                worked().saturating_sub(begun)
            });
            pause = pause.max(took.await * PART);
        }
    }
}

/// How long this thread has had a processor: where others want it, too, all takes longer.
#[cfg(target_env = "gnu")]
fn worked() -> Duration {
    let worked = clock_gettime(ClockId::ThreadCPUTime);
    worked.try_into().unwrap_or_default()
}

/// The memory that the process holds, in bytes; 0 where the system does not tell.
#[cfg(target_env = "gnu")]
fn resident() -> u64 {
    let told = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = told
        .split_whitespace()
        .nth(1)
        .and_then(|it| it.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Other C libraries are left to themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) async fn give_back_regularly() {}

/// Other C libraries have no such arenas.
#[cfg(not(target_env = "gnu"))]
pub(super) fn limit() {}

/// Other C libraries are left to themselves.
#[cfg(not(target_env = "gnu"))]
pub(super) fn end_start() {}
