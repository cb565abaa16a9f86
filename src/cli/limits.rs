//! The limits that the system sets to this process.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::web::server::{MAX_CONNECTIONS, connections_within};

/// Raises the limit of open files as far as it may be: every connection is one, and the usual
/// soft limit is 1024.
pub(super) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays low");
    }
}

/// How many connections that limit bears, now that all is open that stays open. Blocks.
pub(super) fn connections() -> usize {
    /// Where the system does not tell.
    const USUALLY_OPEN: u64 = 64;
    let limit = getrlimit(Resource::Nofile).current;
    let open = std::fs::read_dir("/proc/self/fd").map(|it| it.count() as u64);
    let connections = connections_within(limit, open.unwrap_or(USUALLY_OPEN));
    if connections < MAX_CONNECTIONS {
        tracing::info!(
            connections,
            limit,
            "the limit of open files bounds the connections"
        );
    }
    connections
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
