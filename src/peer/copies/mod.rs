//! Copies that members of a network hold for each other: what they tell of them.
//!
//! An owner signs which of its files is to be how often in the network, and later that it has
//! removed it. Whoever holds a copy has the first of these beside it and tells it on, so that it
//! counts as a copy of the owner's file also where the owner is gone for ever; and only the second
//! has it given up.

mod asking;
mod signed;
mod told;

pub use asking::{ask_files, ask_here, ask_rows, ask_standing};
pub use signed::{CopiedFile, CopyKey, InvalidCopyKey, NotSigned, Order, SharedFile, Withdrawal};
pub use told::{Entry, Files, Here, MOST_KEYS, Row, Rows, Silent, Standing, Whether};
