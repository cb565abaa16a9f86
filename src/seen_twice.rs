//! Looking at what somebody may be writing.

use std::thread;
use std::time::Duration;

/// How long what seems wrong is left to whoever may be writing it.
const AGAIN: Duration = Duration::from_millis(200);

/// What `look` finds wrong, and finds so once more a moment later: what is written meanwhile may be
/// seen in its midst. Blocks.
pub(crate) fn seen_twice<T: PartialEq, E>(
    look: impl Fn() -> Result<Vec<T>, E>,
) -> Result<Vec<T>, E> {
    let mut found = look()?;
    if !found.is_empty() {
        thread::sleep(AGAIN);
        let again = look()?;
        found.retain(|it| again.contains(it));
    }
    Ok(found)
}
