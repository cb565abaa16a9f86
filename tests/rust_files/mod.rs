//! The project's Rust files, for the tests that look at the source itself.

use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

/// All `.rs` files under a directory, sorted.
pub(crate) fn files_under(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            found.extend(files_under(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The token trees of a file. Panics when its text is not Rust.
pub(crate) fn tokens(text: &str) -> Vec<TokenTree> {
    let stream: TokenStream = text.parse().expect("a Rust file");
    stream.into_iter().collect()
}
