//! larder: a content-addressed file store and peer-to-peer node.
//!
//! Without its default feature `node` the crate is the store alone, to embed in another program:
//!
//! ```
//! # use futures_util::TryStreamExt;
//! use larder::store::About;
//! use larder::store::local::{LocalStore, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! // No other process may have the directory open meanwhile.
//! let opened = LocalStore::open(Options::new(dir.path())).await?;
//! let store = &opened.store;
//!
//! // Content is hashed while it comes; it may come in any number of pieces.
//! let mut receiving = store.receive().await?;
//! receiving.write("some bytes".into()).await?;
//! let about = About {
//!     name: "notes.txt".to_owned(),
//!     ..About::default()
//! };
//! // When this returns, the file outlives a crash and a power cut.
//! let record = store.ingest(receiving.finish().await?, about).await?;
//!
//! // Everything is proven against the hash before it is handed out.
//! let blob = store.open_file(&record).await?.expect("nobody has removed it");
//! let pieces: Vec<_> = blob.read(0..blob.size()).try_collect().await?;
//! assert_eq!(pieces.concat(), b"some bytes");
//! opened.store.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`store::Store`] is what a program calls; [`blob::memory`] and [`index::memory`] keep all in
//! memory, for tests. A clone of a store is the same store. Files that were removed free their
//! content at once; after a crash, [`store::Store::collect_all`] frees what was left.
//!
//! ARCHITECTURE.md tells how the modules stand on each other: each imports only
//! from floors below its own.

// Floor 0: words
#[cfg(feature = "node")]
pub mod access;
#[cfg(feature = "node")]
pub mod base_url;
mod blocking;
pub mod care_rows;
mod causes;
pub mod client_key;
#[cfg(feature = "node")]
pub mod file_line;
pub mod hash;
pub mod health;
pub mod keep_rows;
pub mod metrics;
mod name_form;
#[cfg(feature = "node")]
pub mod open_files;
pub mod outboard;
pub mod pack_rows;
#[cfg(feature = "node")]
pub mod peer_id;
#[cfg(feature = "node")]
pub mod peer_rows;
pub mod place;
#[cfg(feature = "node")]
pub mod placement;
pub mod record;
pub mod revision;
mod room;
#[cfg(feature = "node")]
mod safe_name;
mod seen_twice;
mod text_form;
pub mod turn;
pub mod unavailable;
pub mod upload_rows;
// Floor 1: backends
pub mod anchored_disk;
pub mod append_file;
pub mod blob;
pub mod disk;
pub mod frozen_disk;
#[cfg(feature = "node")]
pub mod given_file;
pub mod index;
pub mod owner;
pub mod secret_file;
pub mod small_state;
pub mod state_file;
pub mod stored_file;
pub mod timed_disk;
pub mod watched_disk;
// Floor 2: the store, and copies of it
#[cfg(feature = "node")]
pub mod backup;
pub mod store;
// Floor 3: peers
#[cfg(feature = "node")]
pub mod peer;
// Floor 4: what others hold, and what comes in over several requests
#[cfg(feature = "node")]
pub mod fetch;
#[cfg(feature = "node")]
pub mod resumable;
// Floor 5: the protocol of surfaces
#[cfg(feature = "node")]
pub mod web;
// Floor 6: the node
#[cfg(feature = "node")]
pub mod node;
// Floor 7: surfaces
#[cfg(feature = "node")]
pub mod bootstrap;
#[cfg(feature = "node")]
pub mod http;
// Floor 8: commands and settings
#[cfg(feature = "node")]
pub mod cli;
#[cfg(feature = "node")]
pub mod config;
