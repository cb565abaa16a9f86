//! What this machine does not allow.

use std::fs;
use std::io::Write;
use std::path::Path;

/// Set where nothing must be left out.
const REQUIRED: &str = "LARDER_REQUIRE_NAMESPACES";

/// What was made. Where it could not be, that is written down under this name for the end of
/// `tests/run`, or fails the test where it must not happen.
pub(crate) fn or_skipped<T>(what: &str, name: &str, made: Result<T, String>) -> Option<T> {
    let reason = match made {
        Ok(made) => return Some(made),
        Err(reason) => reason,
    };
    assert!(std::env::var_os(REQUIRED).is_none(), "{reason}");
    let line = format!("SKIPPED: {what}: {reason}\n");
    // Not by a macro: the test harness keeps what those print of a test that passes.
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    let file = format!("skipped-{name}");
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), line).unwrap();
    None
}
