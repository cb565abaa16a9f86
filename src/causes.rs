//! Errors told with what has caused them.

use std::error::Error;
use std::iter;

/// What failed, and for which reasons, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let errors = iter::successors(Some(error), |it: &&dyn Error| (*it).source());
    let told: Vec<_> = errors.map(ToString::to_string).collect();
    told.join(": ")
}
