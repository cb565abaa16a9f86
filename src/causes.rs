//! Errors told with what has caused them.

use std::error::Error;
use std::iter;

/// What failed, and for which reasons, in one line. Those that an error tells itself are told once.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut told = error.to_string();
    for cause in iter::successors(error.source(), |it: &&dyn Error| (*it).source()) {
        let cause = cause.to_string();
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}
