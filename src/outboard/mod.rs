//! The outboard: the inner nodes of a blob's BLAKE3 tree, so that any range of the blob
//! can be checked against its hash while it flows.
//!
//! A leaf is a chunk group of 16 KiB, a parent the chaining values of its two children.
//! The outboard holds every parent in post-order, which is the order in which they become
//! known while the blob comes in. The answer to a range holds what that range needs in
//! pre-order: each parent before its children, each leaf as its bytes. Both are those of
//! the `bao-tree` crate with blocks of 2^4 chunks.

mod encode;
mod hasher;
mod pieces;
mod piecewise;
mod prove;
mod tree;
mod verify;
mod walk;

pub use encode::{EncodeError, Encoder, Source, check_outboard};
pub use hasher::TreeHasher;
pub use pieces::{PieceHasher, PieceValues};
pub use piecewise::PieceEncoder;
pub use prove::{Leaf, PIECE_BYTES, Prover};
pub use tree::{GROUP_BYTES, PAIR_BYTES, Tree};
pub use verify::{PlacedPair, Verifier, VerifyError};
pub use walk::Mismatch;
