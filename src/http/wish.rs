//! On how many members of the node's network a file is to be, as its uploader says.

use std::sync::Arc;

use crate::fetch::copies::{Copies, MOST_COPIES};
use crate::node::Node;
use crate::web::error::ApiError;

/// What was said, and what sees to that; None where nothing was said.
pub(super) type Wish<'a> = Option<(&'a Arc<Copies>, u8)>;

/// What this text says, where the node can have it so.
pub(super) fn wish<'a>(node: &'a Node, text: Option<&str>) -> Result<Wish<'a>, ApiError> {
    let Some(text) = text else {
        return Ok(None);
    };
    let number = number_of(text.parse().ok())?;
    match node.copies() {
        Some(copies) => Ok(Some((copies, number))),
        // As it is.
        None if number == 1 => Ok(None),
        None => Err(ApiError::NoCopies),
    }
}

/// The number, if it is one that can be wished.
pub(super) fn number_of(number: Option<u64>) -> Result<u8, ApiError> {
    let number = number.and_then(|it| u8::try_from(it).ok());
    let number = number.filter(|it| (1..=MOST_COPIES).contains(it));
    number.ok_or_else(|| {
        let wanted = format!("`copies` has to be a whole number from 1 to {MOST_COPIES}");
        ApiError::Copies(wanted)
    })
}
