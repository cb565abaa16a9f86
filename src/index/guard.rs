//! sled, whose failures become errors of the index.

use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use super::IndexError;
use crate::disk::{is_full, is_shortage};

/// The lookup database cannot be used.
pub(super) fn failed(error: impl Display) -> IndexError {
    IndexError::Lookup(error.to_string())
}

/// sled panics on some damage instead of returning an error; here both are errors.
pub(super) fn guard<T>(work: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(failed(format!("panic: {}", words_of(&*panic)))))
}

/// What a panic says.
pub(super) fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("of unknown kind")
}

/// What sled met in `dir`; a shortage is told as that.
pub(super) fn of_sled(dir: &Path, error: sled::Error) -> IndexError {
    match error {
        sled::Error::Io(error) if is_full(&error) || is_shortage(&error) => {
            IndexError::io("use", dir, error)
        }
        error => failed(error),
    }
}

/// Whether the database is of no use any more: a shortage that the system has just told of,
/// with its number, passes by; but one that sled met before it tells of ever after.
pub(super) fn is_end(error: &IndexError) -> bool {
    match error {
        IndexError::Lookup(_) => true,
        IndexError::Disk(error) => error.source.raw_os_error().is_none(),
        _ => false,
    }
}
