//! The limits that the system sets to this process.

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::{self, Runtime};

use crate::blob::local::{is_pack, usually_open};
use crate::open_files::{self, MAX_CONNECTIONS, Shares};

/// Raises the limit of open files as far as it may be: every connection is one, and the usual
/// soft limit is 1024.
pub(super) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

/// A runtime of which so many threads may block at once as that limit bears.
pub(super) fn new_runtime() -> io::Result<Runtime> {
    let threads = open_files::blocking_threads(getrlimit(Resource::Nofile).current);
    runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(threads)
        .build()
}

/// Shares that limit out, now that all is open that stays open. Blocks.
pub(super) fn share_out_files() -> &'static Shares {
    /// Where the system does not tell.
    const USUALLY_OPEN: u64 = 64;
    let limit = getrlimit(Resource::Nofile).current;
    let open = std::fs::read_dir("/proc/self/fd").map(|it| {
        let paths = it.filter_map(|it| std::fs::read_link(it.ok()?.path()).ok());
        let (packs, others): (Vec<_>, Vec<_>) = paths.partition(|it| is_pack(it));
        // More of them will be open once there are more.
        (packs.len().max(usually_open()) + others.len()) as u64
    });
    let shares = open_files::share_out(limit, open.unwrap_or(USUALLY_OPEN));
    let (connections, transfer_files) = (shares.connections, shares.transfers);
    if connections < MAX_CONNECTIONS {
        tracing::info!(
            connections,
            transfer_files,
            limit,
            "the limit of open files bounds the connections"
        );
    }
    shares
}

/// Where processor time is limited (`ulimit -t`), the kernel tells of a soft limit and kills at
/// the hard one. So the soft one comes first, early enough to end in order.
pub(super) fn be_told_of_the_end_of_time() {
    const BEFORE: u64 = 2;
    let mut limit = getrlimit(Resource::Cpu);
    let Some(end) = limit.maximum else {
        return;
    };
    let told = end.saturating_sub(BEFORE).max(1);
    if limit.current.is_none_or(|current| current > told) {
        limit.current = Some(told);
        if let Err(error) = setrlimit(Resource::Cpu, limit) {
            tracing::warn!(%error, "nobody will tell when processor time runs out");
        }
    }
}
