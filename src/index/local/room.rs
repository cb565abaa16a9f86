//! Whether there is room for a new lookup database.

use super::options::Options;
use crate::index::IndexError;

/// No more of a file system than one part of so many has to be free.
const SHARE: u64 = 4;

/// Fails where less is free than [`Options::room`]: sled would come to its end in the middle, and
/// take what is kept for removals. What does not show here (quotas) sled meets itself. Blocks.
pub(super) fn check_room(options: &Options) -> Result<(), IndexError> {
    let dir = options.index_dir();
    // What cannot be asked has no limit that is known before.
    let Ok(space) = rustix::fs::statvfs(&options.dir) else {
        return Ok(());
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let all = space.f_blocks.saturating_mul(space.f_frsize);
    if options.elsewhere.is_some() || free >= options.room.min(all / SHARE) {
        return Ok(());
    }
    let error = std::io::ErrorKind::StorageFull.into();
    Err(IndexError::io("make a lookup database in", dir, error))
}
